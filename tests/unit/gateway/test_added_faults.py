"""Faults by hand: ``/_testbed/chaos`` and LocalStack's Chaos API, against a stage that a run takes over."""

import json
from typing import Any

import pytest
from multidict import CIMultiDict

from testbed.chaos.call import AwsError, Call, Injection
from testbed.chaos.faults.throttle import Throttle
from testbed.chaos.schedule import Schedule
from testbed.gateway.added_faults import AddedFaults, ChaosRoute
from testbed.gateway.localstack_chaos import LocalStackChaos
from testbed.gateway.message import Inbound

SEND = Call("sqs", "SendMessage", "orders", "client", "sqs.SendMessage:orders:1", attempt=1, at=10.0)
THROTTLE = {"type": "Throttle", "service": "sqs"}


class FakeStage:
    """A plane that stands since ten seconds, without a run."""

    def __init__(self) -> None:
        self.schedule = Schedule((), 0)
        self.run = ""
        self.now = 10.0
        self.heard: list[str] = []
        self.added = AddedFaults(self, lambda call, injection: self.heard.append(f"{injection.fault} {call.operation}"))
        self.chaos = ChaosRoute(self.added, self)
        self.localstack = LocalStackChaos(self.added)

    def busy(self) -> str:
        return self.run

    def clock(self) -> float:
        return self.now

    def act(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def begin(self) -> None:
        """A run begins, with a fault of its own."""
        self.run = "a run goes on"
        self.schedule = Schedule([Throttle(name="of-the-run", service="sqs")], 1)

    def end(self) -> None:
        """And ends."""
        self.run = ""
        self.schedule = Schedule((), 0)

    def answer(self, call: Call = SEND) -> AwsError | None:
        """What the faults answer to a call."""
        decision = self.schedule.decide(call)
        answering = decision.answering if decision else None
        assert answering is None or isinstance(answering.answer, AwsError)
        return answering.answer if answering else None  # type: ignore[return-value]  # asserted above

    def ask(self, method: str, order: Any = None, name: str = "") -> tuple[int, Any]:
        """Status and document of the testbed's own route."""
        body = order if isinstance(order, bytes) else b"" if order is None else json.dumps(order).encode()
        reply = self.chaos.handle(Inbound(method, f"/_testbed/chaos{name}", CIMultiDict(), body))
        return reply.status, json.loads(reply.body)

    def localstack_ask(self, method: str, order: Any = None, route: str = "faults") -> tuple[int, Any]:
        """The same of LocalStack's."""
        body = order if isinstance(order, bytes) else b"" if order is None else json.dumps(order).encode()
        reply = self.localstack.handle(Inbound(method, f"/_localstack/chaos/{route}", CIMultiDict(), body))
        return reply.status, json.loads(reply.body or b"null")

    @property
    def names(self) -> list[str]:
        """The faults that act."""
        return [armed.fault.name for armed in self.schedule.faults]


@pytest.fixture
def stage() -> FakeStage:
    """One for each test."""
    return FakeStage()


def test_a_fault_is_added_and_tells_what_it_did(stage: FakeStage) -> None:
    """Its fields, its seed, since when, how often it fired and on what last."""
    status, told = stage.ask("POST", THROTTLE)
    assert (status, told["added"], told["run"]) == (200, ["throttle-1"], None)
    assert stage.answer() == AwsError("RequestThrottled", 403, "Request is throttled.")
    _, told = stage.ask("GET")
    assert told["faults"] == [
        {
            "name": "throttle-1",
            "fault": THROTTLE | {"name": "throttle-1"},
            "seed": 0,
            "since": 10.0,
            "fired": 1,
            "last": {
                "service": "sqs",
                "operation": "SendMessage",
                "resource": "orders",
                "caller": "client",
                "identity": SEND.identity,
                "attempt": 1,
                "at": 10.0,
            },
        }
    ]
    assert stage.heard == ["throttle-1 SendMessage"]


def test_windows_count_from_when_a_fault_was_added(stage: FakeStage) -> None:
    """Whenever that was, and for each of its own."""
    stage.ask("POST", THROTTLE | {"name": "first", "during": [0, 5]})
    stage.now = 20.0
    stage.ask("POST", {"type": "Latency", "name": "second", "service": "sqs", "latency_ms": 10, "during": [1, 2]})
    assert [stage.schedule.decide(Call(*_at(at))) is not None for at in (14.9, 15.0, 20.5, 21.0, 22.0)] == [
        True,
        False,
        False,
        True,
        False,
    ]


def _at(at: float) -> tuple[Any, ...]:
    return ("sqs", "SendMessage", "orders", "client", "i", 1, at)


def test_the_seed_decides(stage: FakeStage) -> None:
    """The same seed hits the same calls, another one others; a list is added as a whole."""

    def hit(seed: int) -> set[str]:
        stage.ask("DELETE")
        faults = [THROTTLE | {"probability": 0.5, "name": "half"}, {"type": "ServiceError", "service": "s3"}]
        status, told = stage.ask("POST", {"faults": faults, "seed": seed})
        assert (status, len(told["faults"])) == (200, 2)
        ids = [str(number) for number in range(50)]
        return {each for each in ids if stage.schedule.decide(Call("sqs", "Send", "q", "client", each, 1, 0.0))}

    assert hit(7) == hit(7)
    assert hit(7) != hit(8)
    assert 10 < len(hit(7)) < 40


def test_faults_are_removed_by_name_or_all(stage: FakeStage) -> None:
    """One that is not there is told; a name may need quoting."""
    stage.ask("POST", [THROTTLE | {"name": "a b"}, THROTTLE | {"name": "c"}, THROTTLE])
    assert stage.names == ["a b", "c", "throttle-3"]
    assert stage.ask("DELETE", name="/a%20b")[0] == 200
    assert stage.names == ["c", "throttle-3"]
    status, told = stage.ask("DELETE", name="/a%20b")
    assert (status, told["message"].partition(";")[0]) == (400, "there is no fault 'a b'")
    stage.ask("POST", THROTTLE)
    assert stage.names == ["c", "throttle-3", "throttle-4"]
    assert stage.ask("DELETE")[1]["faults"] == []
    assert stage.names == []
    assert stage.answer() is None


def test_a_run_has_its_own_faults_alone(stage: FakeStage) -> None:
    """It replaces those that were added, nobody changes them meanwhile, and none is left."""
    stage.ask("POST", THROTTLE)
    stage.begin()
    for method, order in (("POST", THROTTLE), ("DELETE", None)):
        status, told = stage.ask(method, order)
        assert status == 409
        assert told["message"].startswith("a run goes on; ")
    for method in ("POST", "PATCH"):
        assert stage.localstack_ask(method, [{}])[0] == 409
    assert stage.localstack_ask("POST", [])[0] == 409
    assert stage.localstack_ask("POST", {"latency": 5}, "effects")[0] == 409
    told = stage.ask("GET")[1]
    assert [fault["name"] for fault in told["faults"]] == ["of-the-run"]
    assert told["run"] == "a run goes on"
    stage.end()
    assert stage.ask("GET")[1]["faults"] == []
    assert stage.ask("POST", THROTTLE)[1]["added"] == ["throttle-2"]


def test_what_is_deployed_for_a_run_meets_no_faults(stage: FakeStage) -> None:
    """They are forgotten as soon as the run has the testbed."""
    stage.added.forget()
    stage.ask("POST", THROTTLE)
    stage.added.forget()
    assert stage.names == []


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (b"{", "the body is not JSON"),
        (b"", "the body is not JSON"),
        ("Throttle", "these are no faults"),
        ({"faults": "Throttle"}, "these are no faults"),
        ({"seed": 1}, "these are no faults"),
        ({"faults": [THROTTLE], "seed": "1"}, "seed='1' is no whole number"),
        ([THROTTLE, {"type": "Unknown"}], "no fault has the type 'Unknown'"),
        ([THROTTLE, THROTTLE | {"probability": 2}], "probability=2 is not"),
        ([THROTTLE | {"name": "a"}, THROTTLE | {"name": "a"}], "there is a fault 'a' already"),
        ([THROTTLE, THROTTLE | {"when": {"callable": "/nowhere.py:it"}}], "/nowhere.py with a trigger cannot be"),
        (b"[" * 200_000, "the body is not JSON"),
        ({"typ": "Throttle"}, "typ: that is unknown"),
        (
            [THROTTLE, {"type": "PartDown", "part": "postgres", "at": 1, "seconds": 1}],
            "PartDown '' cannot be added by hand: it is done by the command",
        ),
        ({"type": "Poison"}, "Poison '' cannot be added by hand: it spoils the orders of a run"),
        ({"fis": "template.json"}, "fis is no experiment template"),
        ({"fis": {}, "compress": "2"}, "compress='2' is no number"),
        ({"fis": {"actions": {"a": {"actionId": "aws:ec2:stop-instances"}}}}, "'aws:ec2:stop-instances' (a) has no"),
        ({"fis": {"actions": {"a": {"actionId": "aws:rds:reboot-db-instances"}}}}, "PartDown 'a' cannot be added"),
    ],
)
def test_what_makes_no_sense_is_refused_as_a_whole(stage: FakeStage, order: Any, why: str) -> None:
    """Nothing of it acts, and the answer says why."""
    stage.ask("POST", THROTTLE | {"name": "before"})
    status, told = stage.ask("POST", order)
    assert status == 400
    assert why in told["message"]
    assert stage.names == ["before"]


