"""Hands what topics and rules deliver to the data plane, which tries it as often as AWS does.

LocalStack's own attempts are those of boto3's retries, within 15 s, past the gateway's faults and limits; it does not
look at the RetryPolicy and the DeadLetterConfig of a rule's target. HTTP, e-mail, SMS, push and Firehose subscriptions
stay LocalStack's own, and so do targets that are no function, queue, topic, stream, state machine or event bus.
"""

import base64
import functools
import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from urllib3.exceptions import HTTPError

from . import plane

_PATH: Final = "/_testbed/delivery"
_READ_SECONDS: Final = 10.0
_FIRST_ERROR: Final = 400
_TRACE_HEADER: Final = "X-Amzn-Trace-Id"
_SENDERS: Final = ("Events", "Firehose", "Kinesis", "Lambda", "Sns", "Sqs", "States")

_event: ContextVar[Any] = ContextVar("event")
"""The event that is being sent to a target, as it was before the target's input transformer: a dead letter has that."""


def deliver_by_the_plane() -> None:
    """Put the plane in the place of the clients that deliver."""
    from localstack.services.events import target  # noqa: PLC0415  # see start.install
    from localstack.services.sns import publisher  # noqa: PLC0415  # the same

    publisher.LambdaTopicPublisher._publish = _to_function  # noqa: SLF001 - LocalStack has no seam there
    publisher.SqsTopicPublisher._publish = _to_queue  # noqa: SLF001 - the same
    publisher.PublishDispatcher.batch_topic_notifiers = {}  # each message of a batch has its own retries
    target.sqs_queue_url_for_arn = str  # the plane makes the URL, of queues too that are gone
    target.TargetSender.process_event = _remembered(target.TargetSender.process_event)
    for name in _SENDERS:
        getattr(target, f"{name}TargetSender").client = property(_Client)


def _to_function(publisher: Any, context: Any, subscriber: Mapping[str, Any]) -> None:
    from localstack.services.sns.publisher import create_sns_message_body  # noqa: PLC0415  # see start.install

    call = {
        "FunctionName": subscriber["Endpoint"],
        "InvocationType": "Event",
        "Payload": publisher.prepare_message(context.message, subscriber, context.topic_attributes),
    }
    body = functools.partial(create_sns_message_body, context.message, subscriber, context.topic_attributes)
    _notify(context, subscriber, ("lambda", "Invoke"), call, lambda: {"MessageBody": body()})


def _to_queue(publisher: Any, context: Any, subscriber: Mapping[str, Any]) -> None:
    from localstack.utils.aws.aws_responses import create_sqs_system_attributes  # noqa: PLC0415  # see start.install

    message = {
        "MessageBody": publisher.prepare_message(context.message, subscriber, context.topic_attributes),
        **publisher.get_sqs_kwargs(context.message, subscriber),
    }
    traced = {"MessageSystemAttributes": create_sqs_system_attributes(context.request_headers)}
    _notify(context, subscriber, ("sqs", "SendMessage"), message | traced, lambda: message)


def _notify(
    context: Any,
    subscriber: Mapping[str, Any],
    call: tuple[str, str],
    params: Mapping[str, Any],
    letter: Callable[[], Mapping[str, Any]],
) -> None:
    """Deliver a message to a subscription, and let LocalStack log what became of it.

    The ``letter`` is made where there is a dead-letter queue only: it is signed, which takes a millisecond.
    """
    from localstack.services.sns.publisher import store_delivery_log  # noqa: PLC0415  # see start.install

    dead_letter = json.loads(subscriber.get("RedrivePolicy") or "{}").get("deadLetterTargetArn")
    arrived = _deliver(
        {
            "by": "sns",
            "source": subscriber["SubscriptionArn"],
            "target": subscriber["Endpoint"],
            "service": call[0],
            "operation": call[1],
            "params": params,
            "trace": context.request_headers.get(_TRACE_HEADER),
            "dead_letter": dead_letter,
            "letter": letter() if dead_letter else None,
        }
    )
    store_delivery_log(context.message, subscriber, success=arrived, topic_attributes=context.topic_attributes)


def _remembered(process: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(process)
    def call(sender: Any, event: Any, trace_header: Any) -> Any:
        token = _event.set(event)
        try:
            return process(sender, event, trace_header)
        finally:
            _event.reset(token)

    return call


class _Client:
    """Stands where a target's sender has its boto3 client: each call is a delivery."""

    def __init__(self, sender: Any) -> None:
        self._sender = sender

    def __getattr__(self, method: str) -> Callable[..., None]:
        return functools.partial(self._call, "".join(part.capitalize() for part in method.split("_")))

    def _call(self, operation: str, TraceHeader: Any = None, **params: Any) -> None:  # noqa: N803 - LocalStack's
        from localstack.services.events.utils import to_json_str  # noqa: PLC0415  # see start.install

        target = self._sender.target
        _deliver(
            {
                "by": "events",
                "source": self._sender.rule_arn,
                "target": target["Arn"],
                "service": self._sender.service,
                "operation": operation,
                "params": params,
                "trace": TraceHeader.to_header_str() if TraceHeader else None,
                "retry_policy": target.get("RetryPolicy"),
                "dead_letter": (target.get("DeadLetterConfig") or {}).get("Arn"),
                "letter": {"MessageBody": to_json_str(_event.get())},
            }
        )


def _deliver(order: Mapping[str, Any]) -> bool:
    """Hand a delivery over; whether it has arrived at the first attempt.

    Raises:
        HTTPError: The plane does not take it.
    """
    headers = {"Content-Type": "application/json"}
    answer = plane.post(_PATH, json.dumps(order, default=_blob).encode(), headers, read_seconds=_READ_SECONDS)
    if answer.status >= _FIRST_ERROR:
        raise HTTPError(f"the data plane of the testbed did not take a delivery: {answer.data!r}")
    return bool(json.loads(answer.data)["delivered"])


def _blob(value: Any) -> dict[str, str]:
    """A blob as JSON has it; whatever else JSON does not know is an error."""
    return {"base64": base64.b64encode(value).decode()}
