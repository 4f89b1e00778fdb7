"""What stream mappings do beyond one batch at a time: lanes, tumbling windows, tables, pages, against fakes."""

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from poller_fakes import EPOCH, Shard, World, change, failures, now, raised, returned, virtual_time

from testbed.semantics.profiles import aws

TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-01-01T00:00:00.000"
PARTIAL = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


def _data(event: dict[str, Any]) -> list[str]:
    return [base64.b64decode(record["kinesis"]["data"]).decode() for record in event["Records"]]


def _seen(world: World) -> list[list[str]]:
    return [_data(invocation.event) for invocation in world.invoker.invocations]


def _of_key(world: World, key: str) -> list[str]:
    records = [record["kinesis"] for invocation in world.invoker.invocations for record in invocation.event["Records"]]
    return [base64.b64decode(r["data"]).decode() for r in records if r["partitionKey"] == key]


@pytest.mark.rule("stream.parallelization", "stream.poison-blocks")
@virtual_time
async def test_lanes_work_at_once_and_keep_the_order_of_each_key() -> None:
    """Up to ParallelizationFactor batches of a shard at a time; a key that fails holds up its own lane only."""
    world = World(lambda _n, event: raised() if "bad" in _data(event) else returned())
    (shard,) = world.aws.stream("s")
    first = shard.put(b"0", key="key 0")
    for i in range(1, 10):
        shard.put(b"0", key=f"key {i}")
    shard.put(b"bad", key="blocks")
    for i in range(10):
        shard.put(b"1", key=f"key {i}")
    await world.map_stream("s", ParallelizationFactor=4, BatchSize=1)
    await asyncio.sleep(60)
    assert world.invoker.most_running == 4
    finished = [i for i in range(10) if _of_key(world, f"key {i}") == ["0", "1"]]
    assert len(finished) >= 5
    assert all(_of_key(world, f"key {i}")[:1] in (["0"], []) for i in range(10))
    assert set(_of_key(world, "blocks")) == {"bad"}
    assert int(world.status.checkpoints[shard.id] or 0) >= int(first)
    await world.update(MaximumRetryAttempts=0)
    await world.until(lambda: world.status.idle, within=60)
    assert all(_of_key(world, f"key {i}") == ["0", "1"] for i in range(10))
    assert world.status.processed == 21
    await world.fleet.stop()


@pytest.mark.rule("stream.concurrency", "case.stream-concurrency")
@virtual_time
async def test_concurrency_is_shards_times_factor() -> None:
    """100 shards with a ParallelizationFactor of 2 are 200 concurrent batches."""
    world = World()
    for shard in world.aws.stream("s", shards=100):
        for i in range(40):
            shard.put(b"x", key=f"key {i}")
    world.invoker.seconds = 100
    await world.map_stream("s", ParallelizationFactor=2, BatchSize=1)
    await world.until(lambda: world.invoker.running == 200, within=30)
    await asyncio.sleep(10)
    assert world.invoker.most_running == 200
    await world.fleet.stop(grace=0)


@pytest.mark.rule("stream.checkpoint")
@virtual_time
async def test_the_checkpoint_stays_before_what_is_not_done() -> None:
    """Lanes that are ahead do not move the checkpoint of the shard over a record that is still retried."""
    world = World(lambda _n, event: raised() if "bad" in _data(event) else returned())
    (shard,) = world.aws.stream("s")
    good = shard.put(b"good", key="a")
    shard.put(b"bad", key="blocks")
    for i in range(10):
        shard.put(b"later", key=f"key {i}")
    await world.map_stream("s", ParallelizationFactor=10, BatchSize=1)
    await world.until(lambda: world.status.processed >= 8, within=30)
    assert world.status.checkpoints == {shard.id: good}
    await world.fleet.stop()