def test_other_methods_are_told_which_there_are(stage: FakeStage) -> None:
    """On both routes."""
    assert stage.ask("PUT", THROTTLE) == (405, {"message": "PUT is not answered here, only GET, POST, DELETE"})
    assert stage.localstack_ask("PUT", [])[0] == 405
    assert stage.localstack_ask("DELETE", {}, "effects")[0] == 405
    assert stage.localstack_ask("GET", route="weather")[0] == 404


def test_an_experiment_template_may_be_added(stage: FakeStage) -> None:
    """Its windows count from now on, and what is not done here is told."""
    template = {
        "targets": {"s": {"resourceType": "aws:kinesis:stream", "resourceArns": ["arn:aws:kinesis:r:1:stream/s"]}},
        "actions": {
            "busy": {
                "actionId": "aws:kinesis:stream-provisioned-throughput-exception",
                "parameters": {"duration": "PT2M", "percentage": "100"},
                "targets": {"KinesisStreams": "s"},
            }
        },
        "stopConditions": [{"source": "aws:cloudwatch:alarm", "value": "an alarm"}],
    }
    status, told = stage.ask("POST", {"fis": template, "compress": 60})
    assert (status, told["added"]) == (200, ["busy"])
    assert told["notes"] == ["stop conditions are not watched here: an alarm"]
    put = [Call("kinesis", "PutRecord", "s", "client", "i", 1, at) for at in (10.0, 11.9, 12.0)]
    assert [stage.answer(call) is not None for call in put] == [True, True, False]


