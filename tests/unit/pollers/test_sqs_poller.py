"""The poller of SQS mappings, against a queue in memory and in virtual time."""

import asyncio
import base64
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from poller_fakes import Queue, World, failures, now, raised, returned, throttled, virtual_time

from testbed.chaos.call import AwsError
from testbed.compute.result import InvokeResult
from testbed.semantics.profiles import aws

PARTIAL = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


def _ids_of(event: dict[str, Any], *bodies: str) -> list[str]:
    return [record["messageId"] for record in event["Records"] if record["body"] in bodies]


@virtual_time
async def test_processed_messages_are_deleted() -> None:
    """What the function processed is gone from the queue, and was delivered once."""
    world = World()
    queue = world.aws.queue("q")
    for i in range(25):
        queue.send(str(i))
    await world.map_queue("q")
    await world.until(lambda: not queue.messages)
    assert sorted(b for i in world.invoker.invocations for b in i.bodies) == sorted(map(str, range(25)))
    assert all(len(i.bodies) <= 10 for i in world.invoker.invocations)
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.deletes")
@virtual_time
async def test_a_message_is_not_deleted_before_the_function_succeeded() -> None:
    """While the function runs, its messages are still in the queue, invisible."""
    world = World()
    queue = world.aws.queue("q")
    queue.send("a")
    world.invoker.seconds = 5
    await world.map_queue("q")
    await world.until(lambda: world.invoker.running)
    await asyncio.sleep(4.9)
    assert queue.bodies == ["a"]
    assert world.aws.count("DeleteMessageBatch") == 0
    await world.until(lambda: not queue.messages, within=1)
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.error")
@virtual_time
async def test_messages_of_a_failed_invoke_come_back_until_they_are_dead_lettered() -> None:
    """A function error deletes nothing: the messages return with the visibility timeout, and SQS redrives them."""
    world = World(lambda _number, _event: raised())
    dead = world.aws.queue("dead")
    queue = world.aws.queue("q", visibility_timeout=4, max_receive_count=3, dead_letter=dead)
    queue.send("a")
    await world.map_queue("q")
    await world.until(lambda: dead.messages)
    times = [i.at for i in world.invoker.invocations]
    assert len(times) == 3
    assert all(later - earlier >= 4 for earlier, later in pairwise(times))
    assert [event["failed"] for event in world.events("batch")] == [1, 1, 1]
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.partial-success")
@virtual_time
async def test_only_the_reported_failures_come_back() -> None:
    """With ReportBatchItemFailures the processed messages are deleted and only the listed one is tried again."""
    world = World(lambda number, event: failures(_ids_of(event, "bad") if number == 1 else []))
    queue = world.aws.queue("q", visibility_timeout=5)
    for body in ("a", "bad", "c"):
        queue.send(body)
    await world.map_queue("q", **PARTIAL)
    await world.until(lambda: not queue.messages)
    assert [i.bodies for i in world.invoker.invocations] == [["a", "bad", "c"], ["bad"]]
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.partial-failure")
@pytest.mark.parametrize(
    "answer",
    [
        b"not json",
        b"",
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        {"batchItemFailures": [{"id": "x"}]},
        {"batchItemFailures": [{"itemIdentifier": "not-in-the-batch"}]},
        {"batchItemFailures": {"itemIdentifier": "x"}},
        [],
    ],
)
@virtual_time
async def test_a_malformed_answer_fails_the_whole_batch(answer: object) -> None:
    """No message is deleted on an answer that cannot be trusted; all of them are delivered again."""
    world = World(lambda number, _event: returned(answer if number == 1 else None))
    queue = world.aws.queue("q", visibility_timeout=5)
    for body in ("a", "b"):
        queue.send(body)
    await world.map_queue("q", **PARTIAL)
    await world.until(lambda: not queue.messages)
    assert [i.bodies for i in world.invoker.invocations] == [["a", "b"], ["a", "b"]]
    assert len(world.events("malformed response")) == 1
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.partial-not-enabled")
@virtual_time
async def test_reported_failures_are_lost_where_the_mapping_does_not_ask_for_them() -> None:
    """Without ReportBatchItemFailures the answer is ignored and everything is deleted, as AWS does."""
    world = World(lambda _number, event: failures(_ids_of(event, "bad")))
    queue = world.aws.queue("q")
    queue.send("bad")
    await world.map_queue("q")
    await world.until(lambda: not queue.messages)
    assert len(world.invoker.invocations) == 1
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.throttle-hold")
@virtual_time
async def test_a_throttled_batch_is_held_and_tried_again() -> None:
    """Throttles lose nothing and use up no receive: the same batch is invoked until it gets through."""
    world = World(lambda number, _event: throttled() if number < 4 else returned())
    queue = world.aws.queue("q")
    queue.send("a")
    await world.map_queue("q")
    await world.until(lambda: world.status.held)
    assert (world.status.in_flight, world.status.idle) == (1, False)
    await world.until(lambda: not queue.messages, within=29)
    receives = {i.event["Records"][0]["attributes"]["ApproximateReceiveCount"] for i in world.invoker.invocations}
    assert receives == {"1"}
    assert len({i.identity for i in world.invoker.invocations}) == 1
    assert len(world.events("throttled")) == 3
    await world.fleet.stop()


