"""The poller of Kinesis mappings, against a stream in memory and in virtual time."""

import asyncio
import base64
import json
from typing import Any

import pytest
from poller_fakes import EPOCH, World, failures, now, raised, returned, throttled, virtual_time

PARTIAL = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
DEAD = {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:dead"}}}


def _data(event: dict[str, Any]) -> list[bytes]:
    return [base64.b64decode(record["kinesis"]["data"]) for record in event["Records"]]


def _fail_from_bad(_number: int, event: dict[str, Any]) -> Any:
    """A good handler: stop at the first bad record and report it."""
    bad = [r["kinesis"]["sequenceNumber"] for r in event["Records"] if base64.b64decode(r["kinesis"]["data"]) == b"bad"]
    return failures(bad[:1])


def _raise_on_bad(_number: int, event: dict[str, Any]) -> Any:
    return raised() if b"bad" in _data(event) else returned()


def _seen(world: World) -> list[list[bytes]]:
    return [_data(invocation.event) for invocation in world.invoker.invocations]


@pytest.mark.rule("stream.batch")
@virtual_time
async def test_records_are_processed_in_order_and_once() -> None:
    """Each shard is read in its order, in batches of BatchSize at most, until nothing is left."""
    world = World()
    shards = world.aws.stream("s", shards=2)
    for i in range(25):
        shards[0].put(b"a%02d" % i)
        shards[1].put(b"b%02d" % i)
    await world.map_stream("s", BatchSize=10)
    await world.until(lambda: world.status.idle, within=5)
    records = [data for batch in _seen(world) for data in batch]
    assert [r for r in records if r[:1] == b"a"] == [b"a%02d" % i for i in range(25)]
    assert [r for r in records if r[:1] == b"b"] == [b"b%02d" % i for i in range(25)]
    assert max(len(batch) for batch in _seen(world)) == 10
    await world.fleet.stop()


@pytest.mark.rule("stream.poll-rate")
@virtual_time
async def test_full_reads_follow_each_other_and_others_wait_a_second() -> None:
    """A backlog is read without a pause; a shard that has nothing more is polled once per second."""
    world = World()
    (shard,) = world.aws.stream("s")
    for i in range(100):
        shard.put(b"%d" % i)
    await world.map_stream("s", BatchSize=10)
    await world.until(lambda: len(world.invoker.invocations) == 10, within=0.8)
    await asyncio.sleep(2)
    before = world.aws.count("GetRecords")
    await asyncio.sleep(10)
    assert world.aws.count("GetRecords") - before == pytest.approx(10, abs=1)
    arns = {params["StreamARN"] for operation, params in world.aws.calls if operation == "GetRecords"}
    assert arns == {"arn:aws:kinesis:us-east-1:000000000000:stream/s"}  # a fault of one stream must know its polls
    await world.fleet.stop()


@pytest.mark.rule("stream.poison-blocks")
@virtual_time
async def test_a_failing_batch_blocks_its_shard_only() -> None:
    """With the default settings a poison record is retried for ever, its shard waits, the other one goes on."""
    world = World(_raise_on_bad)
    blocked, free = world.aws.stream("s", shards=2)
    blocked.put(b"bad")
    await world.map_stream("s")
    await world.until(lambda: len(world.invoker.invocations) > 3)
    blocked.put(b"behind")
    free.put(b"ok")
    await asyncio.sleep(300)
    assert [b"ok"] in _seen(world)
    assert [b"behind"] not in _seen(world)
    assert (world.status.behind, world.status.in_flight, world.status.idle) == (2, 1, False)
    await world.fleet.stop()


@pytest.mark.rule("stream.retries", "stream.destination-metadata", "case.stream-retries")
@virtual_time
async def test_retries_end_and_the_on_failure_destination_is_told() -> None:
    """X retries are X + 1 attempts; then the batch is discarded, described in the queue, and the shard moves on."""
    world = World(_raise_on_bad)
    dead = world.aws.queue("dead")
    (shard,) = world.aws.stream("s")
    first = shard.put(b"ok")
    last = shard.put(b"bad")
    await world.map_stream("s", MaximumRetryAttempts=2, **DEAD)
    await world.until(lambda: world.status.idle)
    shard.put(b"next")
    await world.until(lambda: [b"next"] in _seen(world))
    assert _seen(world) == [[b"ok", b"bad"]] * 3 + [[b"next"]]
    (message,) = dead.messages.values()
    record = json.loads(message.body)
    timestamp = record.pop("timestamp")
    assert timestamp.startswith("2023-11-14T22:13:")
    assert record == {
        "requestContext": {
            "requestId": "r-1",
            "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 3,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "KinesisBatchInfo": {
            "shardId": "shardId-000000000000",
            "startSequenceNumber": first,
            "endSequenceNumber": last,
            "approximateArrivalOfFirstRecord": "2023-11-14T22:13:20.000Z",
            "approximateArrivalOfLastRecord": "2023-11-14T22:13:20.000Z",
            "batchSize": 2,
            "streamArn": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
        },
    }
    await world.fleet.stop()


@pytest.mark.rule("stream.bisect", "stream.partial-bisect")
@pytest.mark.parametrize(("handler", "options"), [(_fail_from_bad, PARTIAL), (_raise_on_bad, {})])
@virtual_time
async def test_bisect_dead_letters_exactly_the_poison(handler: Any, options: dict[str, Any]) -> None:
    """Splitting isolates a bad record, so that nothing else is discarded, with and without partial responses."""
    world = World(handler)
    dead = world.aws.queue("dead")
    (shard,) = world.aws.stream("s")
    good = [b"%d" % i for i in range(30)]
    poison = [shard.put(data) for data in [*good[:7], b"bad", *good[7:8], b"bad", *good[8:]] if data]
    numbers = {poison[7], poison[9]}
    await world.map_stream("s", BisectBatchOnFunctionError=True, MaximumRetryAttempts=1, **DEAD, **options)
    await world.until(lambda: world.status.idle, within=60)
    infos = [json.loads(message.body)["KinesisBatchInfo"] for message in dead.messages.values()]
    assert {info["startSequenceNumber"] for info in infos} == numbers
    assert all(info["batchSize"] == 1 for info in infos)
    processed = [data for batch in _seen(world) if b"bad" not in batch for data in batch]
    if not options:
        assert sorted(processed) == sorted(good)
    await world.fleet.stop()


@pytest.mark.rule("stream.partial-checkpoint")
@virtual_time
async def test_a_partial_failure_is_retried_from_the_lowest_sequence_number() -> None:
    """Records before the lowest reported number are done; the comparison is by number, not by text."""
    world = World(lambda number, event: failures([] if number > 1 else _numbers(event)[1:3][::-1]))
    (shard,) = world.aws.stream("s")
    for data in (b"90", b"95", b"100"):
        shard.put(data)
    await world.map_stream("s", **PARTIAL)
    await world.until(lambda: world.status.idle)
    assert _seen(world) == [[b"90", b"95", b"100"], [b"95", b"100"]]
    await world.fleet.stop()


def _numbers(event: dict[str, Any]) -> list[str]:
    return [record["kinesis"]["sequenceNumber"] for record in event["Records"]]


@pytest.mark.rule("stream.partial-shapes", "stream.partial-unknown")
@pytest.mark.parametrize(
    ("answer", "attempts"),
    [
        (b"oops", 2),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, 2),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, 2),
        ({"batchItemFailures": [{"id": "1"}]}, 2),
        ({"batchItemFailures": [{"itemIdentifier": "1"}]}, 2),  # not in the batch
        (b"null", 1),
        ({}, 1),
        ({"batchItemFailures": []}, 1),
        ({"batchItemFailures": None}, 1),
    ],
)
@virtual_time
async def test_an_answer_without_failures_is_a_success_and_a_malformed_one_fails_the_whole_batch(
    answer: object, attempts: int
) -> None:
    """An answer that cannot be trusted moves no checkpoint."""
    world = World(lambda number, _event: returned(answer if number == 1 else None))
    (shard,) = world.aws.stream("s")
    shard.put(b"a")
    shard.put(b"b")
    await world.map_stream("s", **PARTIAL)
    await world.until(lambda: world.status.idle)
    assert _seen(world) == [[b"a", b"b"]] * attempts
    assert len(world.events("malformed response")) == attempts - 1
    await world.fleet.stop()


