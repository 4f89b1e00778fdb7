"""The poller of stream mappings: one reader per shard, parents before children."""

import asyncio
from typing import Final

from testbed.compute.pollers.base import MappingPoller, Surroundings
from testbed.compute.pollers.dynamodb import DynamoDbSource
from testbed.compute.pollers.kinesis import KinesisSource
from testbed.compute.pollers.mapping import Mapping
from testbed.compute.pollers.shard import ShardReader
from testbed.compute.pollers.status import MappingStatus
from testbed.compute.pollers.stream_source import Position, StreamSource

_SOURCES: Final[dict[str, type[StreamSource]]] = {"kinesis": KinesisSource, "dynamodb": DynamoDbSource}


class StreamPoller(MappingPoller):
    """One mapping of a stream.

    The shards that exist at the first look are read from ``StartingPosition``; those that come later, by splits and
    merges, from their beginning. A shard is read when its parents are finished, for the order of a partition key.
    """

    def __init__(self, surroundings: Surroundings, mapping: Mapping) -> None:
        """Prepare; nothing runs until `configure`."""
        super().__init__(surroundings, mapping)
        self._source = _SOURCES[mapping.service](self)
        self._starts: dict[str, Position] = {}
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
            in_flight=sum(reader.in_flight for reader in readers),
            held=sum(reader.held for reader in readers),
            behind=sum(reader.progress.behind for reader in readers),
            processed=sum(reader.progress.done for reader in readers),
            checkpoints={shard_id: reader.progress.checkpoint for shard_id, reader in self._readers.items()},
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
        shards = await self._source.list_shards()
        if shards is None:
            return
        first = Position(type=self.mapping.starting_position, timestamp=self.mapping.starting_timestamp)
        start = Position(type="TRIM_HORIZON") if self._starts else first
        for shard_id in shards:
            self._starts.setdefault(shard_id, start)
        for shard_id, parents in shards.items():
            if shard_id not in self._readers and self._may_start(shard_id, parents & shards.keys()):
                self._start(shard_id)
        self._discovered = True

    def _may_start(self, shard_id: str, parents: set[str]) -> bool:
        if self._starts[shard_id].type == "LATEST":
            return True  # what the parents hold is not asked for
        return all(parent in self._readers and self._readers[parent].finished for parent in parents)

    def _start(self, shard_id: str) -> None:
        reader = ShardReader(self, self._source, shard_id, self._starts[shard_id])
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
