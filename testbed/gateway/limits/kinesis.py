"""Kinesis refuses what its shards do not take: single records of PutRecords, and else whole calls."""

import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

from testbed.chaos.call import AwsError
from testbed.compute.aws import AwsCaller
from testbed.gateway.classify import Target
from testbed.gateway.limits.read_once import ReadOnce
from testbed.gateway.limits.wire import (
    LIMIT,
    Forward,
    answer_of,
    document_of,
    own_answer,
    put_in_places,
    rewritten,
    with_answer,
)
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.wire import error_reply
from testbed.semantics.kinesis_shard import KinesisProfile, Shard, ShardMap, hash_key

_CALLER: Final = "testbed"
_CODE: Final = "ProvisionedThroughputExceededException"
_ACCOUNT: Final = "000000000000"  # the emulator's account
_CONTENT_TYPE: Final = "application/x-amz-json-1.1"
_ITERATORS: Final = 20_000  # that are remembered; a poller uses each once
_EXPIRED: Final = AwsError("ExpiredIteratorException", 400, "Iterator expired: it was valid for five minutes.")
_NEW: Final = frozenset({"CreateStream", "DeleteStream"})


class KinesisLimits:
    """The shards of all streams.

    Args:
        aws: Lists shards, past faults and journal.
        profile: The numbers.
        clock: Seconds of a clock that never goes back.

    Attributes:
        operations: What is limited, or tells which shard an iterator reads.
    """

    operations = frozenset({"PutRecord", "PutRecords", "GetShardIterator", "GetRecords"})

    def __init__(self, aws: AwsCaller, profile: KinesisProfile, clock: Callable[[], float]) -> None:
        self._aws = aws
        self._profile = profile
        self._clock = clock
        self._maps = ReadOnce(self._open_shards)
        self._shards: defaultdict[str, dict[str, Shard]] = defaultdict(dict)
        self._iterators: OrderedDict[str, tuple[str, str, float]] = OrderedDict()

    async def execute(self, target: Target, request: Inbound, forward: Forward) -> Reply:
        """Answer one call of `operations`."""
        document = document_of(request.body)
        if not document:
            return await forward(request, target)
        if target.operation == "PutRecord":
            return await self._put_record(target, request, forward, document)
        if target.operation == "PutRecords":
            return await self._put_records(target, request, forward, document)
        if target.operation == "GetRecords":
            return await self._get_records(target, request, forward, document)
        reply = await forward(request, target)
        if answer := await answer_of(reply):
            self._remember(answer.get("ShardIterator"), target.resource, str(document.get("ShardId")))
        return reply

    def stream_of(self, iterator: object) -> str:
        """The stream that an iterator reads; empty where it is not remembered."""
        return self._iterators.get(str(iterator), ("", "", 0.0))[0]

    def use(self, profile: KinesisProfile) -> None:
        """Go by other numbers, with shards of which nothing is used up."""
        self._profile = profile
        self.restart()

    def restart(self) -> None:
        """Forget what was used up so far."""
        self._shards.clear()

    def changed(self, operation: str, stream: str) -> None:
        """A stream was changed; without a name, all may have been."""
        self._maps.forget(stream)
        if not stream:
            self._shards.clear()
        elif operation in _NEW:
            self._shards.pop(stream, None)

    async def _put_record(
        self, target: Target, request: Inbound, forward: Forward, document: Mapping[str, Any]
    ) -> Reply:
        shards = await self._maps.get(target.resource)
        if shards and (shard_id := self._refusing(target.resource, shards, document)):
            return _refused(target, request, target.resource, shard_id)
        return await forward(request, target)

    async def _put_records(
        self, target: Target, request: Inbound, forward: Forward, document: Mapping[str, Any]
    ) -> Reply:
        shards = await self._maps.get(target.resource)
        records = document.get("Records")
        if not shards or not isinstance(records, list):
            return await forward(request, target)
        refusing = [self._refusing(target.resource, shards, record) for record in records]
        if not any(refusing):
            return await forward(request, target)
        refused = [_refused_entry(target.resource, shard_id) if shard_id else None for shard_id in refusing]
        taken = [record for record, shard_id in zip(records, refusing, strict=True) if not shard_id]
        if not taken:
            whole: dict[str, Any] = {}
            put_in_places(whole, "Records", "FailedRecordCount", refused)
            return own_answer(str(uuid.uuid4()), _CONTENT_TYPE, whole)
        reply = await forward(rewritten(request, {**document, "Records": taken}), target)
        if answer := await answer_of(reply):
            put_in_places(answer, "Records", "FailedRecordCount", refused)
            with_answer(reply, answer)
            reply.cause = LIMIT
        return reply

    async def _get_records(
        self, target: Target, request: Inbound, forward: Forward, document: Mapping[str, Any]
    ) -> Reply:
        known = self._iterators.get(str(document.get("ShardIterator")))
        if known is None:  # from before this process, or forgotten
            return await forward(request, target)
        stream, shard_id, given_at = known
        if self._clock() - given_at > self._profile.iterator_seconds:
            return error_reply(_EXPIRED, target, request)
        shard = self._shard(stream, shard_id)
        if not shard.read(self._clock()):
            return _refused(target, request, stream, shard_id)
        reply = await forward(request, target)
        if answer := await answer_of(reply):
            self._remember(answer.get("NextShardIterator"), stream, shard_id)
            shard.has_read(sum(map(_size, answer.get("Records", ()))), self._clock())
        return reply

    def _refusing(self, stream: str, shards: ShardMap, record: Mapping[str, Any]) -> str | None:
        """Id of the shard that refuses ``record``; None where it is taken, or so wrong that no shard is meant."""
        try:
            shard_id = shards.shard_of(hash_key(record["PartitionKey"], record.get("ExplicitHashKey")))
            size = _size(record)
        except (KeyError, ValueError, TypeError, AttributeError):
            return None  # the emulator says so better
        return None if self._shard(stream, shard_id).write(size, self._clock()) else shard_id

    def _shard(self, stream: str, shard_id: str) -> Shard:
        shards = self._shards[stream]
        if shard_id not in shards:
            shards[shard_id] = Shard(self._profile)
        return shards[shard_id]

    def _remember(self, iterator: str | None, stream: str, shard_id: str) -> None:
        if iterator:
            self._iterators[iterator] = (stream, shard_id, self._clock())
            self._iterators.move_to_end(iterator)
            if len(self._iterators) > _ITERATORS:
                self._iterators.popitem(last=False)

    async def _open_shards(self, stream: str) -> ShardMap | None:
        shards: list[tuple[str, int]] = []
        params: dict[str, Any] = {"StreamName": stream}
        while True:
            answer = await self._aws.call("kinesis", "ListShards", params, caller=_CALLER)
            shards += [
                (shard["ShardId"], int(shard["HashKeyRange"]["StartingHashKey"]))
                for shard in answer.get("Shards", ())
                if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
            ]
            if not answer.get("NextToken"):
                return ShardMap(shards) if shards else None
            params = {"NextToken": answer["NextToken"]}


def _size(record: Mapping[str, Any]) -> int:
    """Bytes of a record as the API has it: its data, in Base64 there, and its partition key."""
    data: str = record["Data"]
    return len(data) * 3 // 4 - data[-2:].count("=") + len(str(record["PartitionKey"]).encode())


def _message(stream: str, shard_id: str) -> str:
    return f"Rate exceeded for shard {shard_id} in stream {stream} under account {_ACCOUNT}."


def _refused_entry(stream: str, shard_id: str) -> dict[str, str]:
    return {"ErrorCode": _CODE, "ErrorMessage": _message(stream, shard_id)}


def _refused(target: Target, request: Inbound, stream: str, shard_id: str) -> Reply:
    return error_reply(AwsError(_CODE, 400, _message(stream, shard_id)), target, request, cause=LIMIT)