@pytest.mark.rule("stream.throttles")
@virtual_time
async def test_throttles_use_up_no_retry() -> None:
    """With no retries allowed, a batch that is throttled often is still processed."""
    world = World(lambda number, _event: throttled() if number < 10 else returned())
    (shard,) = world.aws.stream("s")
    shard.put(b"a")
    await world.map_stream("s", MaximumRetryAttempts=0)
    await world.until(lambda: world.status.idle)
    assert len(world.events("throttled")) == 9
    assert not world.events("discarded")
    await world.fleet.stop()


@pytest.mark.rule("stream.record-age")
@virtual_time
async def test_records_that_are_too_old_are_discarded() -> None:
    """MaximumRecordAgeInSeconds ends the retries for ever of a batch."""
    world = World(_raise_on_bad)
    world.aws.queue("dead")
    (shard,) = world.aws.stream("s")
    shard.put(b"bad")
    await world.map_stream("s", MaximumRecordAgeInSeconds=60, **DEAD)
    await world.until(lambda: world.status.idle, within=100)
    (event,) = world.events("discarded")
    assert (event["reason"], event["records"]) == ("RecordAgeExceeded", 1)
    assert len(world.aws.queues["dead"].messages) == 1
    await world.fleet.stop()


@virtual_time
async def test_the_destination_is_tried_until_it_takes_the_record() -> None:
    """A throttled on-failure queue delays the shard; the record of what was discarded is not lost."""
    world = World(_raise_on_bad)
    dead = world.aws.queue("dead")
    world.aws.refuse("SendMessage", ("RequestThrottled", 403), ("InternalError", 500), ("ConnectionError", 0))
    (shard,) = world.aws.stream("s")
    shard.put(b"bad")
    await world.map_stream("s", MaximumRetryAttempts=0, **DEAD)
    await world.until(lambda: world.status.idle)
    assert len(dead.messages) == 1
    await world.fleet.stop()


