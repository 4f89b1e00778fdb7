"""Batches of which a fault lets some entries fail: the others are sent on, and the answer names those that failed.

How each service says so: API references of SQS and SNS (``Failed``, BatchResultErrorEntry), Kinesis (PutRecords,
``FailedRecordCount``), EventBridge (PutEvents, ``FailedEntryCount``) and DynamoDB (BatchWriteItem,
``UnprocessedItems``). SQS and SNS are read in JSON and in the query protocol; CBOR has been put into JSON by then. A
batch that is malformed, or that breaks a rule for the whole of it, goes through as it came: it is the service's to
refuse, and without the entries that fail it might not be.
"""

import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

from multidict import CIMultiDict

from testbed.chaos.call import AwsError
from testbed.chaos.faults.partial_failure import EntriesFail
from testbed.gateway.classify import Target, service_model
from testbed.gateway.faults import cause_of
from testbed.gateway.limits.wire import (
    Forward,
    answer_of,
    document_of,
    own_answer,
    put_back,
    put_in_places,
    rewritten,
    with_answer,
    with_answer_body,
    with_body,
)
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.wire import REQUEST_ID_HEADER, error_reply

_COUNTS: Final = {"kinesis": "FailedRecordCount", "events": "FailedEntryCount"}
_CONTENT_TYPES: Final = {"sqs": "application/x-amz-json-1.0", "dynamodb": "application/x-amz-json-1.0"}
_OTHER_CONTENT_TYPE: Final = "application/x-amz-json-1.1"
_FORM_ENTRY: Final = re.compile(r"(PublishBatchRequestEntries\.member|\w+BatchRequestEntry)\.(\d+)\.(.+)")
_NAMESPACES: Final = {
    "sqs": "http://queue.amazonaws.com/doc/2012-11-05/",
    "sns": "http://sns.amazonaws.com/doc/2010-03-31/",
}
_LISTS: Final = {"sqs": "Entries", "sns": "PublishBatchRequestEntries", "kinesis": "Records", "events": "Entries"}
_MOST: Final = {"sqs": 10, "sns": 10, "kinesis": 500, "events": 10, "dynamodb": 25}
"""Entries of a batch (API references: SendMessageBatch and its like, PublishBatch, PutRecords, PutEvents,
BatchWriteItem)."""
_MOST_BYTES: Final = {"sqs": ("MessageBody", 1 << 20), "sns": ("Message", 256 << 10)}
"""Of all messages of a batch: BatchRequestTooLong (API references, SendMessageBatch and PublishBatch)."""
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
"""InvalidBatchEntryId for others (API references, SendMessageBatch and PublishBatch)."""
_GROUP: Final = "MessageGroupId"
_NONE_FAILED: Final = re.compile(rb"<Failed\s*/>|<Failed>\s*</Failed>")


async def entries_fail(effect: EntriesFail, target: Target, request: Inbound, forward: Forward) -> Reply:
    """Execute a batch without the entries that fail; where all do, nothing is sent on.

    DynamoDB answers a batch of which it has taken nothing with an error (API reference, BatchWriteItem).
    """
    batch = _batch_of(target, request)
    if batch is None or not batch.size or _is_refused(target, batch.entries):
        return await forward(request, target)
    failing = effect.failing(batch.size)
    if not all(failing):
        reply = await forward(batch.without(failing), target)
        if not await batch.add(reply, failing, effect.error):
            return reply
    elif target.service == "dynamodb":
        effect.happened()
        return error_reply(effect.error, target, request, cause=cause_of(effect.error))
    else:
        reply = batch.nothing_done()
        await batch.add(reply, failing, effect.error)
    effect.happened()
    reply.cause = cause_of(effect.error)
    return reply


def _batch_of(target: Target, request: Inbound) -> "_Batch | None":
    document = document_of(request.body)
    try:
        if not document:
            return _Form(target, request) if target.service in _NAMESPACES else None
        if target.service == "dynamodb":
            return _Writes(target, request, document)
        return _InPlaces(target, request, document) if target.service in _COUNTS else _ById(target, request, document)
    except (KeyError, TypeError, AttributeError):
        return None


