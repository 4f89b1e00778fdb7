"""The poller of Kinesis mappings: one reader per shard, parents before children."""

import asyncio
from typing import Any

from testbed.compute.pollers.base import MappingPoller, Surroundings
from testbed.compute.pollers.mapping import Mapping
from testbed.compute.pollers.shard import ShardReader
from testbed.compute.pollers.status import MappingStatus


class KinesisPoller(MappingPoller):
    """One mapping of a stream.

    The shards that exist at the first look are read from ``StartingPosition``; those that come later, by splits and
    merges, from their beginning. A shard is read when its parents are finished, for the order of a partition key.
    """

    def __init__(self, surroundings: Surroundings, mapping: Mapping) -> None:
        """Prepare; nothing runs until `configure`."""
        super().__init__(surroundings, mapping)
        self._role = ""
        self._starts: dict[str, dict[str, Any]] = {}
        self._readers: dict[str, ShardReader] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._discovered = False

    def status(self) -> MappingStatus:
        """How far the mapping is."""
        readers = self._readers.values()
        unfinished = [reader for reader in readers if not reader.finished]
        caught_up = [reader.caught_up_at for reader in unfinished if reader.caught_up_at is not None]
        complete = self._discovered and 0 < len(caught_up) == len(unfinished)
        return MappingStatus(
            uuid=self.mapping.uuid,
            source=self.mapping.source_arn,
            function=self.mapping.function,
            in_flight=sum(reader.has_batch for reader in readers),
            held=sum(reader.held for reader in readers),
            behind=sum(reader.behind for reader in readers),
            processed=sum(reader.read - reader.behind for reader in readers),
            checkpoints={shard_id: reader.checkpoint for shard_id, reader in self._readers.items()},
            idle=self._discovered and all(reader.at_tip for reader in unfinished),
            caught_up_at=min(caught_up) if complete else None,
        )

    async def _run(self) -> None:
        try:
            while await self.is_open():
                await self._discover()
                await self.sleep(self.env.profile.stream.discovery_interval, self.closing)
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _discover(self) -> None:
        """Look for shards that are not read yet, and start to read those whose parents are finished."""
        retry = self.env.profile.stream.api_retry
        if not self._role:
            params = {"FunctionName": self.mapping.function_arn}
            function = await self.call_patiently("lambda", "GetFunctionConfiguration", params, retry)
            self._role = function["Role"] if function else ""
        shards = await self._list_shards()
        if shards is None:
            return
        later = {"ShardIteratorType": "TRIM_HORIZON"}
        start = later if self._starts else self._starting_position()
        for shard_id in shards:
            self._starts.setdefault(shard_id, start)
        for shard_id, parents in shards.items():
            if shard_id not in self._readers and self._may_start(shard_id, parents & shards.keys()):
                self._start(shard_id)
        self._discovered = True

    async def _list_shards(self) -> dict[str, set[str]] | None:
        """Every shard with its parents; None when the mapping is closed meanwhile."""
        shards: dict[str, set[str]] = {}
        params = {"StreamName": self.mapping.source}
        while True:
            retry = self.env.profile.stream.api_retry
            answer = await self.call_patiently("kinesis", "ListShards", params, retry)
            if answer is None:
                return None
            for shard in answer["Shards"]:
                parents = {shard.get("ParentShardId"), shard.get("AdjacentParentShardId")}
                shards[shard["ShardId"]] = {parent for parent in parents if parent}
            if not answer.get("NextToken"):
                return shards
            params = {"NextToken": answer["NextToken"]}

    def _starting_position(self) -> dict[str, Any]:
        start: dict[str, Any] = {"ShardIteratorType": self.mapping.starting_position}
        if self.mapping.starting_timestamp is not None:
            start["Timestamp"] = self.mapping.starting_timestamp
        return start

    def _may_start(self, shard_id: str, parents: set[str]) -> bool:
        if self._starts[shard_id]["ShardIteratorType"] == "LATEST":
            return True  # what the parents hold is not asked for
        return all(parent in self._readers and self._readers[parent].finished for parent in parents)

    def _start(self, shard_id: str) -> None:
        reader = ShardReader(self, shard_id, self._starts[shard_id], self._role)
        self._readers[shard_id] = reader
        task = asyncio.create_task(self._read(reader), name=f"{self.mapping.caller} {shard_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self.report_crash)

    async def _read(self, reader: ShardReader) -> None:
        await reader.run()
        if reader.finished:
            self._discovered = False  # its children, if it has any, count from now on
            await self._discover()