@virtual_time
async def test_what_the_destination_does_not_know_of_is_not_done() -> None:
    """While the on-failure record is not delivered, its records count as still in the stream, not as lost."""
    world = World(_raise_on_bad)
    world.aws.queue("dead")
    world.aws.refuse("SendMessage", *[("RequestThrottled", 403)] * 5)
    (shard,) = world.aws.stream("s")
    good = shard.put(b"ok")
    bad = shard.put(b"bad")
    await world.map_stream("s", MaximumRetryAttempts=0, BisectBatchOnFunctionError=True, **DEAD)
    await world.until(lambda: world.aws.count("SendMessage") == 3)
    status = world.status
    assert (status.behind, status.processed, status.checkpoints) == (1, 1, {shard.id: good})
    await world.until(lambda: world.status.idle)
    status = world.status
    assert (status.behind, status.processed, status.checkpoints) == (0, 2, {shard.id: bad})
    await world.fleet.stop()


@virtual_time
async def test_a_missing_destination_is_journalled() -> None:
    """A destination that refuses for good does not block the shard, and is not passed over in silence."""
    world = World(_raise_on_bad)
    (shard,) = world.aws.stream("s")
    shard.put(b"bad")
    await world.map_stream("s", MaximumRetryAttempts=0, **DEAD)
    await world.until(lambda: world.status.idle)
    assert len(world.events("destination failed")) == 1
    await world.fleet.stop()