OUTAGE = AwsError("ServiceUnavailable", 503, "the testbed answers so by a rule of its Chaos API")
RULES = [
    {"service": "s3", "region": "us-east-1"},
    {"service": "s3", "region": "ap-south-1"},
    {"service": "lambda"},
    {"service": "sqs", "operation": "SendMessage", "error": {"statusCode": 400, "code": "Bad"}},
    {"service": "sqs", "probability": 0},
]


def test_localstack_s_rules_are_faults(stage: FakeStage) -> None:
    """By service, region and operation; its defaults are 503 and ServiceUnavailable."""
    assert stage.localstack_ask("GET") == (200, [])
    assert stage.localstack_ask("POST", RULES) == (200, RULES)
    assert stage.localstack_ask("GET") == (200, RULES)
    assert stage.answer(Call("s3", "PutObject", "b", "client", "i", 1, 0.0)) == OUTAGE
    assert stage.answer(Call("lambda", "Invoke", "f", "client", "i", 1, 0.0)) == OUTAGE
    assert stage.answer() == AwsError("Bad", 400, OUTAGE.message)
    assert stage.answer(Call("sqs", "ReceiveMessage", "q", "client", "i", 1, 0.0)) is None
    assert stage.answer(Call("kinesis", "PutRecord", "s", "client", "i", 1, 0.0)) is None
    assert stage.names == ["localstack-1", "localstack-3", "localstack-4"]