@pytest.mark.parametrize(("status", "invokes", "receives"), [(500, 2, "1"), (404, 2, "2")])
@virtual_time
async def test_a_refused_invoke_deletes_nothing(status: int, invokes: int, receives: str) -> None:
    """A service error is held like a throttle; any other refusal sends the batch back to the queue."""
    refused = InvokeResult(status, b"", None, AwsError("SomeException", status, ""), None)
    world = World(lambda number, _event: refused if number == 1 else returned())
    queue = world.aws.queue("q", visibility_timeout=5)
    queue.send("a")
    await world.map_queue("q")
    await world.until(lambda: not queue.messages)
    assert len(world.invoker.invocations) == invokes
    (record,) = world.invoker.invocations[-1].event["Records"]
    assert record["attributes"]["ApproximateReceiveCount"] == receives
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.throttle-hold", "sqs-mapping.over-pull")
@virtual_time
async def test_messages_can_be_dead_lettered_without_one_execution() -> None:
    """A batch that is throttled past its visibility timeout is let go, and each time has cost a receive."""
    world = World(lambda _number, _event: throttled())
    dead = world.aws.queue("dead")
    queue = world.aws.queue("q", visibility_timeout=6, max_receive_count=2, dead_letter=dead)
    queue.send("a")
    await world.map_queue("q")
    await world.until(lambda: dead.messages)
    assert len(world.events("released")) == 2
    assert not world.events("batch")
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.maximum-concurrency")
@virtual_time
async def test_at_maximum_concurrency_nobody_reads() -> None:
    """MaximumConcurrency bounds the invokes in flight and the messages taken from the queue."""
    world = World()
    world.invoker.seconds = 20
    queue = world.aws.queue("q", visibility_timeout=100)
    for i in range(100):
        queue.send(str(i))
    await world.map_queue("q", ScalingConfig={"MaximumConcurrency": 3})
    await asyncio.sleep(10)
    assert world.invoker.running == 3
    assert queue.waiting == 0
    assert sum(message.receives for message in queue.messages.values()) == 30
    await world.until(lambda: not queue.messages)
    assert world.invoker.most_running == 3
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.ramp")
@virtual_time
async def test_five_pollers_at_the_start_and_more_with_a_backlog() -> None:
    """Five concurrent batches at once, five more per second while a backlog lasts, and no more on an empty queue."""
    world = World()
    world.invoker.seconds = 10
    queue = world.aws.queue("q", visibility_timeout=100)
    for i in range(1000):
        queue.send(str(i))
    await world.map_queue("q")
    await asyncio.sleep(0.1)
    assert world.invoker.running == 5
    await asyncio.sleep(4)
    assert 20 <= world.invoker.running <= 26
    await world.until(lambda: not queue.messages)
    await asyncio.sleep(60)
    assert queue.waiting == 5
    await world.fleet.stop()


