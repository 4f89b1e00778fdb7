"""Capacity units and what a table takes of them: examples and numbers of the DynamoDB developer guide."""

from typing import Any

import pytest

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
from testbed.semantics.profiles import aws


def drain(throughput: Throughput, units: float, key: str | None, now: float) -> tuple[int, Limit | None]:
    """How many requests for ``units`` are taken at once, and the limit that the next one meets."""
    taken = 0
    while (limit := throughput.exceeded(units, key, now)) is None and taken < 100_000:
        throughput.take(units, key, now)
        taken += 1
    return taken, limit


@pytest.mark.rule("dynamodb.units")
@pytest.mark.parametrize(
    ("size", "written", "read"), [(0, 1, 1), (1, 1, 1), (1024, 1, 1), (1025, 2, 1), (4096, 4, 1), (4097, 5, 2)]
)
def test_units_of_an_item(size: int, written: float, read: float) -> None:
    """One per KB written, one per 4 KB read consistently, half of that eventually, twice in a transaction."""
    assert (write_units(size), write_units(size, transactional=True)) == (written, 2 * written)
    assert (read_units(size, consistent=True), read_units(size)) == (read, read / 2)
    assert read_units(size, transactional=True) == 2 * read


@pytest.mark.rule("dynamodb.item-size")
@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "äbc"}, 4),
        ({"B": "aGVsbG8="}, 5),
        ({"N": "-123.450"}, 4),
        ({"N": "0"}, 1),
        ({"BOOL": True}, 1),
        ({"NULL": True}, 1),
        ({"SS": ["ab", "c"]}, 3),
        ({"NS": ["12", "3"]}, 4),
        ({"L": [{"S": "ab"}, {"NULL": True}]}, 3 + 1 + 2 + 1 + 1),
        ({"M": {"k": {"S": "ab"}}}, 3 + 1 + 1 + 2),
    ],
)
def test_size_of_an_attribute(value: dict[str, Any], size: int) -> None:
    """Item sizes and formats: its name and its value in UTF-8, overheads of lists and maps."""
    assert item_size({"name": value}) == len("name") + size


@pytest.mark.rule("dynamodb.burst")
def test_a_table_keeps_five_minutes_of_unused_capacity() -> None:
    """5 units a second: 1,500 at once, then 5 a second."""
    table = Throughput(provisioned(aws.dynamodb, 5), 1_000_000)
    assert drain(table, 1, None, now=0.0) == (1500, Limit.PROVISIONED)
    assert drain(table, 1, None, now=10.0) == (50, Limit.PROVISIONED)
    assert drain(table, 1, None, now=10_000.0)[0] == 1500


@pytest.mark.rule("dynamodb.burst-at-start")
def test_how_much_of_it_a_new_table_has_is_a_parameter() -> None:
    """Nothing is published about it; one second's worth there always is."""
    table = Throughput(provisioned(DynamoDbProfile(burst_at_start=0), 5), 1_000_000)
    assert drain(table, 1, None, now=0.0)[0] == 5


@pytest.mark.rule("dynamodb.partition", "dynamodb.adaptive")
def test_a_partition_takes_a_thousand_units_a_second() -> None:
    """Another partition of the same table goes on."""
    table = Throughput(provisioned(aws.dynamodb, 2000), aws.dynamodb.partition_write_units)
    assert drain(table, 1, "hot", now=0.0) == (1000, Limit.KEY_RANGE)
    assert table.exceeded(1, "cold", 0.0) is None
    assert drain(table, 1, "hot", now=0.5) == (500, Limit.KEY_RANGE)
    assert aws.dynamodb.partition_read_units == 3000


@pytest.mark.rule("dynamodb.on-demand")
def test_a_new_on_demand_table_takes_four_thousand_units_a_second() -> None:
    """And gives 12,000."""
    profile = aws.dynamodb
    write = Throughput(on_demand(profile, profile.on_demand_write_units), profile.partition_write_units)
    read = Throughput(on_demand(profile, profile.on_demand_read_units), profile.partition_read_units)
    assert drain(write, 1, None, now=0.0) == (4000, Limit.KEY_RANGE)
    assert drain(read, 1, None, now=0.0) == (12000, Limit.KEY_RANGE)


@pytest.mark.rule("dynamodb.on-demand-growth")
def test_twice_the_previous_peak_is_taken_at_once() -> None:
    """A peak is a previous one half an hour later; no account takes more than 40,000 units of one table."""
    table = Throughput(on_demand(aws.dynamodb, 4000), 1_000_000)
    seen = []
    for half_hour in range(6):
        drain(table, 1, None, now=half_hour * 1800.0)
        seen.append(drain(table, 1, None, now=half_hour * 1800.0 + 1))
    assert [taken for taken, _ in seen] == [4000, 8000, 16000, 32000, 40000, 40000]
    assert seen[-1][1] is Limit.ACCOUNT


@pytest.mark.rule("dynamodb.on-demand-growth")
def test_within_half_an_hour_more_than_twice_the_peak_is_refused() -> None:
    """Minute by minute at the limit does not raise it."""
    table = Throughput(on_demand(aws.dynamodb, 4000), 1_000_000)
    assert [drain(table, 1, None, now=60.0 * minute)[0] for minute in range(30)] == [4000] * 30


def test_a_maximum_of_the_owner_s_own_comes_first() -> None:
    """MaxWriteRequestUnits of an on-demand table."""
    table = Throughput(on_demand(aws.dynamodb, 4000, 10), 1000)
    assert drain(table, 1, "a", now=0.0) == (10, Limit.MAXIMUM)


@pytest.mark.rule("dynamodb.debt")
def test_what_was_known_too_late_is_owed() -> None:
    """A table of 10 units, after a read that turned out to need 60 beyond them."""
    table = Throughput(provisioned(DynamoDbProfile(burst_seconds=1), 10), 3000)
    table.take(70, "a", 0.0)
    assert table.exceeded(1, "a", 6.0) is Limit.PROVISIONED
    assert table.exceeded(1, "a", 6.2) is None


def test_an_item_larger_than_the_bucket_is_taken_when_that_is_full() -> None:
    """It could never be written otherwise."""
    table = Throughput(provisioned(DynamoDbProfile(burst_seconds=1), 5), 1000)
    assert drain(table, 10, None, now=0.0)[0] == 1
    assert table.exceeded(1, None, 1.0) is Limit.PROVISIONED


def test_idle_partitions_are_forgotten() -> None:
    """Memory does not grow with the keys of a table; a busy one is kept."""
    table = Throughput(on_demand(DynamoDbProfile(), 1_000_000), 1000)
    for number in range(5000):
        table.take(1, f"key {number}", now=number / 1000)
    assert len(table._partitions) < 4100
    table.take(1000, "hot", now=10.0)
    assert table.exceeded(1, "hot", 10.0) is Limit.KEY_RANGE
