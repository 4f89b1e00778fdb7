"""Batches on their way from a source into a function."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from testbed.semantics.sqs_mapping import Batching


@dataclass(frozen=True, slots=True)
class Record:
    """One record that was read, ready for the event.

    Attributes:
        id: Message id or sequence number: what a partial batch response names.
        event: The record as a member of the event's ``Records``, JSON, encoded once.
        body: What the sender sent.
        handle: Receipt handle of a message; empty for a stream.
        at: When a message was received or its visibility timeout renewed, or a stream's record arrived, in seconds
            since the epoch.
        trace: ``AWSTraceHeader`` of a message; None where there is none.
        key: Partition key of a stream's record; empty for a message.
    """

    id: str
    event: bytes
    body: bytes
    handle: str
    at: float
    trace: str | None = None
    key: str = ""


def encode_event(records: Iterable[Record], members: Mapping[str, Any] | None = None) -> bytes:
    """The event of a batch, with further ``members`` besides its records."""
    rest = b"," + json.dumps(members, separators=(",", ":")).encode()[1:] if members else b"}"
    return b'{"Records":[' + b",".join(record.event for record in records) + b"]" + rest


def envelope_bytes(members: Mapping[str, Any] | None = None) -> int:
    """What an event has besides its records, in bytes; each record is counted with a comma, one too many."""
    return len(encode_event((), members)) - 1


def bytes_in_event(record: Record) -> int:
    """What a record adds to an event: itself and a comma."""
    return len(record.event) + 1


def fitting(records: Iterable[Record], maximum_bytes: int, members: Mapping[str, Any] | None = None) -> int:
    """How many of the first records an event with ``members`` takes; one at least, as a record can't be split."""
    sizes = accumulate(map(bytes_in_event, records), initial=envelope_bytes(members))
    next(sizes)
    return max(1, sum(size <= maximum_bytes for size in sizes))


def batch_identity(records: Sequence[Record]) -> str:
    """A name of a batch that depends as little as possible on how records happened to be batched.

    It is that of one of its records, the one with the smallest digest, so that a batch keeps its name in whatever
    order its records arrive, and mostly even when a few others are in it.
    """
    return min(hashlib.blake2b(record.body, digest_size=16).hexdigest() for record in records)


class BatchBuffer:
    """Collects records by the batching rule; what does not fit starts the next batch, in order."""

    def __init__(self, batching: Callable[[], Batching]) -> None:
        """Start empty; ``batching`` gives the rule of each new batch."""
        self._new_batching = batching
        self._batching = batching()
        self._records: list[Record] = []
        self._next: list[Record] = []

    def __len__(self) -> int:
        return len(self._records) + len(self._next)

    @property
    def room(self) -> int:
        """Records that the open batch still takes."""
        self._renew_rule()
        return self._batching.size - len(self._records)

    def add(self, records: Iterable[Record], now: float) -> None:
        """Put ``records`` in, in their order."""
        self._renew_rule()
        for record in records:
            size = bytes_in_event(record)
            if self._next or not self._batching.fits(size):
                self._next.append(record)
            else:
                self._batching.add(size, now)
                self._records.append(record)

    def seconds_left(self, now: float) -> float:
        """Seconds until the open batch has to go; 0 for at once."""
        return 0.0 if self._next else self._batching.seconds_left(now)

    def take(self, now: float) -> list[Record]:
        """Close the batch, and open the next one."""
        taken, carried = self._records, self._next
        self._records, self._next = [], []
        self.add(carried, now)
        return taken

    def drain(self) -> list[Record]:
        """Take out everything, in order."""
        drained = self._records + self._next
        self._records, self._next = [], []
        return drained

    def _renew_rule(self) -> None:
        """An empty batch follows the mapping's settings of this moment, which may have changed since the last one."""
        if not self._records:
            self._batching = self._new_batching()
