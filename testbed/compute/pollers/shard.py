"""The reader of one shard: batches in order, each until it is processed or discarded."""

from datetime import UTC, datetime
from typing import Any, Final

from testbed.compute.aws import AwsCallError
from testbed.compute.pollers.base import Invoked, MappingPoller
from testbed.compute.pollers.batch import BatchBuffer, Record
from testbed.compute.pollers.destination import deliver
from testbed.compute.pollers.kinesis_event import kinesis_record
from testbed.semantics.on_failure import KinesisBatchInfo, LastResponse, on_failure_record
from testbed.semantics.partial_batch import Failed, WholeBatchFailed, interpret, lowest_failed
from testbed.semantics.sqs_mapping import Batching
from testbed.semantics.stream_batch import Attempt, Discard, StreamBatch

_MOST_PER_CALL: Final = 10_000  # records of one GetRecords: Kinesis quotas
_OVERLOADED: Final = frozenset({"ProvisionedThroughputExceededException", "LimitExceededException"})


class ShardReader:
    """Reads one shard from a starting position to its end.

    Reads again at once while they come back full, else at the profile's pace. Lambda's own poller reads larger pages
    than a batch and cuts batches from them; the function sees the same batches, back to back and in order.

    Attributes:
        finished: Whether the shard is closed and every record of it is processed or discarded.
        held: Whether the batch in hand waits for its next try.
        at_tip: Whether the latest read found nothing left, and no record is in hand.
        caught_up_at: Every record that was put before this time is processed or discarded; None if unknown.
        read: Records read so far.
    """

    def __init__(self, poller: MappingPoller, shard_id: str, start: dict[str, Any], role: str) -> None:
        """Prepare to read from ``start``, the members of GetShardIterator; ``role`` is the function's."""
        self.finished = False
        self.held = False
        self.at_tip = False
        self.caught_up_at: float | None = None
        self.read = 0
        self._done: str | None = None
        self._poller = poller
        self._clock = poller.env.clock
        self._numbers = poller.env.profile.stream
        self._shard_id = shard_id
        self._start = start
        self._role = role
        self._iterator: str | None = None
        self._closed = False
        self._read_failures = 0  # in a row
        self._next_read_at = 0.0
        self._buffer = BatchBuffer(self._batching)
        self._records: list[Record] = []
        self._batch: StreamBatch | None = None
        self._discarding: Discard | None = None
        self._last: LastResponse | None = None

    @property
    def has_batch(self) -> bool:
        """Whether a batch is neither finished nor given up."""
        return self._batch is not None

    @property
    def behind(self) -> int:
        """Records that were read and are neither processed nor discarded."""
        return len(self._buffer) + len(self._records) - self._done_in_hand

    @property
    def checkpoint(self) -> str | None:
        """Sequence number of the last record that is processed or discarded; None if there is none."""
        done = self._done_in_hand
        return self._records[done - 1].id if done else self._done

    @property
    def _done_in_hand(self) -> int:
        """Records of the batch in hand that are done; one that is given up is not until its destination knows."""
        if self._discarding is not None:
            return self._discarding.start
        return self._batch.checkpoint if self._batch else 0

    async def run(self) -> None:
        """Read until the shard is finished or the mapping closed; pause while it is disabled, between two steps."""
        while not self.finished and await self._poller.is_open():
            if self._batch is None:
                await self._collect(self._clock())
            else:
                await self._work(self._batch)

    def _batching(self) -> Batching:
        mapping = self._poller.mapping
        return Batching(mapping.batch_size, mapping.window, self._numbers.batch_bytes)

    async def _collect(self, now: float) -> None:
        """One step on the way to a batch: close it, wait for the time of the next read, or read."""
        if len(self._buffer) and (self._closed or self._buffer.seconds_left(now) == 0):
            self._records = self._buffer.take(now)
            self._batch = StreamBatch(self._poller.mapping.rules, [record.at for record in self._records])
            self._last = None
        elif self._closed:
            self.finished = True
        elif now < self._next_read_at:
            wait = self._next_read_at - now
            if len(self._buffer):
                wait = min(wait, self._buffer.seconds_left(now))
            await self._poller.sleep(wait, self._poller.closing)
        else:
            await self._read(now)

    async def _read(self, now: float) -> None:
        limit = min(self._buffer.room, _MOST_PER_CALL)
        try:
            iterator = self._iterator or await self._open_iterator()
            answer = await self._poller.call("kinesis", "GetRecords", {"ShardIterator": iterator, "Limit": limit})
        except AwsCallError as error:
            self._read_refused(error)
            return
        self._read_failures = 0
        self._iterator = answer.get("NextShardIterator")
        self._closed = self._iterator is None
        self._take_in(answer["Records"])
        full = len(answer["Records"]) >= limit
        self._next_read_at = now if full else now + self._numbers.poll_interval
        self.at_tip = len(self._buffer) == 0 and not answer.get("MillisBehindLatest")
        if self.at_tip:
            self.caught_up_at = now

    async def _open_iterator(self) -> str:
        params = {"StreamName": self._poller.mapping.source, "ShardId": self._shard_id, **self._start}
        opened_at = datetime.fromtimestamp(self._clock(), UTC)
        iterator: str = (await self._poller.call("kinesis", "GetShardIterator", params))["ShardIterator"]
        if self._start["ShardIteratorType"] == "LATEST":  # a second LATEST would skip what came in between
            self._start = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": opened_at}
        return iterator

    def _read_refused(self, error: AwsCallError) -> None:
        """Wait, and unless the shard was only overloaded, go on with a new iterator: the old one may have expired."""
        if error.code not in _OVERLOADED:
            self._iterator = None
        self._read_failures += 1
        self._poller.report_failure("GetRecords", error, self._read_failures)
        self._next_read_at = self._clock() + self._numbers.api_retry.delay(self._read_failures)

    def _take_in(self, records: list[dict[str, Any]]) -> None:
        mapping = self._poller.mapping
        taken = [kinesis_record(record, mapping, self._shard_id, self._role) for record in records]
        self._buffer.add(taken, self._clock())
        self.read += len(taken)
        if taken:
            self._start = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": taken[-1].id,
            }

    async def _work(self, batch: StreamBatch) -> None:
        """One step with the batch in hand."""
        batch.rules = self._poller.mapping.rules
        step = batch.next(self._clock())
        if step is None:
            self._done = self._records[-1].id
            self._batch, self._records = None, []
        elif isinstance(step, Discard):
            self._discarding = step
            if await self._discard(step):
                self._discarding = None
        else:
            await self._attempt(batch, step)

    async def _attempt(self, batch: StreamBatch, attempt: Attempt) -> None:
        records = self._records[attempt.start : attempt.stop]
        invoked = await self._poller.invoke(records)
        if invoked.refused:
            batch.throttled()
            self._record("throttled", records=len(records), reason=invoked.error, ms=invoked.ms)
            await self._hold(self._numbers.throttle_retry.delay(batch.throttles, invoked.spread))
            return
        result = invoked.result
        self._last = LastResponse(
            request_id=result.request_id,
            status=result.status,
            executed_version=result.executed_version,
            function_error=result.function_error,
        )
        first_failed = self._first_failed(records, invoked)
        failed = 0 if first_failed is None else len(records) - first_failed
        self._record("batch", records=len(records), failed=failed, ms=invoked.ms, reason=invoked.error)
        if first_failed is None:
            batch.succeeded()
        else:
            await self._failed(batch, attempt.start + first_failed, invoked)

    def _first_failed(self, records: list[Record], invoked: Invoked) -> int | None:
        """Index of the first record that did not succeed; None if all did, 0 too where the function does not say."""
        if invoked.error is not None:
            return 0
        if not self._poller.mapping.partial_responses:
            return None
        sequence_numbers = [record.id for record in records]
        outcome = interpret(invoked.result.payload, sequence_numbers)
        if isinstance(outcome, WholeBatchFailed):
            self._record("malformed response", records=len(records), reason=outcome.reason)
            return 0
        return lowest_failed(outcome, sequence_numbers) if isinstance(outcome, Failed) else None

    async def _failed(self, batch: StreamBatch, first_failed: int, invoked: Invoked) -> None:
        consequence = batch.failed(first_failed)
        if consequence == "split":
            self._record("bisect", records=len(self._records) - batch.checkpoint)
        elif consequence == "retry":
            await self._hold(self._numbers.error_retry.delay(batch.failures, invoked.spread))

    async def _hold(self, seconds: float) -> None:
        self.held = True
        await self._poller.sleep(seconds, self._poller.closing)
        self.held = False

    async def _discard(self, discard: Discard) -> bool:
        """Give records up; where there is an on-failure destination, tell it which. False if closed before that."""
        records = self._records[discard.start : discard.stop]
        self._record("discarded", records=len(records), reason=discard.condition, invokes=discard.invokes)
        mapping = self._poller.mapping
        if mapping.on_failure is None:
            return True
        document = on_failure_record(
            function_arn=mapping.function_arn,
            condition=discard.condition,
            invokes=discard.invokes,
            last=self._last if discard.invokes else None,
            batch=KinesisBatchInfo(
                stream_arn=mapping.source_arn,
                shard_id=self._shard_id,
                start_sequence_number=records[0].id,
                end_sequence_number=records[-1].id,
                first_arrival=records[0].at,
                last_arrival=records[-1].at,
                batch_size=len(records),
            ),
            now=self._clock(),
        )
        delivered = await deliver(self._poller, document)
        if not delivered:
            self._record("destination failed", records=len(records), destination=mapping.on_failure)
        return delivered or not self._poller.closing.is_set()

    def _record(self, event: str, **fields: object) -> None:
        self._poller.record(event, shard=self._shard_id, **fields)
