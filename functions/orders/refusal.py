"""What a customer is told when a service did not take the order."""

from http import HTTPStatus
from typing import Any

from answers import answer
from botocore.exceptions import BotoCoreError, ClientError


def refusal(service: str, error: BotoCoreError | ClientError) -> dict[str, Any]:
    """503 where the service refused the call; 504 where it failed or gave no answer, and may have the order."""
    if isinstance(error, ClientError):
        refused = error.response["ResponseMetadata"]["HTTPStatusCode"] < HTTPStatus.INTERNAL_SERVER_ERROR
    else:
        refused = False
    return answer(503 if refused else 504, error=f"{service} unavailable", detail=str(error))
