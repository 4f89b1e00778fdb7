"""DynamoDB tables and their indexes, and what each request costs them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from testbed.semantics.dynamodb_capacity import (
    DynamoDbProfile,
    Limit,
    Throughput,
    item_size,
    on_demand,
    provisioned,
    read_units,
    write_units,
)

Item = Mapping[str, Mapping[str, Any]]
Direction = Literal["Read", "Write"]
_NAMES: Final = re.compile(r"[#\w-]+")
_EQUALITY: Final = re.compile(r"([#\w.-]+)\s*=\s*(:\w+)")


@dataclass(frozen=True, slots=True)
class Settings:
    """How much a table or index is to take; None of units per second is on demand.

    Attributes:
        read: ``ReadCapacityUnits``.
        write: ``WriteCapacityUnits``.
        maximum_read: ``MaxReadRequestUnits``; None is no maximum.
        maximum_write: ``MaxWriteRequestUnits``; None is no maximum.
    """

    read: float | None
    write: float | None
    maximum_read: float | None
    maximum_write: float | None

    @classmethod
    def of(cls, description: Mapping[str, Any], *, is_on_demand: bool) -> "Settings":
        """Those of a table or an index as DescribeTable shows it."""
        units = {} if is_on_demand else description.get("ProvisionedThroughput", {})
        most = description.get("OnDemandThroughput", {}) if is_on_demand else {}
        maxima = (
            most.get("MaxReadRequestUnits", -1),
            most.get("MaxWriteRequestUnits", -1),
        )  # -1 is AWS's word for none
        maximum_read, maximum_write = (maximum if maximum > 0 else None for maximum in maxima)
        return cls(units.get("ReadCapacityUnits"), units.get("WriteCapacityUnits"), maximum_read, maximum_write)

    def throughput(self, profile: DynamoDbProfile) -> dict[Direction, Throughput]:
        """What it takes in each direction, with nothing used up."""
        return {
            "Read": Throughput(
                on_demand(profile, profile.on_demand_read_units, self.maximum_read)
                if self.read is None
                else provisioned(profile, self.read),
                profile.partition_read_units,
            ),
            "Write": Throughput(
                on_demand(profile, profile.on_demand_write_units, self.maximum_write)
                if self.write is None
                else provisioned(profile, self.write),
                profile.partition_write_units,
            ),
        }


@dataclass(frozen=True, slots=True)
class Capacity:
    """One table or global secondary index.

    Attributes:
        kind: Which of the two, as `ThrottlingReason.reason` begins.
        arn: Its ARN.
        settings: How much it is to take.
        throughput: What it takes.
        keys: Names of its key attributes, the partition key first.
        projected: Names of the attributes that it holds; None is all.
    """

    kind: Literal["Table", "Index"]
    arn: str
    settings: Settings
    throughput: Mapping[Direction, Throughput]
    keys: tuple[str, ...]
    projected: frozenset[str] | None = None

    def holds(self, item: Item) -> bool:
        """Whether ``item`` is in it: an index has only items with all its key attributes."""
        return all(name in item for name in self.keys)

    def write(self, item: Item, *, transactional: bool = False) -> "Charge":
        """What writing ``item`` costs."""
        return Charge(
            self, "Write", write_units(item_size(self.part(item)), transactional=transactional), self.partition(item)
        )

    def part(self, item: Item) -> Item:
        """The attributes of ``item`` that it holds."""
        if self.projected is None:
            return item
        return {name: value for name, value in item.items() if name in self.projected}

    def partition(self, item: Item) -> str | None:
        """The partition key of ``item``, or of its primary key; None where it has none."""
        return json.dumps(item[self.keys[0]]) if self.keys[0] in item else None

    def queried_partition(self, query: Mapping[str, Any]) -> str | None:
        """The partition key that a Query names; None where it is too unusual to be seen."""
        names, values = query.get("ExpressionAttributeNames", {}), query.get("ExpressionAttributeValues", {})
        for name, value in _EQUALITY.findall(query.get("KeyConditionExpression", "")):
            if names.get(name, name) == self.keys[0]:
                return json.dumps(values[value])
        return None


@dataclass(frozen=True, slots=True)
class Charge:
    """Units that a request needs of one table or index.

    Attributes:
        capacity: Of which.
        direction: To read or to write.
        units: How many; none asks only that nothing is owed.
        key: The partition key; None where there is none.
    """

    capacity: Capacity
    direction: Direction
    units: float
    key: str | None

    def exceeded(self, now: float) -> Limit | None:
        """Which limit it would exceed."""
        return self.capacity.throughput[self.direction].exceeded(self.units, self.key, now)

    def take(self, now: float, times: float = 1) -> None:
        """Use the units up; ``times`` -1 gives them back."""
        if self.units:
            self.capacity.throughput[self.direction].take(self.units * times, self.key, now)


class Table:
    """A table with its global secondary indexes; a local one takes of the table's own capacity.

    A write has to find capacity in the table and in each index that it changes.
    """

    def __init__(self, own: Capacity, indexes: Mapping[str, Capacity]) -> None:
        self.own = own
        self._indexes = indexes

    def capacities(self) -> dict[str, Capacity]:
        """The table and its indexes by ARN."""
        return {capacity.arn: capacity for capacity in (self.own, *self._indexes.values())}

    def reading(self, index: str | None) -> Capacity:
        """Where a Query or Scan reads."""
        return self._indexes.get(index or "", self.own)

    def put(self, item: Item, *, transactional: bool = False) -> list[Charge]:
        """What putting a new item costs."""
        places = [self.own, *(index for index in self._indexes.values() if index.holds(item))]
        return [place.write(item, transactional=transactional) for place in places]

    def replaced(self, old: Item, new: Item) -> list[Charge]:
        """What putting ``new`` costs beyond `put` as it took the place of ``old``: the larger of the two counts.

        An index from which the old one is taken under another key needs a write for that as well.
        """
        charges = []
        for place in [self.own, *self._indexes.values()]:
            if not place.holds(old):
                continue
            cost = place.write(old)
            if place.holds(new) and all(old[name] == new[name] for name in place.keys):
                cost = Charge(place, "Write", max(0.0, cost.units - place.write(new).units), cost.key)
            charges.append(cost)
        return charges

    def change(self, key: Item, touched: frozenset[str] | None, *, transactional: bool = False) -> list[Charge]:
        """What updating or deleting an item costs at least; its size, and what indexes need, is known only after it.

        Args:
            key: Its primary key.
            touched: The attributes that are written; None is all.
            transactional: Whether it is part of a transaction.
        """
        least = Charge(self.own, "Write", write_units(0, transactional=transactional), self.own.partition(key))
        return [least, *(Charge(index, "Write", 0.0, None) for index in self._affected(touched))]

    def changed(self, item: Item, touched: frozenset[str] | None) -> list[Charge]:
        """What it cost beyond `change`, now that the item is known."""
        whole = self.own.write(item)
        charges = [Charge(self.own, "Write", whole.units - write_units(0), whole.key)]
        return charges + [index.write(item) for index in self._affected(touched) if index.holds(item)]

    def _affected(self, touched: frozenset[str] | None) -> list[Capacity]:
        """The indexes that hold one of the attributes."""
        return [
            index
            for index in self._indexes.values()
            if touched is None or index.projected is None or touched & index.projected
        ]


def table_of(description: Mapping[str, Any], profile: DynamoDbProfile, before: Table | None) -> Table:
    """The table that DescribeTable describes.

    Args:
        description: Member ``Table`` of the answer.
        profile: The numbers.
        before: What it was before: where the settings are the same, it goes on with what is left. AWS does not say what
            other settings do to unused throughput; here it begins anew.
    """
    mode = description.get("BillingModeSummary", {}).get("BillingMode")
    units = description.get("ProvisionedThroughput", {}).get("WriteCapacityUnits", 0)
    is_on_demand = mode == "PAY_PER_REQUEST" or not units
    known = before.capacities() if before else {}

    def capacity(
        kind: Literal["Table", "Index"], arn: str, shown: Mapping[str, Any], projected: frozenset[str] | None
    ) -> Capacity:
        settings = Settings.of(shown, is_on_demand=is_on_demand)
        old = known.get(arn)
        throughput = old.throughput if old and old.settings == settings else settings.throughput(profile)
        return Capacity(kind, arn, settings, throughput, _keys(shown), projected)

    arn = description["TableArn"]
    own = capacity("Table", arn, description, None)
    indexes = {}
    for shown in description.get("GlobalSecondaryIndexes") or ():
        projected = None
        if shown["Projection"]["ProjectionType"] != "ALL":
            projected = frozenset([*_keys(shown), *own.keys, *shown["Projection"].get("NonKeyAttributes", ())])
        name = shown["IndexName"]
        indexes[name] = capacity("Index", f"{arn}/index/{name}", shown, projected)
    return Table(own, indexes)


def _keys(shown: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the key attributes, the partition key first."""
    ordered = sorted(shown["KeySchema"], key=lambda key: str(key["KeyType"]))  # HASH before RANGE
    return tuple(key["AttributeName"] for key in ordered)


def read_charge(capacity: Capacity, size: int, key: str | None, *, consistent: bool, transactional: bool) -> Charge:
    """What reading ``size`` bytes costs."""
    return Charge(capacity, "Read", read_units(size, consistent=consistent, transactional=transactional), key)


def touched_by(update: Mapping[str, Any]) -> frozenset[str]:
    """Names of the attributes that an UpdateItem writes, and some more words of its expression."""
    names = update.get("ExpressionAttributeNames", {})
    words = _NAMES.findall(update.get("UpdateExpression", ""))
    return frozenset([*(names.get(word, word) for word in words), *update.get("AttributeUpdates", ())])
