"""A lane of a shard: batches in order, each until it is processed or discarded."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from testbed.compute.pollers.base import Invoked, MappingPoller
from testbed.compute.pollers.batch import (
    BatchBuffer,
    Record,
    batch_identity,
    encode_event,
    envelope_bytes,
    fitting,
)
from testbed.compute.pollers.destination import deliver
from testbed.compute.pollers.stream_source import StreamSource
from testbed.semantics.on_failure import LastResponse, on_failure_record
from testbed.semantics.partial_batch import Failed, Outcome, Success, WholeBatchFailed, interpret, lowest_failed
from testbed.semantics.partition_lanes import ShardProgress
from testbed.semantics.sqs_mapping import Batching
from testbed.semantics.stream_batch import Attempt, Discard, StreamBatch


class Lane:
    """Works on the records of some partition keys of a shard, one batch at a time.

    What fails here, is retried or blocks, does so without the other lanes of the shard.

    Attributes:
        held: Whether the batch in hand waits for its next try.
    """

    def __init__(self, poller: MappingPoller, source: StreamSource, shard_id: str, progress: ShardProgress) -> None:
        """Start empty; what is done is told to ``progress``."""
        self.held = False
        self._poller = poller
        self._source = source
        self._shard_id = shard_id
        self._progress = progress
        self._clock = poller.env.clock
        self._numbers = poller.env.profile.stream
        self._buffer = BatchBuffer(self._batching)
        self._records: list[Record] = []
        self._batch: StreamBatch | None = None
        self._done = 0  # records of the batch in hand that `progress` knows of
        self._last: LastResponse | None = None
        self._ending = False
        self._woken = asyncio.Event()

    @property
    def has_batch(self) -> bool:
        """Whether a batch is neither finished nor given up."""
        return self._batch is not None

    @property
    def settled(self) -> bool:
        """Whether nothing is in hand."""
        return self._batch is None and not len(self._buffer)

    def add(self, records: Iterable[Record]) -> None:
        """Records of this lane were read."""
        self._buffer.add(records, self._clock())
        self._woken.set()

    def end(self) -> None:
        """Nothing more comes: what is in hand goes at once, and `run` ends after it."""
        self._ending = True
        self._woken.set()

    async def run(self) -> None:
        """Work until nothing more comes or the mapping is closed; pause while it is disabled, between two steps."""
        while await self._poller.is_open():
            self._woken.clear()
            now = self._clock()
            if self._batch is not None:
                await self._work(self._batch)
            elif self._begin(now):
                continue
            elif self._ending:
                return
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._seconds_left(now)):
                        await self._woken.wait()

    def _begin(self, now: float) -> bool:
        """Start a batch where it is time for one; whether it was."""
        if not len(self._buffer) or not (self._in_a_hurry or self._buffer.seconds_left(now) == 0):
            return False
        self._records = self._buffer.take(now)
        self._start([record.at for record in self._records])
        return True

    def _start(self, arrivals: list[float]) -> None:
        self._batch = StreamBatch(self._poller.mapping.rules, arrivals, self._source.retention)
        self._done, self._last = 0, None

    @property
    def _in_a_hurry(self) -> bool:
        """Whether there is nothing to wait for to make the batch larger."""
        return self._ending

    def _seconds_left(self, now: float) -> float | None:
        """Seconds until there may be something to do though no record comes; None for never."""
        return self._buffer.seconds_left(now) if len(self._buffer) else None

    def _batching(self) -> Batching:
        mapping = self._poller.mapping
        envelope = envelope_bytes(self._members())
        return Batching(mapping.batch_size, mapping.window, self._numbers.batch_bytes, bytes=envelope)

    async def _work(self, batch: StreamBatch) -> None:
        """One step with the batch in hand."""
        batch.rules = self._poller.mapping.rules
        step = batch.next(self._clock())
        if step is None:
            self._finish()
        elif isinstance(step, Discard):
            if await self._discard(step):
                self._done_up_to(step.stop)
        else:
            await self._attempt(batch, batch.narrowed(step, self._fitting(step)))

    def _fitting(self, attempt: Attempt) -> int:
        """How many records an event takes now, which may be fewer than when the batch was closed."""
        records = self._records[attempt.start : attempt.stop]
        return fitting(records, self._numbers.batch_bytes, self._members())

    def _finish(self) -> None:
        self._batch, self._records = None, []

    def _done_up_to(self, index: int) -> None:
        self._progress.finish(record.id for record in self._records[self._done : index])
        self._done = index

    async def _attempt(self, batch: StreamBatch, attempt: Attempt) -> None:
        records = self._records[attempt.start : attempt.stop]
        age = {"iterator_age_ms": (self._clock() - records[-1].at) * 1000} if records else {}
        invoked = await self._poller.invoke(records, self._members(), self._identity(records))
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
        self._record("batch", records=len(records), failed=failed, ms=invoked.ms, reason=invoked.error, **age)
        if first_failed is None:
            batch.succeeded()
            self._done_up_to(batch.checkpoint)
        else:
            await self._failed(batch, attempt.start + first_failed, invoked)

    def _members(self) -> dict[str, Any]:
        """What the event has besides its records."""
        return {}

    def _identity(self, records: list[Record]) -> str:
        return batch_identity(records)

    def _first_failed(self, records: list[Record], invoked: Invoked) -> int | None:
        """Index of the first record that did not succeed; None if all did, 0 too where the function does not say."""
        if invoked.error is not None:
            return 0
        outcome = self._outcome(records, invoked.result.payload)
        if isinstance(outcome, WholeBatchFailed):
            self._record("malformed response", records=len(records), reason=outcome.reason)
            return 0
        return lowest_failed(outcome, [record.id for record in records]) if isinstance(outcome, Failed) else None

    def _outcome(self, records: list[Record], payload: bytes) -> Outcome:
        """What an answer without a function error means."""
        if not self._poller.mapping.partial_responses:
            return Success()
        return interpret(payload, [record.id for record in records])

    async def _failed(self, batch: StreamBatch, first_failed: int, invoked: Invoked) -> None:
        consequence = batch.failed(first_failed)
        self._done_up_to(first_failed)
        if consequence == "split":
            self._record("bisect", records=len(self._records) - first_failed)
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
        if mapping.on_failure is None or not records:
            return True
        document = on_failure_record(
            function_arn=mapping.function_arn,
            condition=discard.condition,
            invokes=discard.invokes,
            last=self._last if discard.invokes else None,
            batch=self._source.batch_info(self._shard_id, records),
            now=self._clock(),
        )
        event = encode_event(records, self._members())
        delivered = await deliver(self._poller, document, shard_id=self._shard_id, records=records, event=event)
        happened = "destination delivered" if delivered else "destination failed"
        self._record(happened, records=len(records), destination=mapping.on_failure)
        return delivered or not self._poller.closing.is_set()

    def _record(self, event: str, **fields: object) -> None:
        self._poller.record(event, shard=self._shard_id, **fields)
