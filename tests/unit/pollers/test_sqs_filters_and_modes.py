"""Filters, FIFO queues and provisioned mode of SQS mappings, against a queue in memory and in virtual time."""

import asyncio
import json
from typing import Any

import pytest
from poller_fakes import ACCOUNT, World, failures, now, raised, returned, virtual_time

from testbed.compute.result import InvokeResult

BUYS = {"Filters": [{"Pattern": json.dumps({"body": {"type": ["buy"]}})}]}
PARTIAL = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


@pytest.mark.rule("sqs-mapping.filter-deletes")
@virtual_time
async def test_what_no_filter_lets_through_is_deleted_and_counted() -> None:
    """The function sees the others only; both are gone from the queue, and nothing comes back."""
    world = World()
    queue = world.aws.queue("q", visibility_timeout=5)
    for i in range(12):
        queue.send(json.dumps({"type": "buy" if i % 3 == 0 else "sell", "i": i}))
    queue.send("not json")
    await world.map_queue("q", FilterCriteria=BUYS)
    await world.until(lambda: not queue.messages)
    await asyncio.sleep(20)
    seen = [json.loads(body) for invocation in world.invoker.invocations for body in invocation.bodies]
    assert sorted(each["i"] for each in seen) == [0, 3, 6, 9]
    assert sum(event["records"] for event in world.events("filtered")) == 9
    await world.fleet.stop()


@virtual_time
async def test_changed_filters_hold_for_what_is_received_then() -> None:
    """UpdateEventSourceMapping with other filters, or with none."""
    world = World()
    queue = world.aws.queue("q")
    sell = json.dumps({"type": "sell"})
    await world.map_queue("q", FilterCriteria=BUYS)
    queue.send(sell)
    await world.until(lambda: not queue.messages)
    assert world.invoker.invocations == []
    await world.update(FilterCriteria={})
    queue.send(sell)
    await world.until(lambda: not queue.messages)
    assert [i.bodies for i in world.invoker.invocations] == [[sell]]
    await world.fleet.stop()


@virtual_time
async def test_a_filter_leaves_room_in_the_batch() -> None:
    """A window goes on collecting until the batch is full of what is let through."""
    world = World()
    queue = world.aws.queue("q", visibility_timeout=100)
    for i in range(40):
        queue.send(json.dumps({"type": "buy" if i % 2 else "sell", "i": i}))
    options = {"MaximumBatchingWindowInSeconds": 5, "ScalingConfig": {"MaximumConcurrency": 2}}
    await world.map_queue("q", FilterCriteria=BUYS, **options)
    await world.until(lambda: not queue.messages)
    assert [len(i.bodies) for i in world.invoker.invocations] == [10, 10]
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.fifo-concurrency", "case.fifo-groups")
@pytest.mark.parametrize(("maximum", "running"), [(10, 6), (4, 4)])
@virtual_time
async def test_a_fifo_queue_runs_as_many_as_it_has_groups(maximum: int, running: int) -> None:
    """Developer guide: six groups and a MaximumConcurrency of 10 are six at once; of 4, four."""
    world = World()
    world.invoker.seconds = 2
    queue = world.aws.queue("q.fifo", fifo=True)
    for group in "abcdef":
        for i in range(40):
            queue.send(f"{group}{i}", MessageGroupId=group)
    await world.map_queue("q.fifo", ScalingConfig={"MaximumConcurrency": maximum})
    await world.until(lambda: not queue.messages)
    assert world.invoker.most_running == running
    for group in "abcdef":
        seen = [body for i in world.invoker.invocations for body in i.bodies if body[0] == group]
        assert seen == [f"{group}{i}" for i in range(40)]
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.fifo-retry")
@virtual_time
async def test_a_failed_group_is_retried_before_its_later_messages() -> None:
    """A batch holds several groups, each in order; what failed comes again before anything that is behind it."""
    world = World(lambda number, _event: raised() if number == 1 else returned())
    queue = world.aws.queue("q.fifo", visibility_timeout=5, fifo=True)
    for i in range(4):
        for group in "ab":
            queue.send(f"{group}{i}", MessageGroupId=group)
    await world.map_queue("q.fifo")
    await world.until(lambda: world.invoker.invocations)
    for group in "ab":
        queue.send(f"{group}4", MessageGroupId=group)
    await world.until(lambda: not queue.messages)
    batches = [i.bodies for i in world.invoker.invocations]
    assert sorted(batches[0]) == ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"]
    for group in "ab":
        seen = [body for batch in batches for body in batch if body[0] == group]
        assert seen == [f"{group}{i}" for i in (0, 1, 2, 3, 0, 1, 2, 3, 4)]
    await world.fleet.stop()


