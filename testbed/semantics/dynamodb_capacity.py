"""What a DynamoDB table or index takes and gives per second, in capacity units; time is passed in.

Sources: Amazon DynamoDB developer guide, Capacity unit consumption for operations, Item sizes and formats, Provisioned
capacity mode, On-demand capacity mode, Burst and adaptive capacity, Global secondary indexes; API reference,
ThrottlingReason.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from testbed.semantics.token_bucket import TokenBucket

_WRITE_BYTES: Final = 1024
_READ_BYTES: Final = 4096
_PARTITIONS: Final = 4096  # that are remembered; those that are idle are forgotten first


class Limit(Enum):
    """What was exceeded: the end of `ThrottlingReason.reason`."""

    PROVISIONED = "ProvisionedThroughputExceeded"
    KEY_RANGE = "KeyRangeThroughputExceeded"
    MAXIMUM = "MaxOnDemandThroughputExceeded"
    ACCOUNT = "AccountLimitExceeded"


@dataclass(frozen=True, kw_only=True, slots=True)
class DynamoDbProfile:
    """Limits of tables and indexes; they are rates, which `compress` leaves alone but for `on_demand_settling`.

    Not published by AWS, so check how much a result depends on it: `burst_at_start`. An approximation: AWS splits a
    partition that is hot between item collections, and even within one; here each item collection is a partition of
    its own and never split.

    Attributes:
        burst_seconds: Seconds of unused provisioned throughput that may be used later (300).
        burst_at_start: The part of that which a new table or index has, from 0 to 1.
        partition_write_units: Write units per second of one partition (1,000).
        partition_read_units: Read units per second of one partition (3,000).
        on_demand_write_units: Write units per second that a new on-demand table takes at once (4,000).
        on_demand_read_units: Read units per second that a new on-demand table gives at once (12,000).
        on_demand_growth: How often the previous peak an on-demand table takes at once (2).
        on_demand_settling: Seconds until a peak is a previous one (1,800).
        table_units: Units per second of one on-demand table in each direction, a default quota of accounts (40,000).
    """

    burst_seconds: float = 300.0
    burst_at_start: float = 1.0
    partition_write_units: float = 1000.0
    partition_read_units: float = 3000.0
    on_demand_write_units: float = 4000.0
    on_demand_read_units: float = 12000.0
    on_demand_growth: float = 2.0
    on_demand_settling: float = 1800.0
    table_units: float = 40000.0

    def compress(self, k: float) -> "DynamoDbProfile":
        """The same limits, with peaks that count ``k`` times earlier."""
        return replace(self, on_demand_settling=self.on_demand_settling / k)


def item_size(item: Mapping[str, Mapping[str, Any]]) -> int:
    """Bytes of an item, or of some of its attributes, in the form that the API has it in."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def write_units(size: int, *, transactional: bool = False) -> float:
    """Write units of an item: one per KB, at least one, twice that in a transaction."""
    return max(1, math.ceil(size / _WRITE_BYTES)) * (2.0 if transactional else 1.0)


def read_units(size: int, *, consistent: bool = False, transactional: bool = False) -> float:
    """Read units of an item or of the items of a page: one per 4 KB, at least one; half eventually consistent."""
    return max(1, math.ceil(size / _READ_BYTES)) * (2.0 if transactional else 1.0 if consistent else 0.5)


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind in {"SS", "NS", "BS"}:
        return sum(_scalar_size(kind[0], each) for each in content)
    if kind == "L":
        return 3 + sum(1 + _value_size(each) for each in content)
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + _value_size(each) for name, each in content.items())
    return _scalar_size(kind, content)


def _scalar_size(kind: str, content: Any) -> int:
    text = str(content)
    if kind == "S":
        return len(text.encode())
    if kind == "B":
        return len(text) * 3 // 4 - text[-2:].count("=")
    if kind == "N":
        digits = text.upper().partition("E")[0].replace(".", "").strip("+-").strip("0")
        return 1 + (len(digits) + 1) // 2
    return 1  # NULL and BOOL


