"""How the data plane calls AWS: the same shapes as boto3, without its threads and its retries."""

from typing import Any, Protocol


class AwsCallError(Exception):
    """AWS, or a fault, answered a call with an error.

    Attributes:
        code: The error code, for example ``"ProvisionedThroughputExceededException"``.
        status: HTTP status; 0 where nothing answered.
        message: Text for people.
    """

    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(f"{code} ({status}): {message}")
        self.code = code
        self.status = status
        self.message = message


class AwsCaller(Protocol):
    """Calls one operation of one service through the gateway."""

    async def call(self, service: str, operation: str, params: dict[str, Any], *, caller: str) -> dict[str, Any]:
        """Call ``operation`` with boto3's parameters and return boto3's answer.

        Args:
            service: botocore's name of the service.
            operation: The operation as the API names it (``"ReceiveMessage"``).
            params: Members as boto3 takes them; blobs are bytes.
            caller: Who calls, for faults and the journal (``"mapping:UUID"``).

        Raises:
            AwsCallError: Any error of AWS; nothing is retried.
        """
        ...


class AwsSender(Protocol):
    """An `AwsCaller` whose calls can belong to the trace of an order."""

    async def call(
        self, service: str, operation: str, params: dict[str, Any], *, caller: str, trace: str | None = None
    ) -> dict[str, Any]:
        """Call ``operation``; see `AwsCaller`. The header ``trace`` makes faults the same in every run."""
        ...