def _stops_at_first(number: int, event: dict[str, Any]) -> InvokeResult:
    """As AWS advises for FIFO queues: the first failure and all that were not processed after it."""
    bodies = [record["body"] for record in event["Records"]]
    at = bodies.index("a2") if number == 1 else len(bodies)
    return failures(record["messageId"] for record in event["Records"][at:])


def _goes_on(number: int, event: dict[str, Any]) -> InvokeResult:
    return failures(r["messageId"] for r in event["Records"] if r["body"] == "a2" and number == 1)


@pytest.mark.rule("sqs-mapping.fifo-partial")
@pytest.mark.parametrize(
    ("handler", "processed"),
    [
        (_stops_at_first, ["a0", "a1", "a2", "a3", "a4"]),
        (_goes_on, ["a0", "a1", "a3", "a4", "a2"]),
    ],
)
@virtual_time
async def test_partial_responses_of_a_fifo_queue_keep_the_order_only_where_the_function_stops(
    handler: Any, processed: list[str]
) -> None:
    """Developer guide: the function has to stop at the first failure and return the rest, else the order breaks."""
    done: list[str] = []

    def handle(number: int, event: dict[str, Any]) -> InvokeResult:
        answer: InvokeResult = handler(number, event)
        failed = {each["itemIdentifier"] for each in json.loads(answer.payload)["batchItemFailures"]}
        done.extend(record["body"] for record in event["Records"] if record["messageId"] not in failed)
        return answer

    world = World(handle)
    queue = world.aws.queue("q.fifo", visibility_timeout=5, fifo=True)
    for i in range(5):
        queue.send(f"a{i}", MessageGroupId="a")
    await world.map_queue("q.fifo", **PARTIAL)
    await world.until(lambda: not queue.messages)
    assert done == processed
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.long-polling")
@virtual_time
async def test_an_idle_mapping_receives_fifteen_times_a_minute() -> None:
    """Five pollers, each of which waits for 20 s in SQS."""
    world = World()
    world.aws.queue("q")
    await world.map_queue("q")
    await asyncio.sleep(0.5)
    count = world.aws.count("ReceiveMessage")
    assert count == 5
    await asyncio.sleep(60)
    assert world.aws.count("ReceiveMessage") - count == 15
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.provisioned")
@virtual_time
async def test_provisioned_pollers_run_ten_invokes_each() -> None:
    """From MinimumPollers at once up to MaximumPollers, as fast as 1,000 per minute."""
    world = World()
    world.invoker.seconds = 1000
    queue = world.aws.queue("q", visibility_timeout=10_000)
    for i in range(300):
        queue.send(str(i))
    await world.map_queue("q", ProvisionedPollerConfig={"MinimumPollers": 2, "MaximumPollers": 3})
    began = now()
    await world.until(lambda: world.invoker.running == 20)
    assert now() - began < 0.5
    await world.until(lambda: world.invoker.running == 30)
    assert now() - began == pytest.approx(0.6, abs=0.4)
    await asyncio.sleep(60)
    assert world.invoker.running == 30
    await world.update(ProvisionedPollerConfig={})
    await world.fleet.stop(grace=0)


@pytest.mark.rule("sqs-mapping.provisioned-capacity")
@virtual_time
async def test_provisioned_pollers_read_ten_times_per_second_each() -> None:
    """Two pollers call ReceiveMessage 20 times a second, after the first second's worth."""
    world = World()
    world.invoker.seconds = 0
    queue = world.aws.queue("q")
    for i in range(1000):
        queue.send(str(i))
    config = {"MinimumPollers": 2, "MaximumPollers": 2}
    await world.map(f"arn:aws:sqs:{ACCOUNT}:q", ProvisionedPollerConfig=config, BatchSize=1)
    await world.until(lambda: world.aws.count("ReceiveMessage") >= 20)
    began, count = now(), world.aws.count("ReceiveMessage")
    await asyncio.sleep(10)
    assert world.aws.count("ReceiveMessage") - count == pytest.approx(20 * (now() - began), abs=2)
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.provisioned-capacity")
@virtual_time
async def test_provisioned_pollers_read_a_megabyte_per_second_each() -> None:
    """20 MB through two pollers take as long as 2 MB per second say, less what may come at once."""
    world = World()
    world.invoker.seconds = 0
    queue = world.aws.queue("q")
    for i in range(1000):
        queue.send(f"{i:03}" + "x" * 20_000)
    began = now()
    await world.map_queue("q", ProvisionedPollerConfig={"MinimumPollers": 2, "MaximumPollers": 2})
    await world.until(lambda: not queue.messages)
    assert now() - began == pytest.approx(8, abs=2)
    await world.fleet.stop()
