"""What a shard takes and gives: numbers of the Kinesis developer guide, Quotas and limits, and of the API reference."""

import hashlib

import pytest

from testbed.semantics.kinesis_shard import KinesisProfile, Shard, ShardMap, hash_key
from testbed.semantics.profiles import aws

MIB = 1024 * 1024


def writes(shard: Shard, size: int, count: int, now: float) -> int:
    """How many of ``count`` records are taken."""
    return sum(shard.write(size, now) for _ in range(count))


@pytest.mark.rule("kinesis.write-limit")
def test_a_shard_takes_a_thousand_records_a_second() -> None:
    """The thousand and first has to wait for its share of the next second."""
    shard = Shard(aws.kinesis)
    assert writes(shard, 1, 1001, now=5.0) == 1000
    assert writes(shard, 1, 300, now=5.25) == 250
    assert writes(shard, 1, 2000, now=60.0) == 1000


@pytest.mark.rule("kinesis.write-limit")
def test_a_shard_takes_one_mebibyte_a_second() -> None:
    """Whatever the number of records."""
    shard = Shard(aws.kinesis)
    assert writes(shard, 300 * 1024, 5, now=0.0) == 3
    assert writes(shard, 124 * 1024, 2, now=0.0) == 1
    assert writes(shard, MIB, 1, now=0.99) == 0
    assert writes(shard, MIB, 1, now=1.0) == 1


def test_a_refused_record_costs_nothing() -> None:
    """What was too large leaves its room to a smaller one."""
    shard = Shard(aws.kinesis)
    assert writes(shard, MIB - 10, 1, now=0.0) == 1
    assert writes(shard, 100, 5, now=0.0) == 0
    assert writes(shard, 10, 1, now=0.0) == 1


@pytest.mark.rule("kinesis.large-records")
def test_a_record_of_ten_mebibytes_is_paid_off() -> None:
    """Streams can be configured to take it; the average stays 1 MiB a second."""
    shard = Shard(aws.kinesis)
    assert shard.write(10 * MIB, now=0.0)
    assert not shard.write(1, now=9.0)
    assert shard.write(1, now=9.01)


@pytest.mark.rule("kinesis.read-calls")
def test_a_shard_answers_five_reads_a_second() -> None:
    """All readers together."""
    shard = Shard(aws.kinesis)
    assert [shard.read(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert [shard.read(0.2), shard.read(0.2)] == [True, False]
    assert [shard.read(2.0) for _ in range(6)] == [True] * 5 + [False]


@pytest.mark.rule("kinesis.read-debt")
@pytest.mark.parametrize(("mebibytes", "seconds"), [(10, 5.0), (2, 1.0)])
def test_after_a_large_read_the_shard_pauses(mebibytes: int, seconds: float) -> None:
    """5 s after 10 MiB, else 1 s where throughput was insufficient (API reference, GetRecords)."""
    shard = Shard(aws.kinesis)
    assert shard.read(100.0)
    shard.has_read(mebibytes * MIB, 100.0)
    assert not shard.read(100.0 + seconds - 0.01)
    assert shard.read(100.0 + seconds)


@pytest.mark.rule("kinesis.read-debt")
def test_reads_within_the_rate_are_not_paused() -> None:
    """Two of 0.9 MiB fit into a second."""
    shard = Shard(aws.kinesis)
    for now in (0.0, 0.1):
        assert shard.read(now)
        shard.has_read(int(0.9 * MIB), now)
    assert shard.read(0.2)


@pytest.mark.rule("kinesis.burst")
def test_how_much_unused_throughput_is_kept_is_a_parameter() -> None:
    """Nothing is published about it."""
    shard = Shard(KinesisProfile(write_records=10, burst_seconds=3))
    assert writes(shard, 1, 100, now=0.0) == 30


@pytest.mark.rule("kinesis.hash-key")
def test_the_hash_key_is_the_md5_of_the_partition_key() -> None:
    """Or what the record states; a 128-bit number."""
    assert hash_key("ä") == int(hashlib.md5("ä".encode(), usedforsecurity=False).hexdigest(), 16)
    assert hash_key("a", "340282366920938463463374607431768211455") == 2**128 - 1


@pytest.mark.rule("kinesis.hash-key")
def test_a_record_goes_to_the_open_shard_whose_range_has_its_hash_key() -> None:
    """Bounds belong to the range that they begin."""
    shards = ShardMap([("high", 2**127), ("low", 0)])
    assert [shards.shard_of(key) for key in (0, 2**127 - 1, 2**127, 2**128 - 1)] == ["low", "low", "high", "high"]