@virtual_time
async def test_a_topic_can_be_the_destination() -> None:
    """SNS gets the same record as a message."""
    world = World(_raise_on_bad)
    (shard,) = world.aws.stream("s")
    shard.put(b"bad")
    topic = "arn:aws:sns:us-east-1:000000000000:t"
    await world.map_stream("s", MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": topic}})
    await world.until(lambda: world.aws.published)
    assert world.aws.published[0]["TopicArn"] == topic
    assert "KinesisBatchInfo" in json.loads(world.aws.published[0]["Message"])
    await world.fleet.stop()


@virtual_time
async def test_refused_reads_lose_and_repeat_nothing() -> None:
    """Throttled reads keep the iterator, an expired one is replaced after the last record that was read."""
    world = World()
    (shard,) = world.aws.stream("s")
    shard.put(b"a")
    await world.map_stream("s")
    await world.until(lambda: world.status.idle)
    world.aws.refuse(
        "GetRecords",
        ("ProvisionedThroughputExceededException", 400),
        ("ExpiredIteratorException", 400),
        ("ConnectionError", 0),
    )
    shard.put(b"b")
    await world.until(lambda: len(world.invoker.invocations) == 2)
    await world.until(lambda: world.status.idle)
    assert _seen(world) == [[b"a"], [b"b"]]
    types = [p["ShardIteratorType"] for operation, p in world.aws.calls if operation == "GetShardIterator"]
    assert types == ["TRIM_HORIZON", "AFTER_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"]
    await world.fleet.stop()


@pytest.mark.rule("stream.starting-position")
@virtual_time
async def test_latest_skips_what_was_there_and_nothing_after() -> None:
    """LATEST reads what comes after the mapping, also when its first iterator is lost before anything was read."""
    world = World()
    (shard,) = world.aws.stream("s")
    shard.put(b"old")
    await asyncio.sleep(10)
    await world.map_stream("s", StartingPosition="LATEST")
    await world.until(lambda: world.status.idle)
    world.aws.refuse("GetRecords", ("ExpiredIteratorException", 400))
    shard.put(b"new")
    await world.until(lambda: world.invoker.invocations)
    await world.until(lambda: world.status.idle)
    assert _seen(world) == [[b"new"]]
    await world.fleet.stop()


@pytest.mark.rule("stream.resharding")
@virtual_time
async def test_parents_are_finished_before_their_children_are_read() -> None:
    """After a split the records of the closed parent come first, and the children from their beginning."""
    world = World()
    parent, child = world.aws.stream("s", shards=2)
    child.parent = parent.id
    for i in range(3):
        parent.put(b"p%d" % i)
    child.put(b"c")
    await world.map_stream("s", BatchSize=1)
    await asyncio.sleep(60)
    assert _seen(world) == [[b"p0"], [b"p1"], [b"p2"]]
    assert world.status.idle
    parent.closed = True
    await world.until(lambda: [b"c"] in _seen(world), within=3)
    await world.until(lambda: world.status.idle)
    await world.fleet.stop()


@pytest.mark.rule("stream.window")
@virtual_time
async def test_the_window_collects_a_batch() -> None:
    """Records of several reads become one batch, which goes when the window ends."""
    world = World()
    (shard,) = world.aws.stream("s")
    await world.map_stream("s", MaximumBatchingWindowInSeconds=5)
    for i in range(4):
        shard.put(b"%d" % i)
        await asyncio.sleep(1)
    await world.until(lambda: world.invoker.invocations, within=4)
    assert _seen(world) == [[b"0", b"1", b"2", b"3"]]
    await world.fleet.stop()


@virtual_time
async def test_caught_up_covers_what_was_put_before() -> None:
    """The status tells since when nothing can be missing, so that a drain need not guess."""
    world = World()
    shards = world.aws.stream("s", shards=2)
    await world.map_stream("s")
    await world.until(lambda: world.status.idle)
    put_at = now()
    shards[1].put(b"a")
    assert (world.status.caught_up_at or put_at) < put_at
    await world.until(lambda: (world.status.caught_up_at or 0) > put_at, within=3)
    assert _seen(world) == [[b"a"]]
    assert world.status.behind == 0
    await world.fleet.stop()


@pytest.mark.rule("stream.changes")
@virtual_time
async def test_a_disabled_mapping_goes_on_where_it_stopped() -> None:
    """Disable and enable keep the checkpoint: nothing is lost and nothing repeated."""
    world = World()
    (shard,) = world.aws.stream("s")
    shard.put(b"a")
    await world.map_stream("s")
    await world.until(lambda: world.status.idle)
    await world.update(State="Disabled")
    await asyncio.sleep(2)
    shard.put(b"b")
    await asyncio.sleep(60)
    assert _seen(world) == [[b"a"]]
    await world.update(State="Enabled")
    await world.until(lambda: len(world.invoker.invocations) == 2, within=1.1)
    assert _seen(world) == [[b"a"], [b"b"]]
    await world.fleet.stop()


@virtual_time
async def test_an_update_frees_a_blocked_shard() -> None:
    """A mapping that retries for ever can be told to give up, and then does."""
    world = World(_raise_on_bad)
    (shard,) = world.aws.stream("s")
    shard.put(b"bad")
    await world.map_stream("s")
    await world.until(lambda: len(world.invoker.invocations) == 3)
    await world.update(MaximumRetryAttempts=0)
    await world.until(lambda: world.status.idle, within=10)
    assert len(world.events("discarded")) == 1
    await world.fleet.stop()


@pytest.mark.rule("stream.changes")
@virtual_time
async def test_a_removed_mapping_finishes_its_attempt_and_leaves_nothing_running() -> None:
    """The invoke in flight ends; nothing is read after it."""
    world = World(_raise_on_bad)
    world.invoker.seconds = 3
    (shard,) = world.aws.stream("s")
    shard.put(b"bad")
    await world.map_stream("s")
    await world.until(lambda: world.invoker.running)
    await world.fleet.reconcile([])
    await world.until(lambda: not world.fleet.status(), within=4)
    assert len(world.events("batch")) == 1
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.rule("stream.event")
@virtual_time
async def test_the_event_has_the_shape_of_aws() -> None:
    """Every member that AWS documents."""
    world = World()
    (shard,) = world.aws.stream("s")
    number = shard.put(b"\x00data", key="p")
    await world.map_stream("s")
    await world.until(lambda: world.invoker.invocations)
    assert world.invoker.invocations[0].event == {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": "p",
                    "sequenceNumber": number,
                    "data": base64.b64encode(b"\x00data").decode(),
                    "approximateArrivalTimestamp": EPOCH,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"shardId-000000000000:{number}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::000000000000:role/r",
                "awsRegion": "us-east-1",
                "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
            }
        ]
    }
    await world.fleet.stop()


