"""Publishing metrics and logs: in batches, again where it failed, and nothing where nothing happened."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import pytest
from multidict import CIMultiDict

from testbed.gateway import function_logs, observability
from testbed.gateway.classify import Target
from testbed.gateway.contents import contents_of
from testbed.gateway.emulator import EmulatorUnreachableError
from testbed.gateway.function_logs import LogEvents, PublishError, events_of
from testbed.gateway.journal import Journal
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.observability import Observability

_THROTTLED = "ProvisionedThroughputExceededException"
_HOP = {"function": "f", "status": 200, "ms": 1.0, "duration": 1.0, "cause": None}


class LocalStack:
    """Takes metrics and logs, and remembers them."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.streams: set[tuple[str, str]] = set()
        self.groups: set[str] = set()
        self.unreachable = False
        self.counts: list[tuple[Any, ...]] = []
        self.gauges: dict[str, dict[str, float]] = {}

    async def forward(self, request: Inbound) -> Reply:
        if self.unreachable:
            raise EmulatorUnreachableError("gone")
        order = json.loads(request.body)
        if request.path != "/":
            return self._reply(200, {"batch": 1, "counts": self.counts, "gauges": self.gauges})
        operation = request.headers["X-Amz-Target"].partition(".")[2]
        self.calls.append((operation, order))
        return self._logs(operation, order)

    def of(self, operation: str) -> list[Any]:
        return [order for name, order in self.calls if name == operation]

    def values(self) -> dict[tuple[str, str], Mapping[float, float]]:
        """By name and first dimension: the values, with how often there was each."""
        found: defaultdict[tuple[str, str], Counter[float]] = defaultdict(Counter)
        for order in self.of("PutMetricData"):
            for datum in order["MetricData"]:
                if len(datum["Dimensions"]) == 1:
                    counts = Counter(dict(zip(datum["Values"], datum["Counts"], strict=True)))
                    found[datum["MetricName"], datum["Dimensions"][0]["Value"]].update(counts)
        return dict(found)

    def _logs(self, operation: str, order: Any) -> Reply:
        if operation == "CreateLogGroup":
            self.groups.add(order["logGroupName"])
        if operation in {"CreateLogStream", "PutLogEvents"}:
            stream = (order["logGroupName"], order["logStreamName"])
            if stream[0] not in self.groups or (operation == "PutLogEvents" and stream not in self.streams):
                return self._reply(400, {"__type": "ResourceNotFoundException"})
            self.streams.add(stream)
        return self._reply(200, {})

    @staticmethod
    def _reply(status: int, document: object) -> Reply:
        return Reply(status, body=json.dumps(document).encode())


@pytest.fixture
def localstack() -> LocalStack:
    return LocalStack()


async def test_nothing_is_published_where_nothing_happened(localstack: LocalStack) -> None:
    """An idle testbed writes nothing into CloudWatch; a queue that was emptied is told once."""
    observability = Observability(localstack.forward)
    localstack.gauges = {"q": {"ApproximateNumberOfMessagesVisible": 0.0}}
    await observability.publish()
    assert localstack.calls == []
    localstack.gauges = {"q": {"ApproximateNumberOfMessagesVisible": 2.0}}
    await observability.publish()
    localstack.gauges = {"q": {"ApproximateNumberOfMessagesVisible": 0.0}}
    for _ in range(2):
        await observability.publish()
    assert len(localstack.calls) == 2


async def test_hops_are_counted_though_nothing_is_recorded(localstack: LocalStack) -> None:
    """Metrics do not need a run: the journal tells them of hops that it drops."""
    observability = Observability(localstack.forward)
    Journal(lambda: 0.0, observability.observe).record("lambda", **_HOP)
    await observability.publish()
    assert localstack.values()["Invocations", "f"] == {1: 1}


