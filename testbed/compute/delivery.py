"""Documents on their way to a queue, a topic, an event bus, a function or a bucket: one attempt each."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from testbed.compute.aws import AwsCallError
from testbed.semantics.delivery_retries import Failure, is_client_error
from testbed.semantics.invocation_record import EVENT_SOURCE

Call = Callable[[str, str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Calls an operation of a service with boto3's parameters, in somebody's name."""

_CLIENT_ERROR, _SERVER_ERROR = 400, 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """What is sent; each kind of target takes what it has a place for.

    Attributes:
        text: The document, JSON.
        attributes: Message attributes, for queues and topics.
        key: Name of the object, for buckets.
        detail_type: For event buses.
        resources: ARNs of what the document is about, for event buses.
    """

    text: str
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    key: str = ""
    detail_type: str = ""
    resources: Sequence[str] = ()


async def send(call: Call, arn: str, document: Document) -> None:
    """Send ``document`` to what ``arn`` names.

    Raises:
        AwsCallError: It was refused, or nothing of this kind can take it.
    """
    service = arn.split(":")[2]
    if service not in _SENDERS:
        raise AwsCallError("InvalidParameterValueException", _CLIENT_ERROR, f"{arn} takes no documents of Lambda")
    await _SENDERS[service](call, arn, document)


def is_final(error: AwsCallError) -> bool:
    """Whether it is of no use to try again: what is refused is neither throttled nor hit by a failing service."""
    return is_client_error(Failure(error.code, error.status, error.message))


async def _to_queue(call: Call, arn: str, document: Document) -> None:
    account, name = arn.split(":")[4:6]
    queue = await call("sqs", "GetQueueUrl", {"QueueName": name, "QueueOwnerAWSAccountId": account})
    message = {"QueueUrl": queue["QueueUrl"], "MessageBody": document.text}
    await call("sqs", "SendMessage", message | _attributes(document))


async def _to_topic(call: Call, arn: str, document: Document) -> None:
    await call("sns", "Publish", {"TopicArn": arn, "Message": document.text} | _attributes(document))


async def _to_function(call: Call, arn: str, document: Document) -> None:
    payload = document.text.encode()
    await call("lambda", "Invoke", {"FunctionName": arn, "InvocationType": "Event", "Payload": payload})


async def _to_bus(call: Call, arn: str, document: Document) -> None:
    entry = {
        "EventBusName": arn,
        "Source": EVENT_SOURCE,
        "DetailType": document.detail_type,
        "Detail": document.text,
        "Resources": list(document.resources),
    }
    answer = await call("events", "PutEvents", {"Entries": [entry]})
    if answer.get("FailedEntryCount"):  # an answer of 200 all the same
        failed = answer["Entries"][0]
        raise AwsCallError(failed.get("ErrorCode", ""), _SERVER_ERROR, failed.get("ErrorMessage", ""))


async def _to_bucket(call: Call, arn: str, document: Document) -> None:
    body = document.text.encode()
    bucket = arn.split(":")[5].partition("/")[0]
    await call("s3", "PutObject", {"Bucket": bucket, "Key": document.key, "Body": body})


def _attributes(document: Document) -> dict[str, Any]:
    return {"MessageAttributes": dict(document.attributes)} if document.attributes else {}


_SENDERS: Final[Mapping[str, Callable[[Call, str, Document], Awaitable[None]]]] = {
    "sqs": _to_queue,
    "sns": _to_topic,
    "lambda": _to_function,
    "events": _to_bus,
    "s3": _to_bucket,
}