@virtual_time
@pytest.mark.parametrize("operation", ["GetShardIterator", "GetRecords", "ListShards"])
async def test_lost_answers_neither_lose_nor_double_records(operation: str) -> None:
    """Reading changes nothing: it is read again from where the last page ended."""
    world = World()
    (shard,) = world.aws.stream("s")
    for number in range(5):
        shard.put(b"%d" % number)
    world.aws.lose(operation, 2)
    await world.map_stream("s")
    await world.until(lambda: world.status.idle)
    world.aws.lose(operation)
    shard.put(b"5")
    await asyncio.sleep(30)
    assert [data for batch in _seen(world) for data in batch] == [b"%d" % number for number in range(6)]
    await world.fleet.stop()


@virtual_time
async def test_latest_is_where_the_first_attempt_was() -> None:
    """What comes before the second one is read too."""
    world = World()
    (shard,) = world.aws.stream("s")
    world.aws.lose("GetShardIterator")
    await world.map_stream("s", StartingPosition="LATEST")
    await world.until(lambda: world.aws.count("GetShardIterator") == 1)
    await asyncio.sleep(world.aws.latency + 0.01)
    shard.put(b"new")
    await world.until(lambda: world.invoker.invocations)
    assert _seen(world) == [[b"new"]]
    await world.fleet.stop()
