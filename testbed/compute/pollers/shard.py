"""The reader of one shard: pages in order, dealt out to the lanes that work on them."""

import asyncio
from datetime import UTC, datetime
from typing import Final

from testbed.compute.aws import AwsCallError
from testbed.compute.pollers.base import MappingPoller
from testbed.compute.pollers.lane import Lane
from testbed.compute.pollers.stream_source import Page, Position, StreamSource
from testbed.compute.pollers.window_lane import WindowLane
from testbed.semantics.partition_lanes import ShardProgress, lane_of

_OVERLOADED: Final = frozenset({"ProvisionedThroughputExceededException", "LimitExceededException"})


class ShardReader:
    """Reads one shard from a starting position to its end.

    It reads pages as large as the service gives, as Lambda's own poller does, and the lanes cut batches from them. It
    reads on at the pace that the shard's throughput allows while there is more, else at the source's pace, and pauses
    while it has enough in hand.

    Attributes:
        progress: Which records are done.
        finished: Whether the shard is closed and every record of it is processed or discarded.
        at_tip: Whether the latest read found nothing left, and nothing is in hand.
        caught_up_at: Every record that was put before this time is processed or discarded; None if unknown.
    """

    def __init__(self, poller: MappingPoller, source: StreamSource, shard_id: str, start: Position) -> None:
        """Prepare to read from ``start``."""
        self.progress = ShardProgress()
        self.finished = False
        self.at_tip = False
        self.caught_up_at: float | None = None
        self._poller = poller
        self._source = source
        self._clock = poller.env.clock
        self._shard_id = shard_id
        self._position = start
        self._iterator: str | None = None
        self._closed = False
        self._read_failures = 0  # in a row
        self._next_read_at = 0.0
        self._lanes: list[Lane] = []

    @property
    def in_flight(self) -> int:
        """Batches that are neither finished nor given up."""
        return sum(lane.has_batch for lane in self._lanes)

    @property
    def held(self) -> int:
        """Batches that wait for their next try."""
        return sum(lane.held for lane in self._lanes)

    async def run(self) -> None:
        """Read until the shard is finished or the mapping closed; pause while it is disabled, between two steps.

        When the mapping asks for other lanes, those at work finish what they have first, so that order is kept.
        """
        while not self.finished and await self._poller.is_open():
            plan = self._plan()
            factor, window = plan
            async with asyncio.TaskGroup() as tasks:
                kind = WindowLane if window else Lane
                self._lanes = [kind(self._poller, self._source, self._shard_id, self.progress) for _ in range(factor)]
                for lane in self._lanes:
                    tasks.create_task(lane.run())
                await self._feed(plan)
                for lane in self._lanes:
                    lane.end()
            self.finished = self._closed and self._settled

    def _plan(self) -> tuple[int, float]:
        """How many lanes there are to be, and the seconds of their tumbling window; windows are kept per shard."""
        mapping = self._poller.mapping
        return (1 if mapping.tumbling_window else mapping.parallelization_factor), mapping.tumbling_window

    @property
    def _settled(self) -> bool:
        return not self.progress.behind and all(lane.settled for lane in self._lanes)

    async def _feed(self, plan: tuple[int, float]) -> None:
        """Read for the lanes until the shard ends, the mapping is closed or wants other lanes."""
        numbers = self._poller.env.profile.stream
        while not self._closed and await self._poller.is_open() and self._plan() == plan:
            wait = self._next_read_at - self._clock()
            if wait <= 0 and self.progress.behind >= numbers.read_ahead:
                wait = numbers.read_interval
            if wait > 0:
                await self._poller.sleep(wait, self._poller.closing)
            else:
                await self._read()

    async def _read(self) -> None:
        now = self._clock()
        settled = self._settled
        try:
            iterator = self._iterator or await self._open_iterator()
            page = await self._source.read(self._shard_id, iterator)
        except AwsCallError as error:
            self._read_refused(error)
            return
        self._read_failures = 0
        self._iterator = page.iterator
        self._closed = page.iterator is None
        self._deal(page)
        self._next_read_at = now + self._pace(page)
        self.at_tip = settled and self._settled and not page.more
        if self.at_tip:
            self.caught_up_at = now

    def _pace(self, page: Page) -> float:
        """Seconds until the next read: no faster than the shard gives calls and bytes."""
        profile = self._poller.env.profile
        least = max(profile.stream.read_interval, page.bytes / profile.kinesis.read_bytes)
        return least if page.more else max(least, self._source.poll_interval)

    async def _open_iterator(self) -> str:
        position = self._position
        if position.type == "LATEST":  # a second LATEST would skip what came in between, even where the first was lost
            self._position = Position(type="AT_TIMESTAMP", timestamp=datetime.fromtimestamp(self._clock(), UTC))
        return await self._source.open(self._shard_id, position)

    def _read_refused(self, error: AwsCallError) -> None:
        """Wait, and unless the shard was only overloaded, go on with a new iterator: the old one may have expired."""
        if error.code not in _OVERLOADED:
            self._iterator = None
        self._read_failures += 1
        self._poller.report_failure("GetRecords", error, self._read_failures)
        self._next_read_at = self._clock() + self._poller.env.profile.stream.api_retry.delay(self._read_failures)

    def _deal(self, page: Page) -> None:
        """Give each lane the records of its keys; what is filtered out is done."""
        earliest = 0.0
        if self._position.type == "AT_TIMESTAMP" and self._position.timestamp:
            earliest = float(int(self._position.timestamp.timestamp()))  # some streams tell arrivals in whole seconds
        records = [record for record in page.records if record.at >= earliest]
        self.progress.read(record.id for record in records)
        if page.skipped:
            skipped = [record.id for record in records if record.id in page.skipped]
            self.progress.finish(skipped)
            self._poller.record("filtered", shard=self._shard_id, records=len(skipped))
        wanted = [record for record in records if record.id not in page.skipped]
        for number, lane in enumerate(self._lanes):
            lane.add([record for record in wanted if lane_of(record.key, len(self._lanes)) == number])
        if page.records:
            self._position = Position(type="AFTER_SEQUENCE_NUMBER", sequence_number=page.records[-1].id)
