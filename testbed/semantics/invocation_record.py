"""What a destination or a dead-letter queue gets of an asynchronous invoke; pure data in, pure data out.

Source: AWS Lambda developer guide, Capturing records of Lambda asynchronous invocations.

Not published by AWS, but seen by third parties: an event whose last attempt was refused has the status and no version
in its ``responseContext``, and no ``responsePayload``; one that was never tried has neither. What is left out of an
attribute that would be empty is left out here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

EVENT_SOURCE: Final = "lambda"
"""``source`` at EventBridge, as real events have it; one page of the guide says ``aws.lambda``."""
_MESSAGE_BYTES: Final = 1024
_DISABLED: Final = "Function not invoked. Function is configured with zero reserved concurrent executions"
"""Third parties saw this text in messages of functions that a reserved concurrency of 0 turns off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """The last answer to an event.

    Attributes:
        status: HTTP status: 200 for function errors.
        executed_version: The version that ran; None where none did.
        function_error: ``"Unhandled"`` or None.
        payload: What the function returned, or its error document; None where it did not run.
        message: What an error of the service said.
    """

    status: int
    executed_version: str | None = None
    function_error: str | None = None
    payload: bytes | None = None
    message: str = ""


def invocation_record(
    *,
    request_id: str,
    function_arn: str,
    condition: str,
    invokes: int,
    payload: bytes,
    response: Response | None,
    now: float,
) -> dict[str, Any]:
    """The record for a destination.

    Args:
        request_id: Of the invoke.
        function_arn: The function with its qualifier, ``$LATEST`` where there was none.
        condition: How the event ended.
        invokes: How often it reached the function.
        payload: The event, JSON.
        response: The last answer; None where no attempt was made.
        now: Seconds since the epoch.
    """
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": request_id,
            "functionArn": function_arn,
            "condition": condition,
            "approximateInvokeCount": invokes,
        },
        "requestPayload": json.loads(payload),
    }
    if response is None:
        return record
    context = {
        "statusCode": response.status,
        "executedVersion": response.executed_version,
        "functionError": response.function_error,
    }
    record["responseContext"] = {name: value for name, value in context.items() if value is not None}
    if response.payload is not None:
        record["responsePayload"] = _document(response.payload)
    return record


def dead_letter_attributes(request_id: str, response: Response | None) -> dict[str, Mapping[str, str]]:
    """Attributes of the message for a dead-letter queue, whose body is the event itself.

    Args:
        request_id: Of the invoke.
        response: The last answer; None where a reserved concurrency of 0 left none.
    """
    attributes = {"RequestID": _attribute("String", request_id)}
    if response is not None:
        attributes["ErrorCode"] = _attribute("Number", str(response.status))
    if message := _DISABLED if response is None else _error_message(response):
        first = message.encode()[:_MESSAGE_BYTES].decode(errors="ignore")
        attributes["ErrorMessage"] = _attribute("String", first)
    return attributes


def object_key(function: str, now: float, unique: str) -> str:
    """Name of the object that a record becomes in a bucket.

    Args:
        function: Name of the function.
        now: Seconds since the epoch.
        unique: A random UUID.
    """
    return f"aws/lambda/async/{function}/{datetime.fromtimestamp(now, UTC):%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{unique}"


def detail_type(*, succeeded: bool) -> str:
    """``detail-type`` of a record at EventBridge."""
    return f"Lambda Function Invocation Result - {'Success' if succeeded else 'Failure'}"


def _document(payload: bytes) -> Any:
    """What a function answered; as a text where it is no JSON, as of a runtime that answers in another format."""
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return payload.decode(errors="replace")


def _error_message(response: Response) -> str:
    document = _document(response.payload) if response.payload else None
    return str(document.get("errorMessage", "")) if isinstance(document, dict) else response.message


def _attribute(kind: str, value: str) -> Mapping[str, str]:
    return {"DataType": kind, "StringValue": value}
