"""One loop of the poller of SQS mappings: receives, invokes and deletes."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from testbed.compute.aws import AwsCallError
from testbed.compute.pollers.base import Invoked
from testbed.compute.pollers.batch import BatchBuffer, Record, envelope_bytes
from testbed.compute.pollers.sqs_event import is_wanted, sqs_record
from testbed.semantics.partial_batch import Failed, WholeBatchFailed, interpret
from testbed.semantics.sqs_mapping import Batching, ThrottleHold

if TYPE_CHECKING:
    from testbed.compute.pollers.sqs import SqsPoller

_MOST_PER_CALL: Final = 10  # messages of one ReceiveMessage or DeleteMessageBatch: Amazon SQS quotas
_EMPTY_AFTER: Final = 1.0  # a receive that waits this many seconds has found the queue empty
_SHORT_POLL_PAUSE: Final = 0.2  # seconds after an empty receive that could not wait in SQS


class PollLoop:
    """Receives a batch, invokes the function with it, deletes what was processed; again and again.

    Attributes:
        held: Whether the batch in hand waits for its next try.
    """

    def __init__(self, poller: "SqsPoller") -> None:
        self.held = False
        self._poller = poller
        self._clock = poller.env.clock
        self._numbers = poller.env.profile.sqs
        self._buffer = BatchBuffer(self._batching)
        self._processing = False
        self._receive_task: asyncio.Task[dict[str, Any]] | None = None
        self._receiving_since: float | None = None
        self._found_empty = True  # until a message proves the contrary
        self._receive_failures = 0  # in a row

    @property
    def busy(self) -> bool:
        """Whether messages are in hand."""
        return self._processing or len(self._buffer) > 0

    def finds_nothing(self, now: float) -> bool:
        """Whether the queue looks empty from here."""
        if self._receiving_since is None:
            return False
        return self._found_empty or now - self._receiving_since > _EMPTY_AFTER

    def cut_receive(self) -> None:
        """Cut a long poll short."""
        if self._receive_task is not None:
            self._receive_task.cancel()

    async def run(self) -> None:
        """Work until the poller has one loop too many."""
        while len(self._buffer) or not self._poller.dismisses(self):
            await self._collect()
            if not len(self._buffer):
                continue
            self._processing = True
            closed_at = self._clock()
            goes_on = await self._process(self._buffer.take(closed_at))
            await self._carry(closed_at, goes_on=goes_on)
            self._processing = False

    def _batching(self) -> Batching:
        mapping = self._poller.mapping
        return Batching(mapping.batch_size, mapping.window, self._numbers.batch_bytes, bytes=envelope_bytes())

    async def _collect(self) -> None:
        """Receive until the batch is closed, or once where the queue is empty.

        A mapping that is disabled or gone meanwhile reads nothing more: what is in hand goes at once.
        """
        self._receiving_since = self._clock()
        while self._poller.reads:
            open_for = self._buffer.seconds_left(self._clock()) if len(self._buffer) else None
            if open_for == 0:
                break
            wait = int(self._numbers.long_poll if open_for is None else min(open_for, self._numbers.long_poll))
            messages = await self._receive(wait)
            now = self._clock()
            self._found_empty = not messages
            if messages and self._poller.mapping.filters:
                messages = await self._filtered(messages, now)
            self._buffer.add((sqs_record(message, self._poller.mapping, now) for message in messages), now)
            if not messages and wait == 0:
                pause = _SHORT_POLL_PAUSE if open_for is None else min(open_for, _SHORT_POLL_PAUSE)
                await self._poller.sleep(pause, self._poller.stopped)
            if not len(self._buffer):
                break
        self._receiving_since = None

    async def _filtered(self, messages: list[dict[str, Any]], now: float) -> list[dict[str, Any]]:
        """Delete those that no filter lets through, and give the others."""
        poller = self._poller
        wanted = [is_wanted(message, poller.mapping) for message in messages]
        others = [message for message, want in zip(messages, wanted, strict=True) if not want]
        if others:
            poller.record("filtered", records=len(others))
            records = [sqs_record(message, poller.mapping, now) for message in others]
            await self._delete(records, now + poller.visibility_timeout)
        return [message for message, want in zip(messages, wanted, strict=True) if want]

    async def _receive(self, wait: int) -> list[dict[str, Any]]:
        """One ReceiveMessage; nothing where it was refused or cut short."""
        poller = self._poller
        while poller.pace is not None and (pause := poller.pace.poll(self._clock())):
            if await poller.sleep(pause, poller.stopped):
                return []
            self._receiving_since = self._clock()  # so far it has found nothing out about the queue
        params: dict[str, Any] = {
            "QueueUrl": poller.queue_url,
            "MaxNumberOfMessages": min(_MOST_PER_CALL, self._buffer.room),
            "WaitTimeSeconds": wait,
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        if poller.own_visibility:
            params["VisibilityTimeout"] = int(poller.visibility_timeout)
        try:
            answer = await self._cuttable(params)
        except AwsCallError as error:
            self._receive_failures += 1
            poller.report_failure("ReceiveMessage", error, self._receive_failures)
            await poller.sleep(self._numbers.api_retry.delay(self._receive_failures), poller.closing)
            return []
        self._receive_failures = 0
        messages: list[dict[str, Any]] = answer.get("Messages") or []
        if poller.pace is not None:
            poller.pace.read(sum(len(message["Body"]) for message in messages))
        return messages

    async def _cuttable(self, params: dict[str, Any]) -> dict[str, Any]:
        """ReceiveMessage in a task of its own: what `cut_receive` cancels is the call, not the loop."""
        task = asyncio.create_task(self._poller.call("sqs", "ReceiveMessage", params))
        self._receive_task = task
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            self._receive_task = None
        return {} if task.cancelled() else task.result()

    async def _process(self, records: list[Record]) -> bool:
        """Invoke with a batch, and delete what the function says it has processed; the rest becomes visible again.

        Whether what was received behind it may be processed. A batch that is throttled until its visibility timeout
        takes that along. In a FIFO queue so does whatever will come again: it is tried again before later messages of
        its group (AWS Lambda developer guide, "Configuring scaling behavior for SQS event source mappings").
        """
        visible_again = min(record.at for record in records) + self._poller.visibility_timeout
        invoked = await self._invoke_or_hold(records, visible_again)
        if invoked is None:
            return False
        processed = self._processed(records, invoked)
        self._poller.record(
            "batch",
            records=len(records),
            failed=len(records) - len(processed),
            ms=invoked.ms,
            reason=invoked.error,
        )
        deleted = await self._delete(processed, visible_again)
        return not self._is_fifo or (deleted and len(processed) == len(records))

    @property
    def _is_fifo(self) -> bool:
        return self._poller.mapping.source.endswith(".fifo")

    async def _carry(self, closed_at: float, *, goes_on: bool) -> None:
        """Keep what did not fit into the batch that was closed, as if it were received now; or let it go.

        It has waited for that batch, so its visibility timeout may be over before the function is done with it. Of a
        FIFO queue all is kept or nothing, for the order.
        """
        carried = self._buffer.drain()
        kept = await self._renewed(carried) if goes_on and not self._poller.stopped.is_set() else []
        if self._is_fifo and len(kept) < len(carried):
            kept = []
        if len(kept) < len(carried):
            self._poller.record("released", records=len(carried) - len(kept))
        self._buffer.add(kept, closed_at)

    async def _renewed(self, records: list[Record]) -> list[Record]:
        """Start the visibility timeouts again; those of the records for which that was done in time."""
        oldest = self._clock() - self._poller.visibility_timeout
        records = [record for record in records if record.at > oldest]
        return [
            renewed
            for start in range(0, len(records), _MOST_PER_CALL)
            for renewed in await self._renew_some(records[start : start + _MOST_PER_CALL])
        ]

    async def _renew_some(self, records: Sequence[Record]) -> list[Record]:
        """One ChangeMessageVisibilityBatch; those for which it was not refused.

        The timeout counts from the change (Amazon SQS developer guide, "Amazon SQS visibility timeout").
        """
        now, timeout = self._clock(), int(self._poller.visibility_timeout)
        entries = [
            {"Id": str(i), "ReceiptHandle": record.handle, "VisibilityTimeout": timeout}
            for i, record in enumerate(records)
        ]
        params = {"QueueUrl": self._poller.queue_url, "Entries": entries}
        try:
            answer = await self._poller.call("sqs", "ChangeMessageVisibilityBatch", params)
        except AwsCallError as error:
            self._poller.report_failure("ChangeMessageVisibilityBatch", error, 1)
            return []
        refused = {int(failure["Id"]) for failure in answer.get("Failed") or []}
        return [replace(record, at=now) for i, record in enumerate(records) if i not in refused]

    async def _invoke_or_hold(self, records: list[Record], visible_again: float) -> Invoked | None:
        """Invoke; hold the batch while it is throttled. None where it was let go."""
        poller = self._poller
        hold = ThrottleHold(self._numbers, visible_again)
        while True:
            invoked = await poller.invoke(records)
            if not invoked.refused:
                return invoked
            poller.record("throttled", records=len(records), reason=invoked.error, ms=invoked.ms)
            poller.scaling.back_off()
            wait = hold.throttled(self._clock(), invoked.spread)
            if wait is None or await self._hold(wait):
                poller.record("released", records=len(records))
                return None

    async def _hold(self, seconds: float) -> bool:
        """Wait with a batch in hand; whether the poller was stopped meanwhile."""
        self.held = True
        stopped = await self._poller.sleep(seconds, self._poller.stopped)
        self.held = False
        return stopped

    def _processed(self, records: list[Record], invoked: Invoked) -> list[Record]:
        """The records that count as processed. Without partial responses, what the function returns is ignored."""
        poller = self._poller
        if invoked.error is not None:
            if not poller.mapping.partial_responses:
                poller.scaling.back_off()
            return []
        if not poller.mapping.partial_responses:
            return records
        outcome = interpret(invoked.result.payload, [record.id for record in records])
        if isinstance(outcome, WholeBatchFailed):
            poller.record("malformed response", records=len(records), reason=outcome.reason)
            return []
        if isinstance(outcome, Failed):
            return [record for record in records if record.id not in outcome.ids]
        return records

    async def _delete(self, records: list[Record], visible_again: float) -> bool:
        """Delete, again and again while it is refused; after the visibility timeout the handles are worth nothing.

        Whether it came to an end before that.
        """
        failures = 0
        while records:
            records = [
                left
                for start in range(0, len(records), _MOST_PER_CALL)
                for left in await self._delete_some(records[start : start + _MOST_PER_CALL], failures + 1)
            ]
            failures += 1
            wait = self._numbers.api_retry.delay(failures)
            if records and self._clock() + wait >= visible_again:
                self._poller.record("not deleted", records=len(records), reason="visibility timeout passed")
                return False
            if records:
                await asyncio.sleep(wait)
        return True

    async def _delete_some(self, records: Sequence[Record], attempt: int) -> list[Record]:
        """One DeleteMessageBatch; the records to try again."""
        entries = [{"Id": str(i), "ReceiptHandle": record.handle} for i, record in enumerate(records)]
        params = {"QueueUrl": self._poller.queue_url, "Entries": entries}
        try:
            answer = await self._poller.call("sqs", "DeleteMessageBatch", params)
        except AwsCallError as error:
            self._poller.report_failure("DeleteMessageBatch", error, attempt)
            return list(records)
        again = []
        for failure in answer.get("Failed") or []:
            if failure.get("SenderFault"):
                self._poller.record("not deleted", records=1, reason=failure.get("Code"))
            else:
                again.append(records[int(failure["Id"])])
        return again