async def test_what_the_plugin_counts_in_queues_is_published(localstack: LocalStack) -> None:
    """With the gauges of the queue in which something happened."""
    localstack.counts = [(1_795_521_600, "q", "SentMessageSize", 12, 3)]
    localstack.gauges = {"q": {"ApproximateNumberOfMessagesVisible": 0.0}}
    await Observability(localstack.forward).publish()
    assert localstack.values() == {
        ("SentMessageSize", "q"): {12: 3},
        ("ApproximateNumberOfMessagesVisible", "q"): {0: 1},
    }


async def test_a_failed_flush_is_told_once_and_published_later(
    localstack: LocalStack, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost while LocalStack is away."""
    observability = Observability(localstack.forward)
    localstack.unreachable = True
    for _ in range(2):
        observability.observe("lambda", _HOP)
        observability.logs.add("g", "s", 0.1, b"line\n")
        assert not await observability.flush()
    assert len(caplog.records) == 1
    localstack.unreachable = False
    assert await observability.flush()
    assert localstack.values()["Invocations", "f"] == {1: 2}
    assert len(localstack.of("PutLogEvents")[-1]["logEvents"]) == 2


async def test_of_what_waits_the_newest_is_kept(monkeypatch: pytest.MonkeyPatch, localstack: LocalStack) -> None:
    """Memory is bounded, however long LocalStack does not answer."""
    monkeypatch.setattr(observability, "_KEPT_VALUES", 40)
    publisher = Observability(localstack.forward)
    localstack.unreachable = True
    for number in range(20):
        publisher.observe("api", {"api": f"shop{number}", "stage": "live", "status": 200, "ms": 1.0})
        assert not await publisher.flush()
    monkeypatch.undo()
    localstack.unreachable = False
    assert await publisher.flush()
    assert {where for _, where in localstack.values()} == {f"shop{number}" for number in range(15, 20)}


async def test_a_plugin_that_does_not_answer_is_a_failed_flush(localstack: LocalStack) -> None:
    """LocalStack without the route, or one that is just starting."""

    async def forward(_request: Inbound) -> Reply:
        return Reply(404, body=b"not found")

    assert not await Observability(forward).flush()
    assert await Observability(localstack.forward).flush()


async def test_a_localstack_that_hangs_is_waited_for_so_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says so."""
    monkeypatch.setattr(observability, "_ANSWER_SECONDS", 0.01)

    async def hang(_request: Inbound) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    assert not await Observability(hang).flush()
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == ["nothing within 0.01 s"]


async def test_group_and_stream_are_created_on_demand_and_anew(localstack: LocalStack) -> None:
    """Once for a stream, and again where somebody deleted the group."""
    observability = Observability(localstack.forward)
    for _ in range(2):
        observability.logs.add("g", "s", 0.1, b"line\n")
        await observability.publish()
    assert [name for name, _ in localstack.calls] == [
        "CreateLogStream", "CreateLogGroup", "CreateLogStream", "PutLogEvents", "PutLogEvents",
    ]  # fmt: skip
    localstack.groups.clear()
    localstack.streams.clear()
    observability.logs.add("g", "s", 0.1, b"line\n")
    await observability.publish()
    assert localstack.streams == {("g", "s")}


@pytest.mark.rule("logs.events")
def test_lines_become_events_with_the_times_of_the_invoke() -> None:
    """A line each, a traceback with carriage returns in one; never out of order, as PutLogEvents refuses that."""
    text = b"init\nSTART RequestId: r\none\r two\n\nEND\n"
    events = list(events_of([(1.0, 2.0, text), (1.9, 3.0, b"next\n")]))
    assert [(event["timestamp"], event["message"]) for event in events] == [
        (1000, "init\n"),
        (1000, "START RequestId: r\n"),
        (2000, "one\r two\n"),
        (2000, "\n"),
        (2000, "END\n"),
        (2000, "next\n"),
    ]


@pytest.mark.rule("logs.limits")
async def test_a_call_takes_no_more_than_cloudwatch_logs_does(localstack: LocalStack) -> None:
    """PutLogEvents: 10,000 events and 1,048,576 bytes, 26 for each event included; a longer line is cut in pieces."""
    observability = Observability(localstack.forward)
    observability.logs.add("g", "s", 0.1, b"x" * 2_500_000 + b"\n" + b"short\n" * 2500)
    await observability.publish()
    calls = [[event["message"] for event in order["logEvents"]] for order in localstack.of("PutLogEvents")]
    assert "".join(message for call in calls for message in call) == "x" * 2_500_000 + "\n" + "short\n" * 2500
    assert max(len(call) for call in calls) <= 10_000
    assert max(sum(len(message) + 26 for message in call) for call in calls) <= 1_048_576


async def test_a_turn_publishes_only_so_much(localstack: LocalStack) -> None:
    """The rest waits for the next turn, or for the end of the test."""
    logs = LogEvents()
    observability = Observability(localstack.forward)
    observability.logs = logs
    for number in range(3):
        logs.add("g", str(number), 0.1, b"x" * 1000 + b"\n")
    await observability.publish(1000)
    assert len(localstack.of("PutLogEvents")) == 1
    await observability.publish()
    assert len(localstack.of("PutLogEvents")) == 3


async def test_what_does_not_fit_is_counted_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, localstack: LocalStack
) -> None:
    """Memory is bounded; once what waits is published there is room again."""
    monkeypatch.setattr(function_logs, "KEPT_BYTES", 300)
    observability = Observability(localstack.forward)
    for _ in range(3):
        observability.logs.add("g", "s", 0.1, b"1234567\n")
    assert observability.logs.dropped == 2
    assert len(caplog.records) == 1
    await observability.publish()
    observability.logs.add("g", "s", 0.1, b"1234567\n")
    assert observability.logs.dropped == 2