@pytest.mark.rule("stream.changes")
@virtual_time
async def test_another_factor_in_flight_loses_and_reorders_nothing() -> None:
    """The lanes at work finish first, so that the order of each key outlives the change."""
    world = World()
    (shard,) = world.aws.stream("s")
    for n in range(20):
        for i in range(5):
            shard.put(b"%d" % n, key=f"key {i}")
    await world.map_stream("s", BatchSize=3)
    await world.until(lambda: len(world.invoker.invocations) > 3)
    await world.update(ParallelizationFactor=5)
    for n in range(20, 40):
        for i in range(5):
            shard.put(b"%d" % n, key=f"key {i}")
        await asyncio.sleep(0.2)
    await world.update(ParallelizationFactor=2)
    await world.until(lambda: world.status.idle, within=60)
    assert all(_of_key(world, f"key {i}") == [str(n) for n in range(40)] for i in range(5))
    assert world.invoker.most_running > 1
    await world.fleet.stop()


@pytest.mark.rule("stream.partial-checkpoint", "case.stream-partial")
@virtual_time
async def test_of_nine_records_the_fifth_fails() -> None:
    """ReportBatchItemFailures: the records 5 to 9 are retried, those before them are done."""
    world = World(lambda n, e: failures([e["Records"][4]["kinesis"]["sequenceNumber"]] if n == 1 else []))
    (shard,) = world.aws.stream("s")
    numbers = [shard.put(b"%d" % i) for i in range(1, 10)]
    await world.map_stream("s", **PARTIAL)
    await world.until(lambda: world.status.held, within=30)
    assert (world.status.behind, world.status.checkpoints) == (5, {shard.id: numbers[3]})
    await world.until(lambda: world.status.idle, within=30)
    assert _seen(world) == [[str(i) for i in range(1, 10)], [str(i) for i in range(5, 10)]]
    await world.fleet.stop()


@pytest.mark.rule("stream.read-rate", "stream.poll-rate")
@virtual_time
async def test_a_shard_is_read_five_times_a_second_at_most() -> None:
    """With a backlog larger than a page and batches that are done at once, 0.2 s lie between two reads."""
    world = World()
    world.aws.latency = world.invoker.seconds = 0.0
    (shard,) = world.aws.stream("s")
    for _ in range(25_000):
        shard.put(b"x")
    await world.map_stream("s", BatchSize=10_000)
    started = now()
    await world.until(lambda: world.status.processed == 25_000, within=2)
    assert world.aws.count("GetRecords") == 3
    assert now() - started >= 0.4
    assert [params["Limit"] for operation, params in world.aws.calls if operation == "GetRecords"] == [10_000] * 3
    before = world.aws.count("GetRecords")
    await asyncio.sleep(10)
    assert world.aws.count("GetRecords") - before == pytest.approx(10, abs=1)
    await world.fleet.stop()


@pytest.mark.rule("stream.read-rate")
@virtual_time
async def test_large_pages_are_followed_by_a_pause() -> None:
    """After a page of 10 MiB the shard has nothing to give for 5 s: the mapping does not ask."""
    world = World()
    (shard,) = world.aws.stream("s")
    for _ in range(10):
        shard.put(bytes(1024 * 1024))
    await world.map_stream("s")
    await world.until(lambda: world.aws.count("GetRecords") == 1)
    shard.put(b"later")
    await asyncio.sleep(4.9)
    assert world.aws.count("GetRecords") == 1
    await world.until(lambda: world.aws.count("GetRecords") == 2, within=0.3)
    await world.fleet.stop()


@pytest.mark.rule("stream.batch-bytes")
@virtual_time
async def test_an_event_is_no_larger_than_six_megabytes() -> None:
    """Records of 1 MiB each, a third more in Base64: four of them fill an event."""
    world = World()
    (shard,) = world.aws.stream("s")
    for _ in range(5):
        shard.put(bytes(1024 * 1024))
    await world.map_stream("s")
    await world.until(lambda: len(world.invoker.invocations) == 2, within=10)
    assert [len(batch) for batch in _seen(world)] == [4, 1]
    await world.fleet.stop()


