"""What faults do to messages of SQS: they are visible again too early, or visible late.

Requests are read in JSON and in the query protocol, in which REST APIs send to queues without a function.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from multidict import CIMultiDict

from testbed.chaos.faults.delivery import SentLate, VisibleAgain
from testbed.gateway.classify import Target
from testbed.gateway.limits.wire import Forward, answer_of, document_of, rewritten, with_body
from testbed.gateway.message import Inbound, Reply

_MAX_DELAY: Final = 900  # seconds; the least is 0 (Amazon SQS API reference, SendMessage, DelaySeconds)
_OK: Final = 200
_HANDLE: Final = re.compile(rb'"ReceiptHandle":\s*"([^"]+)"|<ReceiptHandle>([^<]+)<')
_SENT: Final = b"MessageId"  # in the answer to SendMessage, and to each entry of a batch that was sent
_CHANGE: Final = "ChangeMessageVisibilityBatch"
_DELAY: Final = "DelaySeconds"
_VISIBILITY: Final = "VisibilityTimeout"
_ENTRY: Final = re.compile(r"(SendMessageBatchRequestEntry\.\d+\.)Id")


async def visible_again(effect: VisibleAgain, target: Target, request: Inbound, forward: Forward) -> Reply:
    """Receive, and cut the visibility timeout of what was received short."""
    reply = await forward(request, target)
    if reply.status != _OK:
        return reply
    handles = [(found[1] or found[2]).decode() for found in _HANDLE.finditer(await reply.whole())]
    if handles and (not effect.after or effect.after < await _seconds(request, target, forward, _VISIBILITY)):
        entries = [
            {"Id": str(number), "ReceiptHandle": handle, _VISIBILITY: effect.after}
            for number, handle in enumerate(handles)
        ]
        changed = await answer_of(await _ask(request, target, forward, _CHANGE, {"Entries": entries})) or {}
        if changed.get("Successful"):
            effect.happened()
    return reply


async def sent_late(effect: SentLate, target: Target, request: Inbound, forward: Forward) -> Reply:
    """Send with a longer delay. A delay that SQS does not take stays as it is, for SQS to refuse."""
    is_later = False

    async def later(delay: object) -> object:
        nonlocal is_later
        own = await _of_queue(request, target, forward, _DELAY) if delay is None else delay
        if type(own) is not int or not 0 <= own <= _MAX_DELAY:
            return delay
        is_later = is_later or own < _MAX_DELAY
        return min(own + effect.seconds, _MAX_DELAY)

    if document := document_of(request.body):
        for entry in _entries(document):
            entry[_DELAY] = await later(entry.get(_DELAY))
        delayed = rewritten(request, document)
    else:
        fields = _fields(request)
        entries = [found[1] for name in fields if (found := _ENTRY.fullmatch(name))] or [""]
        delays = {entry + _DELAY: await later(_number(fields.get(entry + _DELAY))) for entry in entries}
        delayed = with_body(request, urlencode({**fields, **delays}).encode())
    reply = await forward(delayed, target)
    if is_later and not reply.refused and _SENT in await reply.whole():
        effect.happened()
    return reply


async def _seconds(request: Inbound, target: Target, forward: Forward, attribute: str) -> int:
    """What a request says of an attribute, or else its queue."""
    if (said := _fields(request).get(attribute)) is not None:
        return int(said)
    return await _of_queue(request, target, forward, attribute)


async def _of_queue(request: Inbound, target: Target, forward: Forward, attribute: str) -> int:
    attributes = {"AttributeNames": [attribute]}
    answer = await answer_of(await _ask(request, target, forward, "GetQueueAttributes", attributes)) or {}
    return int(answer.get("Attributes", {}).get(attribute, 0))


def _entries(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of a request in JSON, as far as they are some."""
    entries = document.get("Entries", [document])
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _number(field: str | None) -> int | str | None:
    """A field of a form, as a number if it is one."""
    return int(field) if field and field.isascii() and field.isdigit() else field


async def _ask(request: Inbound, target: Target, forward: Forward, operation: str, members: Mapping[str, Any]) -> Reply:
    """Something else of the queue that ``request`` is about, past faults."""
    host = request.headers.get("Host", "localhost")
    headers = CIMultiDict(
        {"Host": host, "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{operation}"}
    )
    if signed := request.headers.get("Authorization"):
        headers["Authorization"] = signed
    url = _fields(request).get("QueueUrl") or f"http://{host}{request.path}"
    body = json.dumps({"QueueUrl": url, **members}).encode()
    return await forward(Inbound("POST", "/", headers, body), Target("sqs", operation, target.resource))


def _fields(request: Inbound) -> dict[str, Any]:
    """The members of a request, those of a form by the names of its fields."""
    return document_of(request.body) or dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
