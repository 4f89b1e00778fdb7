"""When Lambda tries an asynchronous invoke again, and when it gives it up.

Source: AWS Lambda developer guide, How Lambda handles errors and retries with asynchronous invocation.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class AsyncInvokeProfile:
    """Numbers of asynchronous invokes.

    Attributes:
        error_waits: Seconds before each retry after a function error (1 minute, then 2).
        throttle_wait: Seconds before the first retry after a throttle or an error of the service; doubles each time.
            Such retries do not use up those of function errors.
        throttle_wait_limit: Seconds that such a wait never exceeds (5 minutes).
        maximum_age: Seconds after which an event is given up, where the function does not say (6 hours).
    """

    error_waits: tuple[float, ...] = (60.0, 120.0)
    throttle_wait: float = 1.0
    throttle_wait_limit: float = 300.0
    maximum_age: float = 21600.0

    def compress(self, k: float) -> "AsyncInvokeProfile":
        """The same with every wait divided by ``k``."""
        return replace(
            self,
            error_waits=tuple(wait / k for wait in self.error_waits),
            throttle_wait=self.throttle_wait / k,
            throttle_wait_limit=self.throttle_wait_limit / k,
            maximum_age=self.maximum_age / k,
        )
