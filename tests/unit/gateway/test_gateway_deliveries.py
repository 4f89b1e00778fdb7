"""Deliveries of topics and rules in the plane: each attempt is one call, and none is forgotten but by a reset."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from gateway_world import until

from testbed.compute.aws import AwsCallError
from testbed.gateway import deliveries as module
from testbed.gateway.deliveries import Deliveries
from testbed.localstack_plugin.serverless_testbed_plugin.deliveries import _blob
from testbed.semantics.profiles import Profile, aws

QUEUE = "arn:aws:sqs:us-east-1:000000000000:orders"
LETTERS = "arn:aws:sqs:us-east-1:000000000000:letters"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:orders"
RULE = "arn:aws:events:us-east-1:000000000000:rule/orders"
SUBSCRIPTION = "arn:aws:sns:us-east-1:000000000000:news:1"
FAST = aws.compress(10_000)
BUSY = AwsCallError("RequestThrottled", 403, "slow down")
SILENT = AwsCallError("ServiceUnavailable", 0, "LocalStack does not answer")
GONE = AwsCallError("AWS.SimpleQueueService.NonExistentQueue", 400, "no such queue")


class Sink:
    """Takes calls; refuses those that ``refusals`` says, by queue or function, and holds all while ``gate`` is shut."""

    def __init__(self) -> None:
        self.refusals: dict[str, list[AwsCallError]] = {}
        self.calls: list[tuple[str, dict[str, Any], str | None]] = []
        self.taken: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def call(
        self, service: str, operation: str, params: dict[str, Any], *, caller: str, trace: str | None = None
    ) -> dict[str, Any]:
        """Take the call, or refuse it."""
        assert caller == "emulator"
        self.calls.append((f"{service}.{operation}", params, trace))
        await self.gate.wait()
        place = str(params.get("QueueUrl") or params.get("FunctionName")).replace(":", "/").rpartition("/")[2]
        if self.refusals.get(place):
            raise self.refusals[place].pop(0)
        self.taken.append(f"{place}: {params.get('MessageBody') or params.get('Payload')}")
        return {}


class Lines:
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def record(self, hop: str, **fields: object) -> None:
        """Keep a line."""
        assert hop == "delivery"
        self.lines.append(fields)

    def events(self) -> list[tuple[object, object]]:
        """What happened, after how many attempts."""
        return [(line["event"], line["attempts"]) for line in self.lines]


@pytest.fixture
def sink() -> Sink:
    """Takes every attempt."""
    return Sink()


@pytest.fixture
def lines() -> Lines:
    """The journal."""
    return Lines()


@pytest.fixture
def deliveries(sink: Sink, lines: Lines) -> Deliveries:
    """By the rules of AWS, ten thousand times faster."""
    under_test = Deliveries(sink, "gateway:4566", lines)
    under_test.use(FAST)
    return under_test


def order(body: str = "hello", **fields: Any) -> dict[str, Any]:
    """A message of a topic for a queue, as the plugin hands it over."""
    plain = {
        "by": "sns", "source": SUBSCRIPTION, "target": QUEUE, "service": "sqs", "operation": "SendMessage",
        "params": {"MessageBody": body}, "letter": {"MessageBody": body},
    }  # fmt: skip
    return json.loads(json.dumps({**plain, **fields}, default=_blob))  # type: ignore[no-any-return]


def event(**fields: Any) -> dict[str, Any]:
    """An event of a rule for a function."""
    call = {"FunctionName": FUNCTION, "Payload": b"\xff{}"}
    return order(by="events", source=RULE, target=FUNCTION, service="lambda", operation="Invoke", params=call, **fields)


async def test_what_arrives_at_once_needs_no_line(deliveries: Deliveries, sink: Sink, lines: Lines) -> None:
    """The queue's URL is one of the gateway, and blobs are bytes again."""
    assert await deliveries.accept(order())
    assert await deliveries.accept(event())
    queued, invoked = (params for _, params, _ in sink.calls)
    assert queued == {"MessageBody": "hello", "QueueUrl": "http://gateway:4566/000000000000/orders"}
    assert invoked["Payload"] == b"\xff{}"
    assert (lines.lines, len(deliveries)) == ([], 0)


@pytest.mark.parametrize("refusal", [BUSY, SILENT])
@pytest.mark.parametrize("make", [order, event])
async def test_a_delivery_is_tried_until_it_arrives(
    deliveries: Deliveries, sink: Sink, lines: Lines, refusal: AwsCallError, make: Callable[..., dict[str, Any]]
) -> None:
    """All attempts in one trace; the emulator is told after the first."""
    sink.refusals = {"orders": [refusal] * 20}
    assert not await deliveries.accept(make(letter={}))
    await until(lambda: not len(deliveries))
    assert lines.events() == [("waiting", 1), ("delivered", 21)]
    assert len(sink.calls) == 21
    assert len({trace for _, _, trace in sink.calls}) == 1
    assert len(sink.taken) == 1