@virtual_time
async def test_an_event_may_be_exactly_as_large_as_a_batch() -> None:
    """What is around the records counts: four go at once where their event just fits, and not at a byte less."""
    limit, seen = aws.stream.batch_bytes, []
    source = Shard("source")
    for _ in range(4):
        source.put(b"x")
    for less in (0, 0, 1):
        world = World(profile=replace(aws, stream=replace(aws.stream, batch_bytes=limit - less)))
        world.aws.stream("s")[0].records = source.records
        await world.map_stream("s")
        await world.until(lambda world=world: world.status.processed == 4, within=10)  # type: ignore[misc]
        limit = world.invoker.most_bytes
        seen.append([len(batch) for batch in _seen(world)])
        await world.fleet.stop()
    assert seen == [[4], [4], [3, 1]]


@virtual_time
async def test_enough_in_hand_is_not_added_to() -> None:
    """A shard whose batches do not end is not read on and on."""
    world = World(lambda _n, _event: raised(), replace(aws, stream=replace(aws.stream, read_ahead=5)))
    (shard,) = world.aws.stream("s")
    for _ in range(6):
        shard.put(b"x")
    await world.map_stream("s")
    await world.until(lambda: world.status.behind == 6)
    shard.put(b"more")
    await asyncio.sleep(60)
    assert world.status.behind == 6
    await world.fleet.stop()


def _count(_number: int, event: dict[str, Any]) -> Any:
    return returned({"state": {"n": event["state"].get("n", 0) + len(event["Records"])}})


@pytest.mark.rule("stream.tumbling-window")
@virtual_time
async def test_batches_of_a_window_hand_their_state_on() -> None:
    """Each invoke gets the state of the one before; the window ends with a final invoke; the next one starts anew."""
    world = World(_count)
    (shard,) = world.aws.stream("s")
    for data in (b"a", b"b", b"c"):
        shard.put(data)
    await world.map_stream("s", TumblingWindowInSeconds=30, BatchSize=2)
    await asyncio.sleep(40)
    shard.put(b"d")
    await world.until(lambda: len(world.invoker.invocations) == 4, within=5)
    events = [invocation.event for invocation in world.invoker.invocations]
    assert _seen(world) == [["a", "b"], ["c"], [], ["d"]]
    assert [event["state"] for event in events] == [{}, {"n": 2}, {"n": 3}, {}]
    assert [event["isFinalInvokeForWindow"] for event in events] == [False, False, True, False]
    assert {key: value for key, value in events[2].items() if key != "Records"} == {
        "window": {"start": "2023-11-14T22:13:00Z", "end": "2023-11-14T22:13:30Z"},
        "state": {"n": 3},
        "shardId": shard.id,
        "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
        "isFinalInvokeForWindow": True,
        "isWindowTerminatedEarly": False,
    }
    assert not world.status.idle
    await world.until(lambda: len(world.invoker.invocations) == 5, within=200)
    await world.until(lambda: world.status.idle, within=5)
    assert events[3]["window"]["start"] == "2023-11-14T22:14:00Z"
    await world.fleet.stop()


@pytest.mark.rule("stream.tumbling-window")
@virtual_time
async def test_a_failed_batch_of_a_window_keeps_the_state_before_it() -> None:
    """A function error, and an answer without state, are failed invocations: the batch is retried as it was."""
    answers = [raised(), returned({"no": "state"}), None]
    world = World(lambda n, event: answers[n - 1] if n <= len(answers) and answers[n - 1] else _count(n, event))
    (shard,) = world.aws.stream("s")
    shard.put(b"a")
    await world.map_stream("s", TumblingWindowInSeconds=30)
    await world.until(lambda: world.status.idle, within=200)
    events = [invocation.event for invocation in world.invoker.invocations]
    assert [event["state"] for event in events] == [{}, {}, {}, {"n": 1}]
    assert _seen(world) == [["a"], ["a"], ["a"], []]
    assert len(world.events("malformed response")) == 1
    await world.fleet.stop()


