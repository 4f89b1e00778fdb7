"""The retry machine of one batch that was read off a shard.

Sources: AWS Lambda developer guide, "How Lambda processes records from stream and queue-based event sources",
"Configuring error handling controls for Kinesis event sources" and "Configuring partial batch response with Kinesis
Data Streams and Lambda":

- ``MaximumRetryAttempts`` X are X retries after the first attempt, -1 retries for ever; throttles and errors of the
  Lambda service do not count.
- ``MaximumRecordAgeInSeconds``: older records are discarded, -1 never.
- ``BisectBatchOnFunctionError``: a failed batch is split in two and both halves are tried, in order. Splitting does
  not consume retries.
- ``ReportBatchItemFailures``: everything before the lowest returned sequence number is done, the rest is retried;
  together with bisect, the batch is split there.
- Discarded records go to the on-failure destination, and the shard moves on.
- A batch that is retried for ever blocks what comes after it until it succeeds or its records expire in the stream.

AWS does not publish these corners, which are decided so that one poison record costs as few others as possible:
where bisect and ``ReportBatchItemFailures`` meet and the *first* record failed, there is nothing to split off, so the
batch is halved (otherwise the records behind a poison record would be discarded with it). Retries used by a batch
are inherited by its parts. A single record that is all that is left is retried, not split. What expired in the stream
is discarded like what is older than ``MaximumRecordAgeInSeconds``.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from testbed.semantics.backoff import Backoff

Condition = Literal["RetryAttemptsExhausted", "RecordAgeExceeded"]
Consequence = Literal["split", "retry", "exhausted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamMappingProfile:
    """Numbers of event source mappings of Kinesis and DynamoDB streams.

    Documented: `poll_interval` and `dynamodb_poll_interval` (AWS Lambda developer guide, Polling and batching streams:
    each shard is polled at a base rate of once per second, that of a DynamoDB stream of four times), `batch_bytes` (the
    same guide, Batching behavior), `read_interval` (Amazon Kinesis Data Streams developer guide, Quotas and limits: a
    shard is read five times per second), `window_idle` and `window_state_bytes` (Implementing stateful Kinesis Data
    Streams processing in Lambda).

    Not published by AWS, so check how much a result depends on them: all the others.

    Attributes:
        poll_interval: Seconds between two reads of a Kinesis shard that has nothing more to give.
        dynamodb_poll_interval: The same for a shard of a DynamoDB stream.
        read_interval: Seconds between two reads of a shard that has more to give; it keeps to a rate of the shard, so
            `compress` leaves it alone.
        read_ahead: Records of a shard in hand, from which on no more are read.
        batch_bytes: Largest event, in bytes, metadata of the records included.
        window_idle: Seconds without records after which a tumbling window that has ended is over.
        window_state_bytes: Largest state of a tumbling window.
        discovery_interval: Seconds between two looks for new shards.
        error_retry: Waits before a batch is retried after a function error.
        throttle_retry: Waits before a batch is retried after a throttle or an error of the Lambda service.
        api_retry: Waits after Kinesis, DynamoDB, SQS, SNS or S3 refused or failed a call of the mapping.
    """

    poll_interval: float = 1.0
    dynamodb_poll_interval: float = 0.25
    read_interval: float = 0.2
    read_ahead: int = 10_000
    batch_bytes: int = 6 * 1024 * 1024
    window_idle: float = 120.0
    window_state_bytes: int = 1024 * 1024
    discovery_interval: float = 10.0
    error_retry: Backoff = field(default=Backoff(base=0.25, cap=30.0))
    throttle_retry: Backoff = field(default=Backoff(base=0.5, cap=10.0))
    api_retry: Backoff = field(default=Backoff(base=0.2, cap=5.0))

    def compress(self, k: float) -> "StreamMappingProfile":
        """The same rules with every wait of AWS ``k`` times shorter."""
        return replace(
            self,
            poll_interval=self.poll_interval / k,
            dynamodb_poll_interval=self.dynamodb_poll_interval / k,
            window_idle=self.window_idle / k,
            discovery_interval=self.discovery_interval / k,
            error_retry=self.error_retry.compress(k),
            throttle_retry=self.throttle_retry.compress(k),
            api_retry=self.api_retry.compress(k),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRules:
    """The error handling that a mapping asks for.

    Attributes:
        maximum_retry_attempts: Retries after the first attempt; -1 is for ever.
        maximum_record_age: Seconds after which a record is discarded; -1 is never.
        bisect: ``BisectBatchOnFunctionError``.
    """

    maximum_retry_attempts: int = -1
    maximum_record_age: float = -1
    bisect: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """Invoke the function with the records from ``start`` up to, not including, ``stop`` of the batch."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Discard:
    """Give the records from ``start`` up to ``stop`` up and tell the on-failure destination.

    Attributes:
        start: Index of the first record.
        stop: Index after the last one.
        condition: Why.
        invokes: How often the function was invoked with the first of them.
    """

    start: int
    stop: int
    condition: Condition
    invokes: int


