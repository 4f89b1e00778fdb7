"""What the fleet makes of the listed mappings."""

import asyncio
import logging

import pytest
from poller_fakes import World, virtual_time

from testbed.compute.pollers.mapping import Mapping


@virtual_time
async def test_what_is_not_supported_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A field that the pollers do not act on is journalled and warned of, and the mapping still runs."""
    world = World()
    (shard,) = world.aws.stream("s")
    shard.put(b"a")
    with caplog.at_level(logging.WARNING):
        await world.map_stream("s", DestinationConfig={"OnFailure": {"Destination": "arn:aws:events:us-east-1:0:bus"}})
        await world.update(BatchSize=5)
    await world.until(lambda: world.invoker.invocations)
    assert [event["field"] for event in world.events("unsupported")] == ["DestinationConfig"]
    assert len([r for r in caplog.records if "DestinationConfig" in r.getMessage()]) == 1
    await world.fleet.stop()


@virtual_time
async def test_a_source_of_another_kind_is_said_to_be_unsupported() -> None:
    """A mapping of a Kafka cluster is not polled, and not passed over in silence."""
    world = World()
    await world.map("arn:aws:kafka:us-east-1:000000000000:cluster/c/1")
    assert [event["field"] for event in world.events("unsupported")] == ["EventSourceArn"]
    assert world.fleet.status() == []


@virtual_time
async def test_neutral_values_are_no_request_for_anything() -> None:
    """What LocalStack lists for an ordinary mapping warns of nothing."""
    world = World()
    world.aws.stream("s")
    await world.map_stream(
        "s",
        ParallelizationFactor=1,
        TumblingWindowInSeconds=0,
        DestinationConfig={"OnFailure": {}},
        MaximumRetryAttempts=-1,
        MaximumRecordAgeInSeconds=-1,
        FilterCriteria={"Filters": []},
        FunctionResponseTypes=[],
        BisectBatchOnFunctionError=False,
    )
    assert world.events("unsupported") == []
    await world.fleet.stop()


@virtual_time
async def test_the_same_listing_twice_changes_nothing() -> None:
    """Reconciling again neither restarts a poller nor looks anything up again."""
    world = World()
    queue = world.aws.queue("q")
    await world.map_queue("q")
    await world.until(lambda: queue.waiting == 5)
    calls = len(world.aws.calls)
    await world.update()
    await asyncio.sleep(5)
    assert len(world.aws.calls) == calls
    await world.fleet.stop()


@virtual_time
async def test_a_bug_in_a_loop_is_seen_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is journalled and logged; a new loop takes over, and the message is delivered again."""
    world = World()
    queue = world.aws.queue("q", visibility_timeout=5)
    queue.send("a")
    answer = world.invoker.handler
    world.invoker.handler = lambda _number, _event: 1 / 0  # type: ignore[assignment,return-value]
    await world.map_queue("q")
    await world.until(lambda: world.events("error"))
    world.invoker.handler = answer
    await world.until(lambda: not queue.messages)
    assert "poller failed" in caplog.text
    await world.fleet.stop()


def test_names_are_read_from_arns() -> None:
    """Stream, queue and function names, also with an alias and a consumer."""
    stream = Mapping.parse(
        {
            "UUID": "u",
            "EventSourceArn": "arn:aws:kinesis:eu-west-1:1:stream/s/consumer/c:1",
            "FunctionArn": "arn:aws:lambda:eu-west-1:1:function:f:alias",
        }
    )
    assert (stream.service, stream.region, stream.source, stream.function) == ("kinesis", "eu-west-1", "s", "f")


@virtual_time
async def test_what_is_left_of_mappings_that_are_gone_can_be_ended() -> None:
    """A long poll would go on for 20 s, and its queue count as something that is still to be drained."""
    world = World()
    world.aws.queue("q")
    await world.map_queue("q")
    await world.until(lambda: world.aws.count("ReceiveMessage"))
    await world.fleet.reconcile([])
    assert [status.source.rpartition(":")[2] for status in world.fleet.status()] == ["q"]
    began = asyncio.get_running_loop().time()
    await world.fleet.end_retiring()
    await asyncio.sleep(0)
    assert asyncio.get_running_loop().time() - began < 1
    assert world.fleet.status() == []