@virtual_time
async def test_an_arriving_message_wakes_a_waiting_poller_at_once() -> None:
    """A long poll returns with the message, so that an idle mapping adds no delay."""
    world = World()
    queue = world.aws.queue("q")
    await world.map_queue("q")
    await world.until(lambda: queue.waiting == 5)
    await asyncio.sleep(30)
    sent_at = now()
    queue.send("a")
    await world.until(lambda: world.invoker.invocations)
    assert world.invoker.invocations[0].at - sent_at < 0.01
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.batching")
@virtual_time
async def test_a_larger_batch_is_collected_over_several_receives() -> None:
    """BatchSize above 10 takes several receives; the window closes a batch that does not fill up."""
    world = World()
    queue = world.aws.queue("q")
    for i in range(25):
        queue.send(str(i))
    options = {"BatchSize": 25, "MaximumBatchingWindowInSeconds": 3, "ScalingConfig": {"MaximumConcurrency": 2}}
    await world.map(f"arn:aws:sqs:us-east-1:000000000000:{queue.name}", **options)
    await world.until(lambda: not queue.messages)
    assert sum(len(i.bodies) for i in world.invoker.invocations) == 25
    assert max(len(i.bodies) for i in world.invoker.invocations) > 10
    await world.until(lambda: queue.waiting == 2)
    sent_at = now()
    queue.send("late")
    await world.until(lambda: not queue.messages)
    assert world.invoker.invocations[-1].at - sent_at == pytest.approx(3, abs=0.3)
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.batch-bytes")
@virtual_time
async def test_a_batch_stays_below_six_megabytes() -> None:
    """Messages that do not fit into one event go into the next one; none is lost."""
    world = World()
    queue = world.aws.queue("q")
    for i in range(10):
        queue.send(f"{i}" * 1_000_000)
    await world.map_queue("q")
    await world.until(lambda: not queue.messages)
    assert sorted(len(i.bodies) for i in world.invoker.invocations) == [4, 6]
    records = [record for i in world.invoker.invocations for record in i.event["Records"]]
    assert {record["attributes"]["ApproximateReceiveCount"] for record in records} == {"1"}
    await world.fleet.stop()


@virtual_time
async def test_an_event_may_be_exactly_as_large_as_a_batch() -> None:
    """What is around the records counts: four go at once where their event just fits, and not at a byte less."""
    limit, seen = aws.sqs.batch_bytes, []
    for less in (0, 0, 1):
        world = World(profile=replace(aws, sqs=replace(aws.sqs, batch_bytes=limit - less)))
        queue = world.aws.queue("q")
        for body in "abcd":
            queue.send(body)
        await world.map_queue("q")
        await world.until(lambda queue=queue: not queue.messages)  # type: ignore[misc]
        limit = world.invoker.most_bytes
        seen.append([len(i.bodies) for i in world.invoker.invocations])
        await world.fleet.stop()
    assert seen == [[4], [4], [3, 1]]


def _send_eight(queue: Queue, **attributes: str) -> None:
    """More than one event takes: six go first."""
    for i in range(8):
        queue.send(f"{i}" * 1_000_000, **attributes)


def _seen(world: World) -> list[str]:
    return ["".join(body[0] for body in i.bodies) for i in world.invoker.invocations]


@virtual_time
async def test_what_waited_for_another_batch_has_its_full_visibility_timeout() -> None:
    """Messages that did not fit are not delivered a second time while the function works on them."""
    world = World()
    world.invoker.seconds = 20
    queue = world.aws.queue("q", visibility_timeout=30)
    _send_eight(queue)
    await world.map_queue("q", ScalingConfig={"MaximumConcurrency": 2})
    await asyncio.sleep(100)
    assert _seen(world) == ["012345", "67"]
    assert not queue.messages
    assert not world.events("released")
    await world.fleet.stop()


