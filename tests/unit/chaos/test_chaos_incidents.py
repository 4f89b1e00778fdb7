"""Incidents: which calls they hit, in what window, and that they can be told apart and put together."""

import inspect
from typing import Any

import pytest

from testbed.chaos import incidents
from testbed.chaos.call import Call, Decision
from testbed.chaos.catalogue import faults_from_json, to_json
from testbed.chaos.fault import CallFault, Fault
from testbed.chaos.faults.database_busy import ConnectionsHogged
from testbed.chaos.faults.poison import Poison
from testbed.chaos.schedule import Schedule, named
from testbed.chaos.timed import TimedFault

WINDOW = (10.0, 20.0)
ARGUMENTS = {"function": "store", "service": "sqs", "queue": "orders", "during": WINDOW, "every": 50}
ALL = [each for _, each in inspect.getmembers(incidents, inspect.isfunction) if each.__module__ == incidents.__name__]


def made(incident: Any) -> list[Fault]:
    parameters = inspect.signature(incident).parameters.values()
    found: list[Fault] = incident(
        **{each.name: ARGUMENTS[each.name] for each in parameters if each.default is each.empty}
    )
    return found


def decided(faults: list[Fault], call: Call) -> Decision | None:
    return Schedule(faults, seed=1).decide(call)


def invoke(caller: str = "mapping:1", at: float = 15.0, resource: str = "store") -> Call:
    return Call("lambda", "Invoke", resource, caller, "order-1", 1, at)


@pytest.mark.parametrize("incident", ALL, ids=lambda each: each.__name__)
def test_an_incident_is_a_list_of_named_faults_that_survives_json(incident: Any) -> None:
    """Names are its own: they stay the same beside other faults."""
    faults = made(incident)
    assert faults
    assert all(fault.name for fault in faults)
    assert faults_from_json(to_json(faults)) == faults


def test_all_incidents_go_together() -> None:
    """No two of their faults share a name."""
    assert len(ALL) == 8
    faults = [fault for incident in ALL for fault in made(incident)]
    assert len({fault.name for fault in named(faults)}) == len(faults)


@pytest.mark.parametrize("incident", [each for each in ALL if "during" in inspect.signature(each).parameters])
def test_every_fault_of_an_incident_stays_within_its_window(incident: Any) -> None:
    """Calls are hit from its start on and until its end at the latest; what happens at a time happens then."""
    for fault in made(incident):
        if isinstance(fault, CallFault):
            assert fault.during is not None
            assert WINDOW[0] <= fault.during[0] < fault.during[1] <= WINDOW[1]
        else:
            assert isinstance(fault, TimedFault)
            assert (fault.at, fault.at + fault.seconds) == WINDOW


def test_a_throttle_that_eats_the_receive_count_hits_mappings_alone() -> None:
    """Who invokes the function otherwise is served."""
    faults = incidents.throttle_eats_receive_count("store", WINDOW, share=1.0)
    assert decided(faults, invoke())
    assert decided(faults, invoke(caller="client")) is None
    assert decided(faults, invoke(resource="take")) is None
    assert decided(faults, invoke(at=20.0)) is None


def test_a_retry_storm_executes_what_it_does_not_answer_in_time() -> None:
    """Late or never, but done: the repetition does it again."""
    decision = decided(incidents.retry_storm("sqs", WINDOW, share=1.0), Call("sqs", "X", "q", "client", "1", 1, 15.0))
    assert decision is not None
    assert decision.delay == 0
    assert 3.75 <= decision.delay_after <= 6.25
    assert decision.answering is None or decision.answering.executed
    calls = [Call("sqs", "X", "q", "client", f"{n}", 1, 15.0) for n in range(400)]
    late, lost = (Schedule([fault], seed=1) for fault in incidents.retry_storm("sqs", WINDOW, share=0.8))
    assert 280 < sum(late.decide(call) is not None for call in calls) < 360
    assert 120 < sum(lost.decide(call) is not None for call in calls) < 200


def test_a_stampede_kills_first_and_then_starts_slowly() -> None:
    """Environments die in the first tenth of the window alone."""
    faults = incidents.cold_start_stampede(WINDOW, seconds=4, functions=("store",))
    effects = {at: decided(faults, invoke(at=at)) for at in (10.5, 12.0)}
    assert [len(each.effects) for each in effects.values() if each] == [2, 1]
    assert "starts 4 s later" in str(effects[12.0].effects[0] if effects[12.0] else "")
    assert decided(faults, invoke(resource="take")) is None


def test_a_slow_consumer_is_slow_for_its_mappings() -> None:
    """The function itself is as it was."""
    faults = incidents.slow_consumer("store", WINDOW, seconds=3)
    assert decided(faults, invoke())
    assert decided(faults, invoke(caller="client")) is None


def test_connections_are_exhausted_down_to_what_is_left() -> None:
    """None by default."""
    [fault] = incidents.connection_exhaustion(WINDOW)
    assert isinstance(fault, ConnectionsHogged)
    assert fault.left == 0


def test_a_poison_shard_has_well_formed_json_that_no_column_takes() -> None:
    """Its partition key is whole, so that it is in one shard."""
    [fault] = incidents.poison_shard(every=50)
    assert isinstance(fault, Poison)
    assert (fault.kinds, fault.every) == (("wrong_type",), 50)


def test_lost_acknowledgements_are_those_of_sends_and_of_deletions() -> None:
    """The send has happened, the deletion has not; receiving goes on."""
    faults = incidents.lost_acknowledgement("orders", WINDOW, share=1.0)
    found = {
        operation: decided(faults, Call("sqs", operation, "orders", "mapping:1", "1", 1, 15.0))
        for operation in ("SendMessage", "DeleteMessageBatch", "ReceiveMessage")
    }
    executed = {name: each.answering.executed for name, each in found.items() if each and each.answering}
    assert executed == {"SendMessage": True, "DeleteMessageBatch": False}
    assert found["ReceiveMessage"] is None


def test_a_brown_out_is_slow_and_short_of_connections() -> None:
    """Both in the same window."""
    faults = incidents.database_brown_out(WINDOW, latency_ms=100, left=2)
    decision = decided(faults, Call("postgres", "Query", "shop", "client", "1", 1, 15.0))
    assert decision is not None
    assert 0.075 <= decision.delay <= 0.125
    assert [fault.left for fault in faults if isinstance(fault, ConnectionsHogged)] == [2]
