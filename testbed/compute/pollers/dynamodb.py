"""DynamoDB streams as sources of mappings."""

from typing import Any, ClassVar, Final

from testbed.compute.pollers.dynamodb_event import dynamodb_record, filter_view
from testbed.compute.pollers.stream_source import Page, Position, Shards, StreamSource
from testbed.semantics.filter_criteria import matches
from testbed.semantics.on_failure import DYNAMODB_BATCH_INFO, StreamBatchInfo

_SERVICE: Final = "dynamodbstreams"


class DynamoDbSource(StreamSource):
    """The stream of a table. It keeps records for 24 hours (Amazon DynamoDB developer guide, DynamoDB Streams)."""

    most_per_call: ClassVar[int] = 1000  # DynamoDB Streams API reference, GetRecords
    _batch_info: ClassVar[StreamBatchInfo] = DYNAMODB_BATCH_INFO

    @property
    def poll_interval(self) -> float:
        """Four times per second."""
        return self.poller.env.profile.stream.dynamodb_poll_interval

    async def list_shards(self) -> Shards | None:
        """Every shard by DescribeStream, page by page."""
        shards: Shards = {}
        params = {"StreamArn": self.poller.mapping.source_arn}
        while True:
            answer = await self.call(_SERVICE, "DescribeStream", params)
            if answer is None:
                return None
            stream = answer["StreamDescription"]
            for shard in stream.get("Shards", ()):
                parent = shard.get("ParentShardId")
                shards[shard["ShardId"]] = {parent} if parent else set()
            if not stream.get("LastEvaluatedShardId"):
                return shards
            params["ExclusiveStartShardId"] = stream["LastEvaluatedShardId"]

    async def open(self, shard_id: str, position: Position) -> str:
        """GetShardIterator. It knows no timestamps: the reader leaves out what it gets too early."""
        params: dict[str, Any] = {
            "StreamArn": self.poller.mapping.source_arn,
            "ShardId": shard_id,
            "ShardIteratorType": "TRIM_HORIZON" if position.type == "AT_TIMESTAMP" else position.type,
        }
        if position.sequence_number is not None:
            params["SequenceNumber"] = position.sequence_number
        iterator: str = (await self.poller.call(_SERVICE, "GetShardIterator", params))["ShardIterator"]
        return iterator

    async def read(self, shard_id: str, iterator: str) -> Page:  # noqa: ARG002 - Kinesis's events name the shard
        """GetRecords."""
        params = {"ShardIterator": iterator, "Limit": self.most_per_call}
        answer = await self.poller.call(_SERVICE, "GetRecords", params)
        mapping, raw = self.poller.mapping, answer.get("Records") or []
        return Page(
            records=[dynamodb_record(record, mapping) for record in raw],
            skipped=frozenset(
                record["dynamodb"]["SequenceNumber"]
                for record in (raw if mapping.filters else ())
                if not matches(mapping.filters or (), filter_view(record, mapping))
            ),
            bytes=sum(record["dynamodb"].get("SizeBytes", 0) for record in raw),
            iterator=answer.get("NextShardIterator"),
            more=len(raw) >= self.most_per_call,
        )
