"""What a Kinesis shard takes and gives per second, and which shard a record goes to; time is passed in.

Sources: Amazon Kinesis Data Streams developer guide, Quotas and limits; API reference, PutRecord, PutRecords (hash
keys, the error of a record that is refused) and GetRecords (five calls a second; nothing for 5 s after a call that
returned 10 MiB, and for 1 s where throughput was insufficient otherwise).
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from testbed.semantics.token_bucket import TokenBucket


@dataclass(frozen=True, kw_only=True, slots=True)
class KinesisProfile:
    """Limits of one shard; they are rates, which `compress` leaves alone.

    Not published by AWS, so check how much a result depends on it: `burst_seconds`.

    Attributes:
        write_bytes: Bytes per second into a shard, partition keys included (1 MiB).
        write_records: Records per second into a shard (1,000).
        read_bytes: Bytes per second out of a shard, all readers together (2 MiB).
        read_calls: GetRecords calls per second, all readers together (5).
        burst_seconds: Seconds of unused throughput that a shard keeps.
        iterator_seconds: How long a shard iterator is valid (300).
    """

    write_bytes: float = 1024 * 1024
    write_records: float = 1000.0
    read_bytes: float = 2 * 1024 * 1024
    read_calls: float = 5.0
    burst_seconds: float = 1.0
    iterator_seconds: float = 300.0


def hash_key(partition_key: str, explicit: str | None = None) -> int:
    """Where a record belongs, from 0 to 2**128 - 1: the MD5 of its partition key, or the key that it states."""
    if explicit is not None:
        return int(explicit)
    return int.from_bytes(hashlib.md5(partition_key.encode(), usedforsecurity=False).digest(), "big")


class ShardMap:
    """The open shards of a stream.

    Args:
        shards: Of each its id and the first hash key of its range; together the ranges have no gap.
    """

    def __init__(self, shards: Iterable[tuple[str, int]]) -> None:
        ordered = sorted(shards, key=lambda shard: shard[1])
        self._ids = [shard_id for shard_id, _ in ordered]
        self._starts = [start for _, start in ordered]

    def shard_of(self, key: int) -> str:
        """Id of the shard that takes records with this hash key."""
        return self._ids[bisect_right(self._starts, key) - 1]


class Shard:
    """Admits records into one shard, and reads out of it."""

    def __init__(self, profile: KinesisProfile) -> None:
        def bucket(rate: float) -> TokenBucket:
            return TokenBucket(rate * profile.burst_seconds, rate)

        self._bytes_in = bucket(profile.write_bytes)
        self._records_in = bucket(profile.write_records)
        self._bytes_out = bucket(profile.read_bytes)
        self._calls_out = bucket(profile.read_calls)
        self._overdrawn = False

    def write(self, size: int, now: float) -> bool:
        """Take one record of ``size`` bytes, its partition key included; False where it is refused.

        A record larger than a second's throughput, as streams may be configured to take, waits for a second's worth
        and leaves the shard in debt.
        """
        enough = min(size, self._bytes_in.capacity)
        if self._bytes_in.level(now) < enough or not self._records_in.has_one(now):
            return False
        self._bytes_in.take(size)
        self._records_in.take()
        return True

    def read(self, now: float) -> bool:
        """Admit one GetRecords; False where it is refused. `has_read` has to follow."""
        if self._overdrawn and self._bytes_out.level(now) < self._bytes_out.capacity:
            return False
        self._overdrawn = False
        if not self._calls_out.has_one(now):
            return False
        self._calls_out.take()
        return True

    def has_read(self, size: int, now: float) -> None:
        """A read has returned ``size`` bytes, partition keys included.

        One that uses up all there is blocks the shard until its bucket is full again: 5 s after 10 MiB, 1 s after a
        second's worth.
        """
        self._bytes_out.level(now)
        self._bytes_out.take(size)
        self._overdrawn = self._bytes_out.level(now) <= 0