@virtual_time
async def test_what_cannot_be_kept_is_left_out_and_comes_again() -> None:
    """A message whose visibility timeout SQS does not change is in no batch until it was received once more."""
    world = World()
    world.aws.fail_changes_of = "7"
    queue = world.aws.queue("q", visibility_timeout=30)
    _send_eight(queue)
    await world.map_queue("q")
    await world.until(lambda: not queue.messages)
    assert _seen(world) == ["012345", "6", "7"]
    assert world.invoker.invocations[-1].event["Records"][0]["attributes"]["ApproximateReceiveCount"] == "2"
    assert [event["records"] for event in world.events("released")] == [1]
    await world.fleet.stop()


@virtual_time
async def test_what_waited_too_long_for_another_batch_is_not_asked_for() -> None:
    """A function that takes longer than the visibility timeout: what waited for it is somebody else's by then."""
    world = World()
    world.invoker.seconds = 40
    queue = world.aws.queue("q", visibility_timeout=30)
    _send_eight(queue)
    await world.map_queue("q", ScalingConfig={"MaximumConcurrency": 1})
    await world.until(lambda: world.events("released"), within=60)
    assert world.aws.count("ChangeMessageVisibilityBatch") == 0
    await world.fleet.stop()


@virtual_time
async def test_a_throttled_batch_takes_what_waits_for_it_along() -> None:
    """Held until the visibility timeout, which is that of all that was received with it."""
    world = World(lambda _number, _event: throttled() if now() - started < 29.9 else returned())
    started = now()
    queue = world.aws.queue("q", visibility_timeout=30)
    _send_eight(queue)
    await world.map_queue("q", ScalingConfig={"MaximumConcurrency": 2})
    await world.until(lambda: not queue.messages)
    assert [event["records"] for event in world.events("released")] == [6, 2]
    assert set(_seen(world)[:-2]) == {"012345"}
    assert _seen(world)[-2:] == ["012345", "67"]
    await world.fleet.stop()


def _reports(event: dict[str, Any], last: int) -> InvokeResult:
    return failures(record["messageId"] for record in event["Records"][-last:])


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (lambda _event: raised(), ["012345", "012345", "67"]),
        (lambda event: _reports(event, 2), ["012345", "4567"]),
        (lambda _event: returned({"batchItemFailures": []}), ["012345", "67"]),
    ],
)
@virtual_time
async def test_nothing_of_a_fifo_queue_overtakes_what_failed(answer: Any, seen: list[str]) -> None:
    """What did not fit is processed after all before it has been, whatever became of that."""
    world = World(lambda number, event: answer(event) if number == 1 else returned({"batchItemFailures": []}))
    queue = world.aws.queue("q.fifo", fifo=True)
    _send_eight(queue, MessageGroupId="g")
    await world.map_queue("q.fifo", **PARTIAL)
    await world.until(lambda: not queue.messages)
    assert _seen(world) == seen
    await world.fleet.stop()


@virtual_time
async def test_what_cannot_be_kept_of_a_fifo_queue_takes_the_rest_along() -> None:
    """The sixth message cannot be kept, so the seventh is not processed before it."""
    world = World()
    world.aws.fail_changes_of = "6"
    queue = world.aws.queue("q.fifo", fifo=True)
    _send_eight(queue, MessageGroupId="g")
    await world.map_queue("q.fifo")
    await world.until(lambda: "7" in "".join(_seen(world)))
    assert "".join(_seen(world)) == "01234567"
    await world.fleet.stop()


