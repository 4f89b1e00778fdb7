"""When Lambda tries an asynchronous invoke again, and when it gives it up; time is passed in.

Source: AWS Lambda developer guide, How Lambda handles errors and retries with asynchronous invocation.

AWS does not say what happens to an event whose function is gone. Here, as third parties saw it, such an attempt counts
like one that failed in the function.
"""

from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final

from testbed.semantics.backoff import Backoff

SUCCESS: Final = "Success"
RETRIES_EXHAUSTED: Final = "RetriesExhausted"


@dataclass(frozen=True, kw_only=True, slots=True)
class AsyncInvokeProfile:
    """Numbers of asynchronous invokes.

    Attributes:
        error_waits: Seconds before each retry after a function error (1 minute, then 2).
        throttle_wait: Seconds before the first retry after a throttle or an error of the service; doubles each time.
            Such retries do not use up those of function errors.
        throttle_wait_limit: Seconds that such a wait never exceeds, but for the jitter (5 minutes).
        throttle_wait_restarts: Whether these waits begin anew once the function ran. AWS does not say.
        jitter: The largest share by which a wait comes out longer; none comes out shorter. AWS publishes none; measured
            are a few per cent.
        maximum_age: Seconds after which an event is given up, where the function does not say (6 hours).
        maximum_retries: Retries after function errors, where the function does not say (2).
        expired_condition: What the record says of an event that became too old. Seen by third parties; AWS's documents
            do not name it.
        disabled_condition: What the record says where a reserved concurrency of 0 turns the function off. Likewise.
        delivery_retry: Waits between attempts to send to a destination or a dead-letter queue. AWS publishes none.
        delivery_attempts: How often it is tried, unless the first refusal is final. AWS publishes no number; as reasons
            for a failure its documents name permissions, configuration and size only, all of them final.
    """

    error_waits: tuple[float, ...] = (60.0, 120.0)
    throttle_wait: float = 1.0
    throttle_wait_limit: float = 300.0
    throttle_wait_restarts: bool = True
    jitter: float = 0.05
    maximum_age: float = 21600.0
    maximum_retries: int = 2
    expired_condition: str = "EventAgeExceeded"
    disabled_condition: str = "ZeroReservedConcurrency"
    delivery_retry: Backoff = field(default=Backoff(base=0.5, cap=20.0))
    delivery_attempts: int = 10

    def compress(self, k: float) -> "AsyncInvokeProfile":
        """The same with every wait divided by ``k``."""
        return replace(
            self,
            error_waits=tuple(wait / k for wait in self.error_waits),
            throttle_wait=self.throttle_wait / k,
            throttle_wait_limit=self.throttle_wait_limit / k,
            maximum_age=self.maximum_age / k,
            delivery_retry=self.delivery_retry.compress(k),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EventInvokeConfig:
    """What a function, a version or an alias says of its asynchronous invokes (API reference, of the same name).

    Attributes:
        maximum_retry_attempts: Retries after function errors, 0 to 2; None for AWS's default.
        maximum_event_age: Seconds after which an event is given up, 60 to 21,600; None for AWS's default.
        on_success: ARN of the destination of events that succeeded.
        on_failure: ARN of the destination of events that were given up.
    """

    maximum_retry_attempts: int | None = None
    maximum_event_age: float | None = None
    on_success: str | None = None
    on_failure: str | None = None


class Outcome(Enum):
    """How an attempt ended."""

    SUCCEEDED = auto()
    FAILED = auto()
    """An error of the function, timeouts and crashes included; or the function is gone."""
    REFUSED = auto()
    """Throttled, or an error of the service: the function did not run."""
    DISABLED = auto()
    """A reserved concurrency of 0: no attempt is made."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again in ``wait`` seconds."""

    wait: float


@dataclass(frozen=True, slots=True)
class End:
    """The end of an event, with its ``condition``: ``"Success"``, or why it was given up."""

    condition: str


class AsyncInvoke:
    """The way of one event.

    Args:
        rules: AWS's numbers.

    Attributes:
        invokes: Attempts that counted; throttles and errors of the service do not.
        tries: Attempts of all kinds.
    """

    def __init__(self, rules: AsyncInvokeProfile) -> None:
        self._rules = rules
        self._refusals = 0
        self.invokes = 0
        self.tries = 0

    def after(self, outcome: Outcome, *, age: float, config: EventInvokeConfig, spread: float) -> Retry | End:
        """What follows an attempt.

        Args:
            outcome: How it ended.
            age: Seconds since the event was accepted.
            config: What the function says.
            spread: From 0 to 1, the caller's jitter.
        """
        if outcome is Outcome.DISABLED:
            return End(self._rules.disabled_condition)
        self.tries += 1
        if outcome is Outcome.REFUSED:
            self._refusals += 1
            wait = Backoff(base=self._rules.throttle_wait, cap=self._rules.throttle_wait_limit).delay(self._refusals)
        else:
            self.invokes += 1
            if self._rules.throttle_wait_restarts:
                self._refusals = 0
            if outcome is Outcome.SUCCEEDED:
                return End(SUCCESS)
            if self.invokes > self._retries(config):
                return End(RETRIES_EXHAUSTED)
            wait = self._rules.error_waits[self.invokes - 1]
        wait *= 1 + self._rules.jitter * spread
        oldest = self._rules.maximum_age if config.maximum_event_age is None else config.maximum_event_age
        return End(self._rules.expired_condition) if age + wait > oldest else Retry(wait)

    def _retries(self, config: EventInvokeConfig) -> int:
        wanted = config.maximum_retry_attempts
        return min(self._rules.maximum_retries if wanted is None else wanted, len(self._rules.error_waits))