@pytest.mark.rule("stream.tumbling-state")
@virtual_time
async def test_a_state_that_is_too_large_ends_the_window_early() -> None:
    """Above 1 MB the final invoke comes at once, and what is left of the window starts with a fresh state."""
    world = World(lambda n, _event: returned({"state": "x" * (1024 * 1024 if n == 1 else 1)}))
    (shard,) = world.aws.stream("s")
    shard.put(b"a")
    shard.put(b"b")
    await world.map_stream("s", TumblingWindowInSeconds=30, BatchSize=1)
    await world.until(lambda: len(world.invoker.invocations) == 3, within=5)
    events = [invocation.event for invocation in world.invoker.invocations]
    assert _seen(world) == [["a"], [], ["b"]]
    assert [event["isWindowTerminatedEarly"] for event in events] == [False, True, False]
    assert [event["isFinalInvokeForWindow"] for event in events] == [False, True, False]
    assert events[2]["state"] == {}
    await world.fleet.stop()


_STATE = {"state": "x" * 4000}


def _fails_first_of_two(number: int, event: dict[str, Any]) -> Any:
    failed = [{"itemIdentifier": event["Records"][0]["kinesis"]["sequenceNumber"]}] if number == 1 else []
    return returned(_STATE | {"batchItemFailures": failed})


@pytest.mark.parametrize("handler", [lambda _n, _event: returned(_STATE), _fails_first_of_two])
@virtual_time
async def test_the_state_of_a_window_counts_as_part_of_the_event(handler: Any) -> None:
    """However much the state has grown since a batch was closed, no event is larger than the limit, none discarded."""
    world = World(handler, replace(aws, stream=replace(aws.stream, batch_bytes=10_000)))
    (shard,) = world.aws.stream("s")
    numbers = [shard.put(b"x") for _ in range(100)]
    partial = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
    await world.map_stream("s", TumblingWindowInSeconds=900, MaximumRetryAttempts=1, **partial)
    await world.until(lambda: world.status.processed == 100, within=60)
    await asyncio.sleep(10)
    numbers += [shard.put(b"x") for _ in range(30)]
    await world.until(lambda: world.status.processed == 130, within=60)
    assert 9_500 < world.invoker.most_bytes <= 10_000
    seen = [number for invocation in world.invoker.invocations for number in invocation.numbers]
    assert sorted(set(seen), key=int) == numbers
    assert not world.events("discarded")
    await world.fleet.stop()


@pytest.mark.rule("stream.tumbling-window")
@virtual_time
async def test_the_end_of_a_shard_ends_its_window() -> None:
    """The final invoke of a closed shard does not wait, and its children are read after it."""
    world = World(_count)
    parent, child = world.aws.stream("s", shards=2)
    child.parent = parent.id
    parent.put(b"p")
    parent.closed = True
    child.put(b"c")
    await world.map_stream("s", TumblingWindowInSeconds=900)
    await world.until(lambda: len(world.invoker.invocations) == 3, within=10)
    assert _seen(world) == [["p"], [], ["c"]]
    assert world.invoker.invocations[2].event["state"] == {}
    await world.fleet.stop()


@pytest.mark.rule("stream.dynamodb-poll-rate", "stream.dynamodb-source")
@virtual_time
async def test_a_table_is_polled_four_times_a_second() -> None:
    """A DynamoDB stream is a source like a Kinesis stream, at its own pace."""
    world = World()
    (shard,) = world.aws.stream(TABLE)
    shard.records.append(change("90", "a", NewImage={"id": {"S": "a"}}))
    await world.map(TABLE, StartingPosition="TRIM_HORIZON")
    await world.until(lambda: world.status.idle, within=2)
    assert world.status.checkpoints == {shard.id: "90"}
    before = world.aws.count("GetRecords")
    await asyncio.sleep(10)
    assert world.aws.count("GetRecords") - before == pytest.approx(40, abs=1)
    await world.fleet.stop()