@virtual_time
async def test_refused_receives_are_tried_again() -> None:
    """A throttled or unreachable SQS delays the poller and never ends it."""
    world = World()
    queue = world.aws.queue("q")
    world.aws.refuse("GetQueueUrl", ("RequestThrottled", 403))
    world.aws.refuse("ReceiveMessage", *[("RequestThrottled", 403)] * 7, *[("ConnectionError", 0)] * 7)
    queue.send("a")
    await world.map_queue("q")
    await world.until(lambda: not queue.messages)
    assert len(world.events("call failed")) == 15
    assert queue.messages == {}
    await world.fleet.stop()


@virtual_time
async def test_refused_deletes_are_tried_again_entry_by_entry() -> None:
    """Only what SQS failed to delete is deleted again, and the function does not see it twice."""
    world = World()
    queue = world.aws.queue("q")
    for body in ("a", "b", "c"):
        queue.send(body)
    world.aws.refuse("DeleteMessageBatch", ("RequestThrottled", 403))
    world.aws.fail_deletes_of = {"b": 2}
    await world.map_queue("q")
    await world.until(lambda: not queue.messages)
    sizes = [len(params["Entries"]) for operation, params in world.aws.calls if operation == "DeleteMessageBatch"]
    assert sizes == [3, 3, 1, 1]
    assert len(world.invoker.invocations) == 1
    await world.fleet.stop()


@virtual_time
async def test_deletes_end_with_the_visibility_timeout() -> None:
    """A message whose delete failed for too long is delivered a second time."""
    world = World()
    queue = world.aws.queue("q", visibility_timeout=5)
    queue.send("a")
    world.aws.refuse("DeleteMessageBatch", *[("RequestThrottled", 403)] * 8)
    await world.map_queue("q")
    await world.until(lambda: not queue.messages)
    assert len(world.invoker.invocations) == 2
    assert len(world.events("not deleted")) == 1
    await world.fleet.stop()


@virtual_time
async def test_a_removed_mapping_finishes_its_batch() -> None:
    """The batch in flight is processed and deleted; the mapping is listed until then."""
    world = World()
    world.invoker.seconds = 5
    queue = world.aws.queue("q")
    queue.send("a")
    await world.map_queue("q")
    await world.until(lambda: world.invoker.running)
    await world.fleet.reconcile([])
    assert world.status.in_flight == 1
    await world.until(lambda: not queue.messages)
    await world.until(lambda: not world.fleet.status(), within=25)
    assert len(world.invoker.invocations) == 1


@virtual_time
async def test_a_disabled_mapping_reads_nothing_until_it_is_enabled() -> None:
    """Disabled stops the receives, Enabled starts them again, in the same poller."""
    world = World()
    queue = world.aws.queue("q")
    await world.map_queue("q", State="Disabled")
    queue.send("a")
    await asyncio.sleep(60)
    assert world.aws.calls == []
    await world.update(State="Enabled")
    await world.until(lambda: not queue.messages, within=1)
    await world.update(State="Disabled")
    await asyncio.sleep(21)
    queue.send("b")
    await asyncio.sleep(60)
    assert queue.bodies == ["b"]
    await world.fleet.stop()


async def _with_an_open_window() -> tuple[World, Queue]:
    world = World()
    queue = world.aws.queue("q", visibility_timeout=400)
    queue.send("a")
    await world.map_queue("q", MaximumBatchingWindowInSeconds=60, ScalingConfig={"MaximumConcurrency": 2})
    await asyncio.sleep(5)
    assert not world.invoker.invocations
    return world, queue


@virtual_time
async def test_a_mapping_disabled_during_an_open_window_reads_nothing_more() -> None:
    """What is in hand goes after the receive that was under way; later messages stay in the queue."""
    world, queue = await _with_an_open_window()
    await world.update(State="Disabled")
    await asyncio.sleep(21)
    assert [i.bodies for i in world.invoker.invocations] == [["a"]]
    queue.send("b")
    await asyncio.sleep(100)
    assert [i.bodies for i in world.invoker.invocations] == [["a"]]
    assert queue.bodies == ["b"]
    assert sum(message.receives for message in queue.messages.values()) == 0
    await world.update(State="Enabled")
    await world.until(lambda: not queue.messages, within=62)
    await world.fleet.stop()


