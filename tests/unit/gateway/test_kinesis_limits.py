"""Kinesis at the gateway: what a shard does not take is refused, and never reaches the emulator."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from limited import Behind

from testbed.gateway.limits.wire import LIMIT
from testbed.semantics.kinesis_shard import KinesisProfile
from testbed.semantics.profiles import aws

CODE = "ProvisionedThroughputExceededException"
LOW, HIGH = "0", str(2**128 - 1)  # hash keys of the first shard and of the second
FIRST = "Rate exceeded for shard shardId-000000000000 in stream orders under account 000000000000."
TWO_SHARDS = {
    "Shards": [
        {
            "ShardId": f"shardId-00000000000{index}",
            "HashKeyRange": {"StartingHashKey": start},
            "SequenceNumberRange": {},
        }
        for index, start in enumerate((LOW, str(2**127)))
    ]
}


def behind(**limits: float) -> Behind:
    """A stream of two shards with these limits."""
    world = Behind(replace(aws, kinesis=KinesisProfile(**limits)))
    world.described["ListShards", "orders"] = TWO_SHARDS
    world.answers = {
        "PutRecord": {"ShardId": "s", "SequenceNumber": "1"},
        "PutRecords": lambda document: {
            "FailedRecordCount": 0,
            "Records": [{"SequenceNumber": text(record), "ShardId": "s"} for record in document["Records"]],
        },
        "GetShardIterator": lambda document: {"ShardIterator": document["ShardId"] + " 0"},
        "GetRecords": lambda document: {"Records": [], "NextShardIterator": document["ShardIterator"] + "+"},
    }
    return world


def record(data: str, key: str = LOW) -> dict[str, str]:
    return {"Data": base64.b64encode(data.encode()).decode(), "PartitionKey": "k", "ExplicitHashKey": key}


def text(record: Any) -> str:
    return base64.b64decode(record["Data"]).decode()


async def put(world: Behind, *records: dict[str, str]) -> tuple[Any, dict[str, Any]]:
    return await world.ask("kinesis", "PutRecords", StreamName="orders", Records=list(records))


@pytest.mark.rule("kinesis.put-record-error", "kinesis.hash-key")
async def test_a_record_over_the_limit_is_refused() -> None:
    """With the documented error; the other shard takes on, and so does this one when its time has come."""
    world = behind(write_records=1)
    answers = [
        await world.ask("kinesis", "PutRecord", StreamName="orders", **record("a", key)) for key in (LOW, LOW, HIGH)
    ]
    assert [reply.status for reply, _ in answers] == [200, 400, 200]
    reply, document = answers[1]
    assert (reply.error, reply.cause) == (CODE, LIMIT)
    assert (document["__type"], document["message"]) == (CODE, FIRST)
    assert len(world.sent) == 2
    assert world.limits.throttles == 1
    world.now += 1
    assert (await world.ask("kinesis", "PutRecord", StreamName="orders", **record("a")))[0].status == 200


@pytest.mark.rule("kinesis.write-limit", "kinesis.large-records")
async def test_a_shard_takes_so_many_bytes_and_pays_for_larger_records() -> None:
    """Partition keys count: of ten bytes a second, seven and one leave two; a record of 30 is paid off in 3 s."""
    world = behind(write_bytes=10)

    async def statuses(*sizes: int) -> list[int]:
        puts = [record("x" * (size - 1)) for size in sizes]
        return [(await world.ask("kinesis", "PutRecord", StreamName="orders", **put))[0].status for put in puts]

    assert await statuses(8, 3) == [200, 400]
    world.now += 1
    assert await statuses(30, 1) == [200, 400]
    world.now += 2
    assert await statuses(1) == [400]
    world.now += 1.2
    assert await statuses(1) == [200]


@pytest.mark.rule("kinesis.put-records-partial")
async def test_the_refused_records_of_a_put_stand_where_they_stood() -> None:
    """Only the others reach the emulator; the answer has all in order, and is 200."""
    world = behind(write_records=2)
    reply, document = await put(world, record("a"), record("b"), record("c"), record("d", HIGH), record("e"))
    assert (reply.status, reply.cause, document["FailedRecordCount"]) == (200, LIMIT, 2)
    refused = {"ErrorCode": CODE, "ErrorMessage": FIRST}
    stored = [{"SequenceNumber": name, "ShardId": "s"} for name in "abd"]
    assert document["Records"] == [stored[0], stored[1], refused, stored[2], refused]
    assert [text(each) for each in world.sent[0][1]["Records"]] == ["a", "b", "d"]
    assert "x-amz-crc32" not in reply.headers


@pytest.mark.rule("kinesis.put-records-partial")
async def test_a_put_of_which_nothing_is_taken_is_answered_all_the_same() -> None:
    """200, with every record failed; the emulator is not asked."""
    world = behind(write_records=1)
    await put(world, record("a"))
    reply, document = await put(world, record("b"), record("c"))
    assert (reply.status, reply.cause, document["FailedRecordCount"]) == (200, LIMIT, 2)
    assert [entry["ErrorCode"] for entry in document["Records"]] == [CODE, CODE]
    assert len(world.sent) == 1


async def test_what_the_emulator_itself_did_not_take_counts_as_well() -> None:
    """Its failure and the one of the limit."""
    world = behind(write_records=1)
    world.answers["PutRecords"] = {"FailedRecordCount": 1, "Records": [{"ErrorCode": "InternalFailure"}]}
    _, document = await put(world, record("a"), record("b"))
    assert [entry["ErrorCode"] for entry in document["Records"]] == ["InternalFailure", CODE]
    assert document["FailedRecordCount"] == 2


async def test_a_put_within_the_limits_goes_on_as_it_came() -> None:
    """Its answer too."""
    world = behind()
    reply, document = await put(world, record("a"), record("b"))
    assert (reply.cause, document["FailedRecordCount"], world.limits.throttles) == (None, 0, 0)
    assert reply.headers["x-amz-crc32"] == "1"


async def test_data_and_partition_key_count() -> None:
    """Bytes, not characters of their encoding."""
    world = behind(write_bytes=10)
    assert (await put(world, record("12345678"), record("9")))[1]["FailedRecordCount"] == 1  # 9 bytes and 2
    world.now += 1
    assert (await put(world, record("12345678"), record("")))[1]["FailedRecordCount"] == 0  # 9 bytes and 1


@pytest.mark.rule("kinesis.read-calls")
async def test_readers_share_five_calls_a_second() -> None:
    """Iterators of the same shard, wherever they came from, share its limit; another shard has its own."""
    world = behind()
    iterators = []
    for shard in ("shardId-000000000000", "shardId-000000000000", "shardId-000000000001"):
        _, answer = await world.ask("kinesis", "GetShardIterator", StreamName="orders", ShardId=shard)
        iterators.append(answer["ShardIterator"])
    statuses = []
    for turn in range(6):
        reply, answer = await world.ask("kinesis", "GetRecords", ShardIterator=iterators[turn % 2])
        statuses.append(reply.status)
        iterators[turn % 2] = answer.get("NextShardIterator")
    assert statuses == [200] * 5 + [400]
    assert (reply.error, reply.cause, answer["message"]) == (CODE, LIMIT, FIRST)
    assert (await world.ask("kinesis", "GetRecords", ShardIterator=iterators[2]))[0].status == 200


@pytest.mark.rule("kinesis.read-debt")
async def test_after_a_large_read_the_next_ones_are_refused() -> None:
    """Until its size is paid off."""
    world = behind(read_bytes=10)
    world.answers["GetRecords"] = {"Records": [record("x" * 49)], "NextShardIterator": "next"}
    _, answer = await world.ask("kinesis", "GetShardIterator", StreamName="orders", ShardId="s")
    assert (await world.ask("kinesis", "GetRecords", **answer))[0].status == 200
    world.now += 4.9
    assert (await world.ask("kinesis", "GetRecords", ShardIterator="next"))[0].status == 400
    world.now += 0.1
    assert (await world.ask("kinesis", "GetRecords", ShardIterator="next"))[0].status == 200


@pytest.mark.rule("kinesis.iterator-expiry")
async def test_an_iterator_is_valid_for_five_minutes() -> None:
    """One that was handed out again counts from then."""
    world = behind()
    for wait, status in ((0.0, 200), (300.0, 200), (300.1, 400)):
        _, answer = await world.ask("kinesis", "GetShardIterator", StreamName="orders", ShardId="s")
        world.now += wait
        reply, _ = await world.ask("kinesis", "GetRecords", **answer)
        assert reply.status == status
    assert reply.error == "ExpiredIteratorException"


async def test_an_unknown_iterator_is_not_limited() -> None:
    """It may be older than the data plane."""
    world = behind(read_calls=1)
    for _ in range(3):
        assert (await world.ask("kinesis", "GetRecords", ShardIterator="old"))[0].status == 200
        world.answers["GetRecords"] = {"Records": []}  # so that it is not told of a next one


async def test_shards_are_listed_once_until_they_change() -> None:
    """And what a shard has used up stays used up, unless the stream is a new one."""
    world = behind(write_records=1)
    await put(world, record("a"))
    await put(world, record("a"))
    assert world.reads == ["orders"]
    world.limits.changed("kinesis", "UpdateShardCount", "orders")
    assert (await put(world, record("a")))[1]["FailedRecordCount"] == 1
    assert world.reads == ["orders", "orders"]
    world.limits.changed("kinesis", "CreateStream", "orders")
    assert (await put(world, record("a")))[1]["FailedRecordCount"] == 0


async def test_closed_shards_take_no_records() -> None:
    """After a merge the one open shard has the whole range."""
    world = behind(write_records=1)
    closed = [{**shard, "SequenceNumberRange": {"EndingSequenceNumber": "9"}} for shard in TWO_SHARDS["Shards"]]
    merged = {"ShardId": "merged", "HashKeyRange": {"StartingHashKey": "0"}, "SequenceNumberRange": {}}
    world.described["ListShards", "orders"] = {"Shards": [*closed, merged]}
    _, document = await put(world, record("a", LOW), record("b", HIGH))
    assert "shard merged in" in document["Records"][1]["ErrorMessage"]


async def test_an_unknown_stream_is_for_the_emulator() -> None:
    """Which is asked about it again the next time."""
    world = behind(write_records=0)
    for _ in range(2):
        reply, _ = await world.ask("kinesis", "PutRecord", StreamName="nowhere", **record("a"))
        assert reply.status == 200
    assert world.reads == ["nowhere", "nowhere"]
    assert len(world.sent) == 2


@pytest.mark.parametrize("broken", [{"Data": "YQ=="}, {"PartitionKey": 1, "Data": "YQ=="}, {"PartitionKey": "a"}, "x"])
async def test_a_malformed_record_is_for_the_emulator(broken: Any) -> None:
    """It says better what is wrong."""
    world = behind(write_records=0)
    world.answers["PutRecords"] = {}
    reply, _ = await put(world, broken)
    assert (reply.status, reply.cause, len(world.sent)) == (200, None, 1)


async def test_a_new_run_starts_with_fresh_shards() -> None:
    """Set-up does not count."""
    world = behind(write_records=1)
    await put(world, record("a"), record("b"))
    world.limits.restart()
    assert world.limits.throttles == 0
    assert (await put(world, record("a")))[1]["FailedRecordCount"] == 0
