"""What crosses the seam between whoever invokes a function and the plane that runs it."""

from dataclasses import dataclass
from typing import Protocol

from testbed.chaos.call import AwsError


@dataclass(frozen=True, slots=True)
class InvokeResult:
    """The answer of ``lambda:Invoke``.

    Attributes:
        status: HTTP status: 200, 202 and 204 where Lambda took the request, else that of ``error``.
        payload: What the function returned, or the error document where ``function_error`` is set.
        function_error: ``X-Amz-Function-Error``: ``"Unhandled"`` or None.
        error: The modelled error; set exactly where ``status`` is not 2xx.
        cause: Why it failed, for the journal: ``"throttle"``, ``"timeout"``, ``"crash"``,
            ``"function error"``, ``"init error"``; None where it did not.
        executed_version: The version that ran.
        log_tail: The last 4 KB of the invoke's log.
        request_id: The request id that the handler saw.
    """

    status: int
    payload: bytes
    function_error: str | None
    error: AwsError | None
    cause: str | None
    executed_version: str = "$LATEST"
    log_tail: bytes = b""
    request_id: str = ""

    @property
    def refused(self) -> bool:
        """Whether Lambda refused the request: no handler ran, or will."""
        return self.error is not None


class Invoker(Protocol):
    """Whatever runs functions: the compute plane, or a test's stand-in."""

    async def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        caller: str,
        trace: str | None = None,
        identity: str | None = None,
    ) -> InvokeResult:
        """Run ``function`` (a name or an ARN) once with ``payload`` and wait for its answer."""
        ...