@virtual_time
async def test_a_mapping_deleted_with_its_queue_during_an_open_window_ends() -> None:
    """A refused receive is not tried again for the rest of the window."""
    world, _ = await _with_an_open_window()
    before = world.aws.count("ReceiveMessage")
    world.aws.refuse("ReceiveMessage", *[("AWS.SimpleQueueService.NonExistentQueue", 400)] * 100_000)
    await world.fleet.reconcile([])
    await world.until(lambda: not world.fleet.status(), within=21)
    assert [i.bodies for i in world.invoker.invocations] == [["a"]]
    assert world.aws.count("ReceiveMessage") - before <= 2
    await world.fleet.stop()


@virtual_time
async def test_reconfiguring_neither_loses_nor_doubles_a_batch() -> None:
    """New settings hold for the next batch; the one in flight ends as it began."""
    world = World()
    world.invoker.seconds = 2
    queue = world.aws.queue("q")
    for i in range(40):
        queue.send(str(i))
    await world.map_queue("q", ScalingConfig={"MaximumConcurrency": 2})
    await world.until(lambda: world.invoker.running == 2)
    await world.update(BatchSize=5, ScalingConfig={"MaximumConcurrency": 4})
    await world.until(lambda: not queue.messages)
    sizes = [len(i.bodies) for i in world.invoker.invocations]
    assert sizes == [10, 10, 5, 5, 5, 5]
    await world.fleet.stop()


@virtual_time
async def test_stopping_cuts_long_polls_and_holds() -> None:
    """Stop ends at once; messages in hand stay in the queue and come back with the visibility timeout."""
    world = World(lambda _number, _event: throttled())
    queue = world.aws.queue("q", visibility_timeout=300)
    queue.send("a")
    await world.map_queue("q")
    await world.until(lambda: world.status.held and queue.waiting == 4)
    began = now()
    await world.fleet.stop()
    assert now() - began < 0.1
    assert queue.bodies == ["a"]
    assert queue.waiting == 0
    assert world.fleet.status() == []
    assert len(asyncio.all_tasks()) == 1


@virtual_time
async def test_stopping_lets_an_invoke_finish_within_the_grace() -> None:
    """An invoke in flight is awaited and its messages are deleted; one that takes too long is left behind."""
    world = World()
    world.invoker.seconds = 3
    queue = world.aws.queue("q")
    queue.send("a")
    await world.map_queue("q")
    await world.until(lambda: world.invoker.running)
    await world.fleet.stop(grace=5)
    assert queue.bodies == []
    slow = World()
    slow.invoker.seconds = 1000
    kept = slow.aws.queue("q")
    kept.send("a")
    await slow.map_queue("q")
    await slow.until(lambda: slow.invoker.running)
    began = now()
    await slow.fleet.stop(grace=5)
    assert now() - began == pytest.approx(5, abs=0.1)
    assert kept.bodies == ["a"]
    assert len(asyncio.all_tasks()) == 1


@virtual_time
async def test_the_event_has_the_shape_of_aws() -> None:
    """Every member that AWS documents, attributes of messages and of the system included."""
    world = World()
    queue = world.aws.queue("q")
    header = "Root=1-000003e8-" + "0" * 24
    binary = {"DataType": "Binary", "BinaryValue": b"\x00\xff"}
    message_id = queue.send("a", AWSTraceHeader=header, blob=binary)
    await world.map_queue("q")
    await world.until(lambda: not queue.messages)
    (invocation,) = world.invoker.invocations
    (record,) = invocation.event["Records"]
    attributes = record.pop("attributes")
    assert record == {
        "messageId": message_id,
        "receiptHandle": f"{message_id}#1",
        "body": "a",
        "messageAttributes": {
            "blob": {
                "binaryValue": base64.b64encode(b"\x00\xff").decode(),
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": "Binary",
            }
        },
        "md5OfBody": "0" * 32,
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:q",
        "awsRegion": "us-east-1",
    }
    assert attributes["ApproximateReceiveCount"] == "1"
    assert attributes["AWSTraceHeader"] == header
    assert set(attributes) >= {"SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"}
    assert invocation.trace == header
    await world.fleet.stop()