def _is_refused(target: Target, entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a service refuses a batch as a whole for what its entries are, and answers for none of them by itself.

    Too many of them, one without what it must have (API models in botocore), ids of SQS and SNS that are none or not
    distinct, messages that are too long together even without their attributes.
    """
    required = _required(target)
    if len(entries) > _MOST[target.service] or any(entry.get(name) is None for entry in entries for name in required):
        return True
    if target.service not in _NAMESPACES:
        return False
    ids = {entry["Id"] for entry in entries if isinstance(entry["Id"], str) and _ID.fullmatch(entry["Id"])}
    body, most = _MOST_BYTES[target.service]
    length = sum(len(str(entry.get(body, "")).encode("utf-8", "surrogatepass")) for entry in entries)
    return len(ids) < len(entries) or length > most


def _required(target: Target) -> Sequence[str]:
    """What each entry of a list must have; messages for FIFO queues and topics have a group too."""
    if target.service == "dynamodb":
        return ()  # its lists are by table
    request: Any = service_model(target.service).operation_model(target.operation).input_shape
    entry = request.members[_LISTS[target.service]].member
    in_groups = target.resource.endswith(".fifo") and _GROUP in entry.members
    return (*entry.required_members, _GROUP) if in_groups else tuple(entry.required_members)


class _Batch(ABC):
    """A request with entries.

    Attributes:
        entries: What it has, whatever DynamoDB's tables.
    """

    entries: list[Mapping[str, Any]]

    @property
    def size(self) -> int:
        """How many entries it has."""
        return len(self.entries)

    @abstractmethod
    def without(self, failing: Sequence[bool]) -> Inbound:
        """The request without those entries."""

    @abstractmethod
    def nothing_done(self) -> Reply:
        """An answer that names no entry."""

    @abstractmethod
    async def add(self, reply: Reply, failing: Sequence[bool], error: AwsError) -> bool:
        """Name those entries in the answer to the others; False leaves an answer alone that is an error."""


class _Document(_Batch):
    """A request in JSON."""

    def __init__(self, target: Target, request: Inbound, document: Mapping[str, Any]) -> None:
        self._target = target
        self._request = request
        self._document = document

    def nothing_done(self) -> Reply:
        content_type = _CONTENT_TYPES.get(self._target.service, _OTHER_CONTENT_TYPE)
        return own_answer(str(uuid.uuid4()), content_type, {})

    async def add(self, reply: Reply, failing: Sequence[bool], error: AwsError) -> bool:
        answer = await answer_of(reply) if reply.status else None
        if answer is None:
            return False
        self._tell(answer, failing, error)
        with_answer(reply, answer)
        return True

    @abstractmethod
    def _tell(self, answer: dict[str, Any], failing: Sequence[bool], error: AwsError) -> None:
        """Name entries in the document of an answer."""


class _List(_Document):
    """A request whose entries are a list."""

    def __init__(self, target: Target, request: Inbound, document: Mapping[str, Any]) -> None:
        super().__init__(target, request, document)
        self._member = _LISTS[target.service]
        self.entries = [{**entry} for entry in document[self._member]]

    def without(self, failing: Sequence[bool]) -> Inbound:
        kept = [entry for entry, fails in zip(self.entries, failing, strict=True) if not fails]
        return rewritten(self._request, {**self._document, self._member: kept})


class _InPlaces(_List):
    """Of Kinesis and EventBridge: results are in the order of the entries."""

    def _tell(self, answer: dict[str, Any], failing: Sequence[bool], error: AwsError) -> None:
        result = {"ErrorCode": error.code, "ErrorMessage": error.message}
        count = _COUNTS[self._target.service]
        put_in_places(answer, self._member, count, [result if fails else None for fails in failing])


class _ById(_List):
    """Of SQS: results name the ids of the entries."""

    def _tell(self, answer: dict[str, Any], failing: Sequence[bool], error: AwsError) -> None:
        answer.setdefault("Successful", [])
        result = {"Code": error.code, "Message": error.message, "SenderFault": False}
        failed = [{"Id": entry["Id"], **result} for entry, fails in zip(self.entries, failing, strict=True) if fails]
        answer["Failed"] = [*answer.get("Failed", ()), *failed]


class _Writes(_Document):
    """Of DynamoDB: lists of requests by table."""

    def __init__(self, target: Target, request: Inbound, document: Mapping[str, Any]) -> None:
        super().__init__(target, request, document)
        by_table = document["RequestItems"].items()
        self._tables = [table for table, entries in by_table for _ in entries]
        self.entries = [{**entry} for _, entries in by_table for entry in entries]

    def without(self, failing: Sequence[bool]) -> Inbound:
        return rewritten(self._request, {**self._document, "RequestItems": self._chosen(failing, fails=False)})

    def _tell(self, answer: dict[str, Any], failing: Sequence[bool], error: AwsError) -> None:
        del error  # the answer has no place for it
        put_back(answer, self._chosen(failing, fails=True))

    def _chosen(self, failing: Sequence[bool], *, fails: bool) -> dict[str, list[Any]]:
        chosen: dict[str, list[Any]] = {}
        for table, entry, each in zip(self._tables, self.entries, failing, strict=True):
            if each is fails:
                chosen.setdefault(table, []).append(entry)
        return chosen


class _Form(_Batch):
    """Of SNS and SQS in the query protocol: fields with the numbers of their entries, and an answer in XML."""

    def __init__(self, target: Target, request: Inbound) -> None:
        self._target = target
        self._request = request
        self._fields = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        numbered: dict[str, dict[str, str]] = {}
        for name, value in self._fields:
            if found := _FORM_ENTRY.fullmatch(name):
                numbered.setdefault(found[2], {})[found[3]] = value
        self._numbers = list(numbered)
        self.entries = list(numbered.values())

    def without(self, failing: Sequence[bool]) -> Inbound:
        kept = [number for number, fails in zip(self._numbers, failing, strict=True) if not fails]
        renumbered = {number: place for place, number in enumerate(kept, start=1)}
        fields = []
        for name, value in self._fields:
            found = _FORM_ENTRY.fullmatch(name)
            if found is None:
                fields.append((name, value))
            elif found[2] in renumbered:
                fields.append((f"{found[1]}.{renumbered[found[2]]}.{found[3]}", value))
        return with_body(self._request, urlencode(fields).encode())

    def nothing_done(self) -> Reply:
        operation, request_id = self._target.operation, str(uuid.uuid4())
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<{operation}Response xmlns="{_NAMESPACES[self._target.service]}">'
            f"<{operation}Result></{operation}Result>"
            f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
        )
        return Reply(200, CIMultiDict({REQUEST_ID_HEADER: request_id, "Content-Type": "text/xml"}), body.encode())

    async def add(self, reply: Reply, failing: Sequence[bool], error: AwsError) -> bool:
        if not 200 <= reply.status < 300:  # noqa: PLR2004 - HTTP's successes
            return False
        kind = "member" if self._target.service == "sns" else "BatchResultErrorEntry"
        failed = "".join(
            f"<{kind}><Id>{escape(entry['Id'])}</Id><Code>{escape(error.code)}</Code>"
            f"<Message>{escape(error.message)}</Message><SenderFault>false</SenderFault></{kind}>"
            for entry, fails in zip(self.entries, failing, strict=True)
            if fails
        ).encode()
        body = await reply.whole()
        if self._target.service == "sns":
            body = _NONE_FAILED.sub(b"", body)
            if b"</Failed>" not in body:
                failed = b"<Failed>" + failed + b"</Failed>"
        end = b"</Failed>" if b"</Failed>" in body else f"</{self._target.operation}Result>".encode()
        with_answer_body(reply, body.replace(end, failed + end, 1))
        return True
