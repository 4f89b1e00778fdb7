"""Faults and templates that somebody wrote by hand: whatever stands in a field, it is a fault or a clear refusal."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields
from typing import Any, Final

import pytest
from every_fault import every_fault

from testbed.chaos import fis
from testbed.chaos.call import Call
from testbed.chaos.catalogue import FAULTS, faults_from_json, to_json
from testbed.chaos.fault import Fault
from testbed.chaos.faults.database_busy import ConnectionsHogged, LockHeld
from testbed.chaos.faults.part_down import PartDown
from testbed.chaos.faults.poison import Poison
from testbed.chaos.faults.taken_away import ConcurrencyTaken, MappingOff
from testbed.chaos.schedule import Schedule
from testbed.errors import UsageError

ODD: Final[tuple[Any, ...]] = (
    None, True, -1, 0, 1.5, 5, 10**400, float("nan"), float("inf"), "", "x", "5", [], [1], ["a"], [1, 2], [[1]],
    ["a", 2], {}, {"a": 1}, {"a": {"b": 1}}, {"rate": float("nan")}, {"nth": "3"}, {"callable": "/nowhere.py:it"},
    {"key": [5]},
)  # fmt: skip
CALLS: Final = tuple(
    Call(service, operation, "orders", "function:store", "order-1", attempt=1, at=3.0)
    for service, operation in (
        ("sqs", "SendMessage"), ("sqs", "ReceiveMessage"), ("lambda", "Invoke"), ("kinesis", "PutRecords"),
        ("dynamodb", "BatchWriteItem"), ("execute-api", "POST"), ("postgres", "Connect"), ("postgres", "Commit"),
    )
)  # fmt: skip
OTHERS: Final = (
    ConcurrencyTaken(function="store", at=1, seconds=1),
    MappingOff(function="store", at=1, seconds=1),
    ConnectionsHogged(at=1, seconds=1),
    LockHeld(table="orders", at=1, seconds=1),
    PartDown(part="postgres", at=1, seconds=1),
    Poison(),
)
FAULT_OF_EACH_KIND: Final = {type(fault).__name__: fault for fault in (*every_fault(), *OTHERS)}


def test_there_is_one_of_each_kind() -> None:
    """So that no kind escapes the tests below."""
    assert set(FAULT_OF_EACH_KIND) == set(FAULTS)


@pytest.mark.parametrize("fault", FAULT_OF_EACH_KIND.values(), ids=FAULT_OF_EACH_KIND)
def test_an_odd_value_is_refused_or_does_no_harm(fault: Fault) -> None:
    """In every field; a fault that is taken decides every kind of call, and is JSON again."""
    [good] = to_json([fault])
    refusals = []
    for field in (field for field in fields(fault) if field.init):
        for value in ODD:
            try:
                [odd] = faults_from_json([good | {field.name: value}])
                schedule = Schedule([odd], seed=1)
            except UsageError as error:
                refusals.append(error)
                continue
            assert faults_from_json(to_json([odd])) == [odd]
            for call in CALLS:
                if decision := schedule.decide(call):
                    assert decision.delay >= 0
    assert len(refusals) > len(ODD)
    assert all(refusal.hint for refusal in refusals)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"type": "Throttle", "service": "sqs", "probability": "high"}, "Throttle: probability='high' is not a number"),
        ({"type": "Throttle", "service": 5}, "Throttle: service=5 is not a text"),
        ({"type": "Throttle", "service": "sqs", "during": [10]}, r"Throttle: during=\(10,\) is not a pair of numbers"),
        ({"type": "Throttle", "service": "sqs", "operations": "Send"}, r"operations='Send' is not a tuple of names"),
        (
            {"type": "PartDown", "part": "moto", "at": 1, "seconds": 1},
            "PartDown: part='moto' is not 'localstack' or 'postgres'",
        ),
        ({"type": "LateDelivery", "seconds": 1.5}, "LateDelivery: seconds=1.5 is not a whole number"),
        ({"type": "InvocationError", "prevent_execution": "no"}, "prevent_execution='no' is not true or false"),
        ({"type": "SlowPostgres", "latency_ms": float("nan")}, "SlowPostgres: latency_ms=nan is not a number"),
        ({"type": "PartDown", "part": "postgres"}, "PartDown: at, seconds is missing"),
        ({"type": "SlowPostgres", "latency": 5}, "SlowPostgres: there is no field 'latency'"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_would_do(entry: dict[str, Any], why: str) -> None:
    """The kind of fault, the field, what it was given and what it takes."""
    with pytest.raises(UsageError, match=why):
        faults_from_json([entry])


TEMPLATE: Final[dict[str, Any]] = {
    "targets": {
        "f": {"resourceArns": ["arn:aws:lambda:us-east-1:000000000000:function:store"], "selectionMode": "ALL"}
    },
    "actions": {
        "late": {
            "actionId": "aws:lambda:invocation-add-delay",
            "parameters": {"duration": "PT1M", "startupDelayMilliseconds": "500"},
            "targets": {"Functions": "f"},
            "startAfter": ["wait"],
        },
        "wait": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}},
    },
    "stopConditions": [{"source": "none"}],
}


def test_a_template_with_an_odd_value_is_refused_or_read() -> None:
    """At every place of it."""
    assert [fault.name for fault in fis.faults(TEMPLATE)] == ["late"]
    refusals = []
    for path in _paths(TEMPLATE):
        for value in ODD:
            try:
                fis.faults(_with(TEMPLATE, path, value))
            except UsageError as error:
                refusals.append(error)
    assert len(refusals) > len(ODD)
    assert all(refusal.hint for refusal in refusals)


def _paths(document: Any) -> Iterator[tuple[Any, ...]]:
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document if isinstance(document, list) else ())
    )
    for name, each in inner:
        yield (name,)
        yield from ((name, *path) for path in _paths(each))


def _with(document: Any, path: tuple[Any, ...], value: object) -> Any:
    changed = deepcopy(document)
    at = changed
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    return changed