@dataclass(slots=True)
class _Part:
    start: int
    stop: int
    failures: int = 0  # attempts that used up a retry
    invokes: int = 0


class StreamBatch:
    """What to do next with the records of one batch.

    Ask `next` for the next step; after an `Attempt`, tell how it ended with exactly one of `succeeded`, `failed` and
    `throttled`. A `Discard` is final. `next` is None when the batch is finished.

    Attributes:
        rules: The mapping's error handling; may be changed between two steps, as a mapping may be updated.
    """

    def __init__(self, rules: StreamRules, arrivals: Sequence[float], retention: float = math.inf) -> None:
        """Start with records that arrived at ``arrivals`` (seconds), in the order of the shard.

        The stream keeps them for ``retention`` seconds.
        """
        self.rules = rules
        self._retention = retention
        self._arrivals = arrivals
        self._parts = deque([_Part(0, len(arrivals))] if arrivals else [])
        self._throttles = 0

    @property
    def checkpoint(self) -> int:
        """Index of the first record that is neither processed nor discarded."""
        return self._parts[0].start if self._parts else len(self._arrivals)

    @property
    def failures(self) -> int:
        """Failed attempts of the next part that used up a retry: what the pace of the next retry depends on."""
        return self._parts[0].failures if self._parts else 0

    @property
    def throttles(self) -> int:
        """Throttled attempts in a row."""
        return self._throttles

    def next(self, now: float) -> Attempt | Discard | None:
        """The next step at ``now`` (seconds, the clock of the arrivals)."""
        if not self._parts:
            return None
        part = self._parts[0]
        expired = self._expired(part, now)
        if expired > part.start:
            discard = Discard(part.start, expired, "RecordAgeExceeded", part.invokes)
            self._advance_to(expired)
            return discard
        if self._exhausted(part):
            self._parts.popleft()
            return Discard(part.start, part.stop, "RetryAttemptsExhausted", part.invokes)
        return Attempt(part.start, part.stop)

    def narrowed(self, attempt: Attempt, records: int) -> Attempt:
        """The same attempt with ``records`` at most: what is left is a part of its own, to be attempted after it.

        AWS Lambda developer guide, "Batching behavior": no event is larger than 6 MB. The state of a tumbling window
        may have grown since the batch was closed.
        """
        stop = attempt.start + records
        if stop >= attempt.stop:
            return attempt
        self._split_at(stop)
        return Attempt(attempt.start, stop)

    def succeeded(self) -> None:
        """The function processed the whole part."""
        self._throttles = 0
        self._parts.popleft()

    def throttled(self) -> None:
        """The invoke was throttled, or the Lambda service failed: the same part again, no retry used up."""
        self._throttles += 1

    def failed(self, first_failed: int) -> Consequence:
        """The function failed from the record ``first_failed`` (an index of the batch) on.

        That is the first record of the attempt where the function does not say which. Returns what comes of it:
        ``"split"`` (the next attempt is with fewer records, at once), ``"retry"`` (the same records again, after a
        pause) or ``"exhausted"`` (a `Discard` is next).
        """
        self._throttles = 0
        part = self._parts[0]
        part.invokes += 1
        checkpointed = first_failed > part.start
        part.start = first_failed
        if self.rules.bisect and checkpointed:
            return "split"
        if self.rules.bisect and part.stop - part.start > 1:
            self._split_at((part.start + part.stop) // 2)
            return "split"
        part.failures += 1
        return "exhausted" if self._exhausted(part) else "retry"

    def _exhausted(self, part: _Part) -> bool:
        return 0 <= self.rules.maximum_retry_attempts < part.failures

    def _split_at(self, index: int) -> None:
        part = self._parts.popleft()
        self._parts.appendleft(_Part(index, part.stop, part.failures, part.invokes))
        self._parts.appendleft(_Part(part.start, index, part.failures, part.invokes))

    def _expired(self, part: _Part, now: float) -> int:
        """Index after the last record at the start of ``part`` that is too old."""
        age = self.rules.maximum_record_age
        oldest = now - min(age if age >= 0 else math.inf, self._retention)
        index = part.start
        while index < part.stop and self._arrivals[index] < oldest:
            index += 1
        return index

    def _advance_to(self, index: int) -> None:
        if index == self._parts[0].stop:
            self._parts.popleft()
        else:
            self._parts[0].start = index