@virtual_time
async def test_the_identity_of_a_batch_is_that_of_its_bodies() -> None:
    """The same bodies give the same identity in another order and under other message ids."""
    identities = []
    for bodies in (["a", "b"], ["b", "a"], ["ab", ""]):
        world = World()
        queue = world.aws.queue("q")
        for body in bodies:
            queue.send(body)
        await world.map_queue("q")
        await world.until(lambda queue=queue: not queue.messages)  # type: ignore[misc]
        identities.append(world.invoker.invocations[0].identity)
        await world.fleet.stop()
    assert identities[0] == identities[1] != identities[2]


@pytest.mark.rule("sqs-mapping.effective-visibility")
@virtual_time
async def test_the_visibility_timeout_covers_window_and_function() -> None:
    """Where the window and the function timeout exceed the queue's visibility timeout, a longer one is asked for."""
    world = World()
    queue: Queue = world.aws.queue("q", visibility_timeout=5)
    await world.map_queue("q", MaximumBatchingWindowInSeconds=4)
    await world.until(lambda: queue.waiting)
    receive = next(params for operation, params in world.aws.calls if operation == "ReceiveMessage")
    assert receive["VisibilityTimeout"] == 4 + 3 + 30
    await world.fleet.stop()


@pytest.mark.rule("sqs-mapping.no-scale-down", "sqs-mapping.back-off")
@virtual_time
async def test_failures_reduce_the_concurrency_only_without_partial_responses() -> None:
    """A function error takes concurrency away; with ReportBatchItemFailures it does not."""
    running = {}
    for options in ({}, PARTIAL):
        world = World(lambda _number, _event: raised())
        world.invoker.seconds = 0.01
        queue = world.aws.queue("q", visibility_timeout=1000)
        for i in range(500):
            queue.send(str(i))
        await world.map_queue("q", **options)
        await world.until(lambda queue=queue: all(m.receives for m in queue.messages.values()))  # type: ignore[misc]
        running[bool(options)] = world.fleet._pollers["u-1"].scaling.pollers  # type: ignore[attr-defined]
        await world.fleet.stop()
    assert running[False] < 5 <= running[True]


@virtual_time
async def test_a_lost_answer_to_a_receive_costs_a_receive() -> None:
    """The messages were received for nobody: they come back with the visibility timeout, their count one higher."""
    world = World()
    queue = world.aws.queue("q", visibility_timeout=30)
    queue.send("a")
    world.aws.lose("ReceiveMessage")
    started = now()
    await world.map_queue("q")
    await world.until(lambda: not queue.messages)
    (invocation,) = world.invoker.invocations
    assert invocation.at - started >= 30
    assert invocation.event["Records"][0]["attributes"]["ApproximateReceiveCount"] == "2"
    assert [event["reason"] for event in world.events("call failed")] == ["ConnectionReset"]
    await world.fleet.stop()


@virtual_time
async def test_a_lost_answer_to_a_deletion_invokes_nobody_again() -> None:
    """The poller deletes once more, which deletes nothing."""
    world = World()
    queue = world.aws.queue("q", visibility_timeout=30)
    queue.send("a")
    world.aws.lose("DeleteMessageBatch")
    await world.map_queue("q")
    await world.until(lambda: world.aws.count("DeleteMessageBatch") == 2)
    await asyncio.sleep(60)
    assert [invocation.bodies for invocation in world.invoker.invocations] == [["a"]]
    assert not world.events("not deleted")
    await world.fleet.stop()
