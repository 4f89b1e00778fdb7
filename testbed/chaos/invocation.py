"""The actions of AWS Fault Injection Service on Lambda functions: an error, or an answer for HTTP, in place of the own.

Its third action, a delay before the handler, is `testbed.chaos.latency.Latency` of the service ``lambda``. Source: AWS
FIS user guide, AWS FIS Actions reference, Lambda actions.
"""

import json
from dataclasses import dataclass, field

from testbed.chaos.call import Call, FunctionAnswer, Injection
from testbed.chaos.fault import CallFault


@dataclass(frozen=True, kw_only=True)
class InvocationError(CallFault):
    """Marks invokes as failed (``aws:lambda:invocation-error``).

    Attributes:
        prevent_execution: Whether the handler is not run at all; else it runs, and its result is thrown away.
    """

    service: str = field(default="lambda", init=False)
    operations: tuple[str, ...] = field(default=("Invoke",), init=False)
    prevent_execution: bool = True

    def inject(self, call: Call, seed: int) -> Injection:
        """An error of the function."""
        del call, seed
        document = {"errorMessage": "Fault injected by the testbed", "errorType": "FaultInjected"}
        answer = FunctionAnswer(json.dumps(document).encode(), failed=True)
        return Injection(self.name, answer=answer, executed=not self.prevent_execution)


@dataclass(frozen=True, kw_only=True)
class InvocationHttpResponse(CallFault):
    """Lets functions answer with a status of HTTP (``aws:lambda:invocation-http-integration-response``).

    It means something to those who invoke over HTTP: REST APIs and function URLs.

    Attributes:
        status: The ``statusCode``.
        content_type: The header ``Content-Type``.
        prevent_execution: Whether the handler is not run at all; else it runs, and its result is thrown away.

    Raises:
        UsageError: The status is none of HTTP's.
    """

    service: str = field(default="lambda", init=False)
    operations: tuple[str, ...] = field(default=("Invoke",), init=False)
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
