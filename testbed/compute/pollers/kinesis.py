"""Kinesis streams as sources of mappings."""

from typing import Any, ClassVar

from testbed.compute.pollers.kinesis_event import filter_view, kinesis_record
from testbed.compute.pollers.stream_source import Page, Position, Shards, StreamSource
from testbed.semantics.filter_criteria import matches
from testbed.semantics.on_failure import KINESIS_BATCH_INFO, StreamBatchInfo


class KinesisSource(StreamSource):
    """A Kinesis stream."""

    most_per_call: ClassVar[int] = 10_000  # Kinesis quotas, GetRecords
    _batch_info: ClassVar[StreamBatchInfo] = KINESIS_BATCH_INFO
    _role = ""

    @property
    def poll_interval(self) -> float:
        """Once per second."""
        return self.poller.env.profile.stream.poll_interval

    async def list_shards(self) -> Shards | None:
        """Every shard by ListShards, page by page."""
        if not self._role and not await self._prepare():
            return None
        shards: Shards = {}
        params = {"StreamName": self.poller.mapping.source}
        while True:
            answer = await self.call("kinesis", "ListShards", params)
            if answer is None:
                return None
            for shard in answer["Shards"]:
                parents = {shard.get("ParentShardId"), shard.get("AdjacentParentShardId")}
                shards[shard["ShardId"]] = {parent for parent in parents if parent}
            if not answer.get("NextToken"):
                return shards
            params = {"NextToken": answer["NextToken"]}

    async def _prepare(self) -> bool:
        """Look up the function's role, which events name, and the stream's retention; False if closed meanwhile."""
        mapping = self.poller.mapping
        function = await self.call("lambda", "GetFunctionConfiguration", {"FunctionName": mapping.function_arn})
        stream = await self.call("kinesis", "DescribeStreamSummary", {"StreamName": mapping.source})
        if function is None or stream is None:
            return False
        self._role = function["Role"]
        self.retention = stream["StreamDescriptionSummary"]["RetentionPeriodHours"] * 3600.0
        return True

    async def open(self, shard_id: str, position: Position) -> str:
        """GetShardIterator."""
        params: dict[str, Any] = {
            "StreamName": self.poller.mapping.source,
            "ShardId": shard_id,
            "ShardIteratorType": position.type,
        }
        if position.sequence_number is not None:
            params["StartingSequenceNumber"] = position.sequence_number
        if position.timestamp is not None:
            params["Timestamp"] = position.timestamp
        iterator: str = (await self.poller.call("kinesis", "GetShardIterator", params))["ShardIterator"]
        return iterator

    async def read(self, shard_id: str, iterator: str) -> Page:
        """GetRecords."""
        params = {
            "ShardIterator": iterator,
            "StreamARN": self.poller.mapping.source_arn,  # the iterator says nothing: faults would not know the stream
            "Limit": self.most_per_call,
        }
        answer = await self.poller.call("kinesis", "GetRecords", params)
        mapping, raw = self.poller.mapping, answer["Records"]
        return Page(
            records=[kinesis_record(record, mapping, shard_id, self._role) for record in raw],
            skipped=frozenset(
                record["SequenceNumber"]
                for record in (raw if mapping.filters else ())
                if not matches(mapping.filters or (), filter_view(record, mapping, shard_id, self._role))
            ),
            bytes=sum(len(record["Data"]) + len(record["PartitionKey"]) for record in raw),
            iterator=answer.get("NextShardIterator"),
            more=len(raw) >= self.most_per_call or bool(answer.get("MillisBehindLatest")),
        )
