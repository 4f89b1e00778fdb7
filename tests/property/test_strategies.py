"""What the public strategies make is valid, survives JSON, and shrinks to what is easiest to understand."""

import json
from random import Random

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import testbed
from testbed import Throttle, Traffic, strategies
from testbed.chaos.catalogue import faults_from_json, to_json
from testbed.chaos.fault import CallFault, Fault
from testbed.chaos.faults.taken_away import MappingOff
from testbed.chaos.schedule import Schedule
from testbed.chaos.timed import TimedFault, check_apart
from testbed.chaos.trigger import Trigger, trigger_from_json
from testbed.errors import UsageError

SECONDS = 4.0
SURFACE = strategies.Surface(
    calls=[
        ("execute-api", "POST", ""),
        ("lambda", "Invoke", "front"),
        ("lambda", "Invoke", "store"),
        ("sqs", "SendMessage", "orders"),
        ("sqs", "ReceiveMessage", "orders"),
        ("sqs", "DeleteMessageBatch", "orders"),
        ("postgres", "", ""),
    ],
    consumers=["store"],
    tables=["orders"],
)
TIMED = [kind for kind in strategies.KINDS if issubclass(kind, TimedFault)]
SEED = Random(7)  # noqa: S311 - the seed of `find`


@given(strategies.faults(SURFACE, seconds=SECONDS))
def test_faults_survive_json(faults: list[Fault]) -> None:
    """As they do on their way to the data plane, into a manifest, and into a test."""
    assert faults_from_json(json.loads(json.dumps(to_json(faults)))) == faults
    assert Schedule(faults, 1).armed == sum(isinstance(fault, CallFault) for fault in faults)


@given(strategies.faults(SURFACE, seconds=SECONDS))
def test_faults_act_within_the_traffic_and_on_what_is_there(faults: list[Fault]) -> None:
    """None of them can be one that never fires for want of something to hit."""
    for fault in faults:
        if isinstance(fault, CallFault):
            assert fault.during is not None
            assert fault.during[1] <= SECONDS
            operations = fault.operations if fault.service != "postgres" else ()
            hops = {(fault.service, operation) for operation in operations or ("",)}
            assert hops & {hop[:2] for hop in SURFACE.calls}
            assert set(fault.resources) <= {"front", "store", "orders"}
        else:
            assert isinstance(fault, TimedFault)
            assert fault.at + fault.seconds <= SECONDS


@given(strategies.faults(SURFACE, seconds=SECONDS, kinds=TIMED, most=9))
def test_faults_at_a_time_leave_each_other_alone(faults: list[Fault]) -> None:
    """No scenario refuses them."""
    check_apart(faults)


@pytest.mark.parametrize("kind", strategies.KINDS)
def test_every_kind_of_fault_is_made(kind: type[Fault]) -> None:
    """Where there is something for it to hit."""
    [fault] = find(strategies.faults(SURFACE, seconds=SECONDS, kinds=[kind], most=1), lambda _: True, random=SEED)
    assert type(fault) is kind
    assert getattr(testbed, kind.__name__) is kind, "a test that reproduces a find imports it from there"


@given(strategies.triggers(names={"operation": ["SendMessage"], "function": ["front", "store"]}))
def test_triggers_survive_json(trigger: Trigger) -> None:
    """Combined ones too."""
    assert trigger_from_json(json.loads(json.dumps(trigger.to_json()))) == trigger


@settings(max_examples=50)
@given(strategies.traffic(), st.integers())
def test_traffic_can_be_planned(traffic: Traffic, seed: int) -> None:
    """The same seed, the same plan."""
    assert traffic.plan(seed, None) == traffic.plan(seed, None)
    assert len(traffic.plan(seed, None)) <= 2 * 5 * 50 * 2


def test_faults_shrink_to_one_that_is_rare_and_short() -> None:
    """Whatever kind does it."""
    found = find(strategies.faults(SURFACE, seconds=SECONDS, kinds=[Throttle, MappingOff]), _throttles, random=SEED)
    name = "Throttle-lambda-Invoke-store"
    assert found == [
        Throttle(
            name=name,
            service="lambda",
            operations=("Invoke",),
            resources=("store",),
            probability=0.1,
            during=(0.0, 1.0),
        )
    ]


def _throttles(faults: list[Fault]) -> bool:
    return any(isinstance(fault, Throttle) and fault.resources == ("store",) for fault in faults)


def test_traffic_shrinks_to_few_orders() -> None:
    """As few as will do."""
    found = find(strategies.traffic(), lambda traffic: len(traffic.plan(1, None)) >= 12, random=SEED)
    assert len(found.plan(1, None)) <= 15


def test_kinds_that_can_hit_nothing_are_refused() -> None:
    """Rather than a search that never begins."""
    with pytest.raises(UsageError, match="no fault of MappingOff can hit what is deployed"):
        strategies.faults(strategies.Surface(calls=[("postgres", "", "")]), seconds=SECONDS, kinds=[MappingOff])