async def test_a_refusal_of_cloudwatch_is_no_success() -> None:
    """Any other error than a missing stream keeps the events."""
    logs = LogEvents()
    logs.add("g", "s", 0.1, b"line\n")

    async def refuse(_operation: str, _order: object) -> tuple[int, bytes]:
        await asyncio.sleep(0)
        return 500, b'{"__type": "InternalFailure"}'

    with pytest.raises(PublishError, match="InternalFailure"):
        await logs.publish(refuse)


@pytest.mark.parametrize(
    ("service", "operation", "order", "answer", "contents"),
    [
        ("kinesis", "PutRecord", {"Data": "MTIzNDU=", "PartitionKey": "key"}, {}, {"records": 1, "bytes": 8}),
        (
            "kinesis", "PutRecords", {"Records": [{"Data": "MQ==", "PartitionKey": "k"}] * 3},
            {"FailedRecordCount": 2, "Records": [{}, {"ErrorCode": _THROTTLED}, {"ErrorCode": "InternalFailure"}]},
            {"records": 1, "bytes": 2, "failed": 2, "throttled": 1},
        ),
        (
            "kinesis", "GetRecords", {}, {"Records": [{"SequenceNumber": "1"}] * 2, "MillisBehindLatest": 70},
            {"records": 2, "behind_ms": 70},
        ),
        (
            "dynamodbstreams", "GetRecords", {},
            {"Records": [{"eventVersion": "1.1", "dynamodb": {"SequenceNumber": "1"}}] * 3}, {"records": 3},
        ),
        (
            "sqs", "ReceiveMessage", {}, {"Messages": [{"ReceiptHandle": "h", "Body": '{"ReceiptHandle": 1}'}] * 2},
            {"records": 2},
        ),
        ("sqs", "DeleteMessageBatch", {}, {"Successful": [{"Id": "1"}], "Failed": [{"Id": "2"}]}, {"records": 1}),
        ("sqs", "SendMessage", {}, {}, {}),
    ],
)  # fmt: skip
async def test_what_a_call_has_carried(
    service: str, operation: str, order: object, answer: object, contents: dict[str, int]
) -> None:
    """Records by what was taken, and bytes of data and partition key."""
    request = Inbound("POST", "/", CIMultiDict(), json.dumps(order).encode())
    reply = Reply(200, body=json.dumps(answer).encode())
    assert await contents_of(Target(service, operation, "r"), request, reply) == contents
    reply.error = "ThrottlingException"
    assert await contents_of(Target(service, operation, "r"), request, reply) == {}