async def test_what_is_given_up_goes_to_the_dead_letter_queue_once_that_takes_it(
    deliveries: Deliveries, sink: Sink, lines: Lines
) -> None:
    """The RetryPolicy bounds the retries; a throttle of the dead-letter queue passes."""
    sink.refusals = {"orders": [BUSY] * 20, "letters": [BUSY, SILENT]}
    policy = {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 60}
    await deliveries.accept(event(retry_policy=policy, dead_letter=LETTERS))
    await until(lambda: not len(deliveries))
    assert lines.events() == [("waiting", 1), ("dead-lettered", 4)]
    assert sink.taken == ["letters: hello"]
    attributes = sink.calls[-1][1]["MessageAttributes"]
    assert (attributes["RULE_ARN"]["StringValue"], attributes["TARGET_ARN"]["StringValue"]) == (RULE, FUNCTION)
    assert attributes["RETRY_ATTEMPTS"]["StringValue"] == "3"


async def test_a_topics_policy_ends_in_the_letter_of_its_subscription(
    deliveries: Deliveries, sink: Sink, lines: Lines
) -> None:
    """With the attributes that the message has, and no others."""
    short = replace(FAST, sns=replace(FAST.sns, backoff_attempts=0, post_backoff_attempts=0))
    deliveries.use(short)
    sink.refusals = {"orders": [BUSY] * 20}
    await deliveries.accept(order(dead_letter=LETTERS))
    await until(lambda: not len(deliveries))
    assert lines.events() == [("waiting", 1), ("dead-lettered", 5)]
    assert sink.calls[-1][1] == {"MessageBody": "hello", "QueueUrl": "http://gateway:4566/000000000000/letters"}


@pytest.mark.parametrize(
    ("letters", "ending"),
    [([GONE], "dead-letter failed"), ([BUSY] * 10, "dead-letter failed"), (None, "dropped")],
)
async def test_what_nothing_takes_is_lost_and_told(
    deliveries: Deliveries, sink: Sink, lines: Lines, letters: list[AwsCallError] | None, ending: str
) -> None:
    """A client error is not tried again; nor is a dead-letter queue for ever, where there is one."""
    sink.refusals = {"orders": [GONE], "letters": list(letters or ())}
    assert not await deliveries.accept(order(dead_letter=None if letters is None else LETTERS))
    await until(lambda: not len(deliveries))
    assert lines.events() == [(ending, 1)]
    assert lines.lines[0]["cause"] == GONE.code
    assert sink.taken == []


async def test_a_slow_first_attempt_does_not_hold_the_emulator(
    deliveries: Deliveries, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on, and the drain knows."""
    monkeypatch.setattr(module, "_ANSWERED_AFTER", 0.01)
    sink.gate.clear()
    assert not await deliveries.accept(order())
    assert len(deliveries) == 1
    sink.gate.set()
    await until(lambda: not len(deliveries))
    assert sink.taken == ["orders: hello"]


async def test_messages_of_a_group_keep_their_order_and_groups_do_not_wait_for_each_other(
    deliveries: Deliveries, sink: Sink
) -> None:
    """From a FIFO topic to a FIFO queue; the next one is not even tried while one waits."""
    sink.refusals = {"orders.fifo": [BUSY] * 20}
    for body, group in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")):
        params = {"MessageBody": body, "MessageGroupId": group}
        await deliveries.accept(order(target=f"{QUEUE}.fifo", params=params))
    await until(lambda: not len(deliveries))
    assert [taken for taken in sink.taken if ": a" in taken] == [f"orders.fifo: a{n}" for n in (1, 2, 3)]
    bodies = [params["MessageBody"] for _, params, _ in sink.calls]
    assert bodies.index("b1") < bodies.index("a2")


async def test_a_reset_forgets_what_waits(deliveries: Deliveries, sink: Sink, lines: Lines) -> None:
    """By AWS's real waits; nothing is told of it, and what comes later is delivered."""
    deliveries.use(Profile())
    sink.refusals = {"orders.fifo": [BUSY] * 5}
    params = {"MessageBody": "old", "MessageGroupId": "a"}
    for _ in range(3):
        await deliveries.accept(order(target=f"{QUEUE}.fifo", params=params))
    assert len(deliveries) == 3
    await deliveries.clear()
    assert len(deliveries) == 0
    sink.refusals = {}
    assert await deliveries.accept(order(target=f"{QUEUE}.fifo", params={**params, "MessageBody": "new"}))
    assert (lines.events(), sink.taken) == ([("waiting", 1)], ["orders.fifo: new"])


async def test_an_event_that_a_bus_did_not_take_is_tried_again(
    deliveries: Deliveries, sink: Sink, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PutEvents says so with status 200."""
    refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
    answers: list[dict[str, Any]] = [refused, {"FailedEntryCount": 0}]

    async def call(*_: Any, **__: Any) -> dict[str, Any]:
        return answers.pop(0)

    monkeypatch.setattr(sink, "call", call)
    bus = "arn:aws:events:us-east-1:000000000000:event-bus/b"
    params = {"Entries": [{"Source": "s"}]}
    await deliveries.accept(
        order(by="events", source=RULE, target=bus, service="events", operation="PutEvents", params=params)
    )
    await until(lambda: len(lines.lines) == 2)
    assert [line["event"] for line in lines.lines] == ["waiting", "delivered"]
    assert lines.lines[0]["cause"] == "InternalFailure"
