"""The actions of AWS Fault Injection Service on Lambda functions: a delay, an error, an answer for HTTP.

There an extension in the execution environment does it. Source: AWS FIS user guide, AWS FIS Actions reference, Lambda
actions.
"""

import json
from dataclasses import dataclass
from typing import ClassVar

from testbed.chaos.call import Call, Effect, FunctionAnswer, Injection
from testbed.chaos.faults.invoke_fault import InvokeFault


@dataclass(frozen=True, slots=True)
class HandlerDelayed(Effect):
    """The handler of an invoke begins later, though its environment is there.

    Attributes:
        seconds: How much later.
    """

    seconds: float

    def __str__(self) -> str:
        return f"handler begins {self.seconds:g} s later"


@dataclass(frozen=True, kw_only=True)
class InvocationDelay(InvokeFault):
    """Delays handlers (``aws:lambda:invocation-add-delay``), in warm environments as in cold ones.

    The invoke holds its concurrency meanwhile, and the time counts as its duration, is billed, and uses up the
    function's timeout: a delay that is longer is a timeout, and the handler does not run. A slow way to Lambda, which
    does none of that, is `Latency` of the service ``lambda``.

    Attributes:
        seconds: How much later a handler begins.

    Raises:
        UsageError: The time is not positive.
    """

    seconds: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seconds <= 0:
            raise self.refused(f"seconds={self.seconds} is not more than 0")

    def inject(self, call: Call, seed: int) -> Injection:
        """An effect on the environment."""
        del call, seed
        return Injection(self.name, effect=HandlerDelayed(self.seconds))


@dataclass(frozen=True, kw_only=True)
class InvocationError(InvokeFault):
    """Marks invokes as failed (``aws:lambda:invocation-error``).

    Attributes:
        prevent_execution: Whether the handler is not run at all; else it runs, and its result is thrown away. An invoke
            that Lambda refuses then, as by a throttle, is told so: the fault has not fired.
    """

    answers: ClassVar[bool] = True

    prevent_execution: bool = True

    def inject(self, call: Call, seed: int) -> Injection:
        """An error of the function."""
        del call, seed
        document = {"errorMessage": "Fault injected by the testbed", "errorType": "FaultInjected"}
        answer = FunctionAnswer(json.dumps(document).encode(), failed=True)
        return Injection(self.name, answer=answer, executed=not self.prevent_execution)


@dataclass(frozen=True, kw_only=True)
class InvocationHttpResponse(InvokeFault):
    """Lets functions answer with a status of HTTP (``aws:lambda:invocation-http-integration-response``).

    It means something to those who invoke over HTTP: REST APIs and function URLs.

    Attributes:
        status: The ``statusCode``.
        content_type: The header ``Content-Type``.
        prevent_execution: As of `InvocationError`.

    Raises:
        UsageError: The status is none of HTTP's.
    """

    answers: ClassVar[bool] = True

    status: int = 500
    content_type: str = "application/json"
    prevent_execution: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 100 <= self.status < 600:  # noqa: PLR2004 - HTTP's
            raise self.refused(f"status={self.status} is none of HTTP's")

    def inject(self, call: Call, seed: int) -> Injection:
        """A result of the function for API Gateway."""
        del call, seed
        result = {"statusCode": self.status, "headers": {"Content-Type": self.content_type}, "body": ""}
        return Injection(
            self.name, answer=FunctionAnswer(json.dumps(result).encode()), executed=not self.prevent_execution
        )