@pytest.mark.rule("stream.dynamodb-event")
@virtual_time
async def test_the_event_of_a_table_has_the_shape_of_aws() -> None:
    """Every member that AWS documents, binary in Base64, and no image that is not there."""
    world = World()
    (shard,) = world.aws.stream(TABLE)
    image = {"id": {"S": "a"}, "b": {"B": b"\x00"}, "m": {"M": {"l": {"L": [{"BS": [b"\x01"]}, {"NULL": True}]}}}}
    ttl = {"userIdentity": {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}}
    shard.records.append(change("90", "a", "REMOVE", OldImage=image, NewImage={}) | ttl)
    await world.map(TABLE, StartingPosition="TRIM_HORIZON")
    await world.until(lambda: world.invoker.invocations)
    assert world.invoker.invocations[0].event == {
        "Records": [
            {
                "eventID": "id-90",
                "eventName": "REMOVE",
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": "us-east-1",
                "dynamodb": {
                    "ApproximateCreationDateTime": EPOCH,
                    "Keys": {"id": {"S": "a"}},
                    "OldImage": {
                        "id": {"S": "a"},
                        "b": {"B": "AA=="},
                        "m": {"M": {"l": {"L": [{"BS": ["AQ=="]}, {"NULL": True}]}}},
                    },
                    "SequenceNumber": "90",
                    "SizeBytes": 10,
                    "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
                "userIdentity": {"principalId": "dynamodb.amazonaws.com", "type": "Service"},
                "eventSourceARN": TABLE,
            }
        ]
    }
    await world.fleet.stop()


@pytest.mark.rule("stream.starting-position")
@virtual_time
async def test_latest_of_a_table_skips_what_was_there_and_nothing_after() -> None:
    """DynamoDB streams know no timestamps: an iterator that is lost before anything was read loses nothing either."""
    world = World()
    (shard,) = world.aws.stream(TABLE)
    shard.records.append(change("90", "old"))
    await asyncio.sleep(10)
    await world.map(TABLE, StartingPosition="LATEST")
    await world.until(lambda: world.status.idle)
    world.aws.refuse("GetRecords", ("ExpiredIteratorException", 400))
    shard.records.append(change("95", "new"))
    await world.until(lambda: world.status.processed == 1, within=10)
    assert [r["dynamodb"]["SequenceNumber"] for r in world.invoker.invocations[0].event["Records"]] == ["95"]
    await world.fleet.stop()


@pytest.mark.rule("stream.starting-position")
@virtual_time
async def test_a_timestamp_is_where_reading_starts() -> None:
    """AT_TIMESTAMP: what arrived before it is not read."""
    world = World()
    (shard,) = world.aws.stream("s")
    shard.put(b"old")
    await asyncio.sleep(10)
    shard.put(b"new")
    at = shard.records[1]["ApproximateArrivalTimestamp"]
    await world.map_stream("s", StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=at)
    await world.until(lambda: world.status.idle, within=5)
    assert _seen(world) == [["new"]]
    await world.fleet.stop()


@pytest.mark.rule("stream.dynamodb-parallelization")
@virtual_time
async def test_changes_of_an_item_stay_in_order() -> None:
    """With several lanes the changes of one item go to one of them."""
    world = World()
    (shard,) = world.aws.stream(TABLE)
    for n in range(40):
        shard.records.append(change(str(100 + n), f"item {n % 8}"))
    await world.map(TABLE, StartingPosition="TRIM_HORIZON", ParallelizationFactor=4, BatchSize=1)
    await world.until(lambda: world.status.idle, within=30)
    assert world.invoker.most_running > 1
    seen: dict[str, list[int]] = {}
    for invocation in world.invoker.invocations:
        record = invocation.event["Records"][0]["dynamodb"]
        seen.setdefault(record["Keys"]["id"]["S"], []).append(int(record["SequenceNumber"]))
    assert all(numbers == sorted(numbers) for numbers in seen.values())
    assert sum(map(len, seen.values())) == 40
    await world.fleet.stop()


@pytest.mark.rule("stream.filter")
@virtual_time
async def test_what_the_filters_leave_out_is_done() -> None:
    """Records that do not match are neither handed over nor in the way of the checkpoint."""
    world = World()
    (shard,) = world.aws.stream("s")
    for n in range(4):
        shard.put(json.dumps({"n": n}).encode())
    pattern = json.dumps({"data": {"n": [{"numeric": ["<", 2]}]}})
    await world.map_stream("s", FilterCriteria={"Filters": [{"Pattern": pattern}]})
    await world.until(lambda: world.status.idle, within=5)
    assert _seen(world) == [['{"n": 0}', '{"n": 1}']]
    assert world.status.checkpoints[shard.id] == shard.records[-1]["SequenceNumber"]
    assert world.events("filtered")[0]["records"] == 2
    await world.fleet.stop()


@pytest.mark.rule("stream.filter")
@virtual_time
async def test_filters_see_the_images_of_a_table() -> None:
    """Patterns of a DynamoDB stream look into the dynamodb member and at the name of the event."""
    world = World()
    (shard,) = world.aws.stream(TABLE)
    shard.records.append(change("90", "a", "INSERT", NewImage={"n": {"N": "1"}}))
    shard.records.append(change("95", "b", "MODIFY", NewImage={"n": {"N": "1"}}))
    pattern = json.dumps({"eventName": ["MODIFY"], "dynamodb": {"NewImage": {"n": {"N": ["1"]}}}})
    await world.map(TABLE, StartingPosition="TRIM_HORIZON", FilterCriteria={"Filters": [{"Pattern": pattern}]})
    await world.until(lambda: world.status.idle, within=5)
    assert [r["eventName"] for i in world.invoker.invocations for r in i.event["Records"]] == ["MODIFY"]
    await world.fleet.stop()


@pytest.mark.rule("stream.expiry")
@virtual_time
async def test_a_record_that_expired_in_the_stream_blocks_no_more() -> None:
    """A batch that is retried for ever is given up when the stream no longer has it."""
    world = World(lambda _n, event: raised() if "bad" in _data(event) else returned())
    world.aws.retention_hours = 0.5
    (shard,) = world.aws.stream("s")
    shard.put(b"bad")
    await world.map_stream("s")
    await asyncio.sleep(1800 - 60)
    assert not world.events("discarded")
    shard.put(b"next")
    await world.until(lambda: ["next"] in _seen(world), within=200)
    assert len(world.events("discarded")) == 1
    await world.fleet.stop()


@pytest.mark.rule("stream.iterator-age")
@virtual_time
async def test_the_age_of_a_batch_is_that_of_its_last_record() -> None:
    """IteratorAge is journalled in milliseconds, with what the records waited before they were read."""
    world = World()
    (shard,) = world.aws.stream("s")
    shard.put(b"older")
    await asyncio.sleep(10)
    shard.put(b"a")
    await asyncio.sleep(3)
    await world.map_stream("s")
    await world.until(lambda: world.events("batch"))
    assert world.events("batch")[0]["iterator_age_ms"] == pytest.approx(3000, abs=20)
    await world.fleet.stop()


@pytest.mark.rule("stream.destination-s3")
@virtual_time
async def test_a_bucket_gets_the_event() -> None:
    """Under AWS's key, whose last part is the same for the same batch."""
    ends = set()
    for _ in range(2):
        world = World(lambda _n, _event: raised())
        (shard,) = world.aws.stream("s")
        shard.put(b"bad")
        destination = {"OnFailure": {"Destination": "arn:aws:s3:::bucket"}}
        await world.map_stream("s", MaximumRetryAttempts=0, DestinationConfig=destination)
        await world.until(lambda world=world: world.aws.objects, within=5)  # type: ignore[misc]
        ((key, stored),) = world.aws.objects.items()
        document = json.loads(stored["Body"])
        assert stored["Bucket"] == "bucket"
        assert key.startswith("aws/lambda/u-1/shardId-000000000000/2023/11/14/2023-11-14T22.13.2")
        assert document["payload"] == world.invoker.invocations[0].event
        assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"
        ends.add(key[-36:])
        await world.fleet.stop()
    assert len(ends) == 1


@virtual_time
async def test_a_crash_in_a_lane_is_seen() -> None:
    """A bug ends the shard's reader with a line in the journal, not in silence."""
    world = World(lambda _n, _event: returned({"state": 1 / 0}))
    (shard,) = world.aws.stream("s")
    shard.put(b"a")
    await world.map_stream("s")
    await world.until(lambda: world.events("error"), within=5)
    assert "ZeroDivisionError" in world.events("error")[0]["reason"]
    await world.fleet.stop()