def test_localstack_s_rules_are_replaced_added_and_removed(stage: FakeStage) -> None:
    """POST replaces, PATCH adds, DELETE removes what is exactly the same; faults added otherwise stay."""
    stage.ask("POST", THROTTLE | {"name": "own"})
    stage.localstack_ask("POST", RULES)
    assert stage.localstack_ask("POST", [{"service": "kinesis"}]) == (200, [{"service": "kinesis"}])
    assert stage.localstack_ask("PATCH", {"service": "sns"}) == (200, [{"service": "kinesis"}, {"service": "sns"}])
    status, told = stage.localstack_ask("DELETE", [{"service": "sns", "probability": 1}])
    assert (status, "there is no rule" in told["message"]) == (400, True)
    assert stage.localstack_ask("DELETE", [{"service": "kinesis"}]) == (200, [{"service": "sns"}])
    assert len(stage.names) == 2
    assert stage.localstack_ask("POST", []) == (200, [])
    assert stage.names == ["own"]


def test_an_empty_rule_hits_everything_but_postgres(stage: FakeStage) -> None:
    """As LocalStack's documentation says of ``[{}]``; the first rule that hits answers."""
    stage.localstack_ask("POST", [{}, {"service": "sqs", "error": {"code": "Never"}}])
    assert stage.answer() == OUTAGE
    assert stage.answer(Call("dynamodb", "PutItem", "t", "client", "i", 1, 0.0)) == OUTAGE
    assert stage.schedule.decide(Call("postgres", "INSERT", "d", "client", "i", 1, 0.0)) is None


def test_localstack_s_latency_slows_every_call(stage: FakeStage) -> None:
    """In milliseconds; none is none."""
    assert stage.localstack_ask("GET", route="effects") == (200, {"latency": 0})
    assert stage.localstack_ask("POST", {"latency": 50}, "effects") == (200, {"latency": 50})
    assert stage.localstack_ask("POST", {"latency": 250}, "effects") == (200, {"latency": 250})
    decision = stage.schedule.decide(SEND)
    assert decision is not None
    assert decision.injections == (Injection("localstack-latency", delay=0.25),)
    assert stage.localstack_ask("POST", {}, "effects") == (200, {"latency": 0})
    assert stage.schedule.decide(SEND) is None


def test_localstack_s_routes_forget_what_is_gone(stage: FakeStage) -> None:
    """Rules that were removed by the testbed's own route, or by a run."""
    stage.localstack_ask("POST", [{"service": "sns"}, {"service": "sqs"}])
    stage.localstack_ask("POST", {"latency": 5}, "effects")
    stage.ask("DELETE", name="/localstack-1")
    assert stage.localstack_ask("GET") == (200, [{"service": "sqs"}])
    stage.ask("DELETE", name="/localstack-latency")
    assert stage.localstack_ask("GET", route="effects") == (200, {"latency": 0})
    stage.begin()
    stage.end()
    assert stage.localstack_ask("GET") == (200, [])
    assert stage.localstack_ask("POST", [{"service": "sqs"}]) == (200, [{"service": "sqs"}])
    assert stage.answer() == OUTAGE


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (b"x", "the body is not JSON"),
        ("sqs", "these are no rules"),
        (["sqs"], "these are no rules"),
        ([{"service": "sqs"}, {"name": "x"}], "'name' is unknown"),
        ([{"service": 5}], "service=5 has the wrong type"),
        ([{"probability": True}], "probability=True has the wrong type"),
        ([{"probability": 2}], "probability=2 is not more than 0"),
        ([{"error": {"status": 500}}], "'status' is unknown"),
        ([{"error": {"statusCode": 200}}], "status=200 is no error"),
    ],
)
def test_rules_that_make_no_sense_change_nothing(stage: FakeStage, order: Any, why: str) -> None:
    """The rules of before go on."""
    stage.localstack_ask("POST", [{"service": "sns"}])
    for method in ("POST", "PATCH"):
        status, told = stage.localstack_ask(method, order)
        assert status == 400
        assert why in told["message"]
        assert stage.localstack_ask("GET") == (200, [{"service": "sns"}])
        assert stage.names == ["localstack-1"]


@pytest.mark.parametrize("effects", [{"latency": -1}, {"latency": "5"}, {"jitter": 5}, 5])
def test_effects_that_make_no_sense_change_nothing(stage: FakeStage, effects: Any) -> None:
    """The latency of before goes on."""
    stage.localstack_ask("POST", {"latency": 5}, "effects")
    assert stage.localstack_ask("POST", effects, "effects")[0] == 400
    assert stage.localstack_ask("GET", route="effects") == (200, {"latency": 5})