class Throughput:
    """What one table or index takes in one direction: as a whole, and for each partition key.

    Args:
        whole: What it takes as a whole: `provisioned` or `on_demand`.
        partition: Units per second of one partition.
    """

    def __init__(self, whole: "Sequence[Allowance]", partition: float) -> None:
        self._whole = whole
        self._partition = partition
        self._partitions: dict[str, TokenBucket] = {}

    def exceeded(self, units: float, key: str | None, now: float) -> Limit | None:
        """Which limit a request for ``units`` would exceed; None where it may go on, which takes nothing yet.

        Args:
            units: What it needs; where that is known only later, what it needs at least.
            key: Its partition key in any form; None where it has none, as a scan.
            now: Seconds of any clock that never goes back.
        """
        for allowance in self._whole:
            if _lacks(allowance.bucket, units, now):
                return allowance.limit
        if key is not None and (bucket := self._partitions.get(key)) and _lacks(bucket, units, now):
            return Limit.KEY_RANGE
        return None

    def take(self, units: float, key: str | None, now: float) -> None:
        """Use ``units`` up, into debt if need be; a negative number gives them back."""
        for allowance in self._whole:
            allowance.take(units, now)
        if key is None:
            return
        if key not in self._partitions:
            self._forget_idle(now)
            self._partitions[key] = TokenBucket(self._partition, self._partition)
            self._partitions[key].level(now)
        self._partitions[key].take(units)

    def _forget_idle(self, now: float) -> None:
        if len(self._partitions) >= _PARTITIONS:
            busy = {key: bucket for key, bucket in self._partitions.items() if bucket.level(now) < bucket.capacity}
            self._partitions = busy


class Allowance:
    """One limit of a table or index as a whole."""

    def __init__(self, limit: Limit, capacity: float, rate: float) -> None:
        self.limit = limit
        self.bucket = TokenBucket(capacity, rate)

    def take(self, units: float, now: float) -> None:
        """Use ``units`` up."""
        self.bucket.level(now)
        self.bucket.take(units)


class _OnDemand(Allowance):
    """The capacity that an on-demand table has grown to: a multiple of the most that it took in one second before."""

    def __init__(self, profile: DynamoDbProfile, at_once: float) -> None:
        super().__init__(Limit.KEY_RANGE, at_once, at_once)
        self._profile = profile
        self._at_once = at_once
        self._second = self._since = -math.inf
        self._units = self._highest = 0.0

    def take(self, units: float, now: float) -> None:
        """Use ``units`` up; the highest second of each settling time counts when that is over."""
        super().take(units, now)
        if now - self._second >= 1:
            self._second, self._units = now, 0.0
        self._units += units
        self._highest = max(self._highest, self._units)
        if self._since == -math.inf:
            self._since = now
        elif now - self._since >= self._profile.on_demand_settling:
            self._at_once = max(self._at_once, self._highest * self._profile.on_demand_growth)
            if self._at_once >= self._profile.table_units:
                self._at_once, self.limit = self._profile.table_units, Limit.ACCOUNT
            self.bucket.resize(self._at_once, self._at_once, now)
            self._since, self._highest = now, 0.0


def provisioned(profile: DynamoDbProfile, units: float) -> Sequence[Allowance]:
    """What a table or index with this provisioned capacity takes."""
    capacity = units * max(1.0, profile.burst_seconds)
    allowance = Allowance(Limit.PROVISIONED, capacity, units)
    allowance.bucket.take((capacity - units) * (1 - profile.burst_at_start))
    return (allowance,)


def on_demand(profile: DynamoDbProfile, at_once: float, maximum: float | None = None) -> Sequence[Allowance]:
    """What an on-demand table or index takes that is new; ``maximum`` is the one that its owner has set."""
    grown = _OnDemand(profile, at_once)
    return (grown,) if maximum is None else (Allowance(Limit.MAXIMUM, maximum, maximum), grown)


def _lacks(bucket: TokenBucket, units: float, now: float) -> bool:
    """Whether a request has to wait; one for more than a full bucket waits for a full one, and leaves it in debt."""
    return bucket.level(now) < min(units, bucket.capacity)
