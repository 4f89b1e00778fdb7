"""Triggers: what each one selects, and how they combine."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from testbed.chaos.call import Call
from testbed.chaos.faults.throttle import Throttle
from testbed.chaos.schedule import Schedule
from testbed.chaos.trigger import (
    Predicate,
    Trigger,
    at_most,
    attempts,
    caller,
    every_nth,
    function,
    key,
    nth,
    operation,
    probability,
    rate,
    resource,
    service,
    trigger_from_json,
    window,
)
from testbed.errors import UsageError
from testbed.trace import digest_of
from testbed.trial import _check_triggers

CALL = Call("sqs", "SendMessage", "orders", "function:store", "order-1", 1, 5.0, order=6, key=digest_of("o-5"))


def big_orders(call: Call) -> bool:
    """A trigger of one's own."""
    return call.order is not None and call.order > 5


def hits(trigger: Trigger, *calls: Call) -> list[bool]:
    """What it says of each call, in this order."""
    holds = trigger.armed(1, "fault")
    return [holds(call) for call in calls or (CALL,)]


@pytest.mark.parametrize(
    ("trigger", "hit"),
    [
        (service("sqs"), True),
        (service("sns", "s3"), False),
        (operation("SendMessage"), True),
        (operation("Send"), False),
        (resource("more", "orders"), True),
        (resource("order"), False),
        (function("store"), True),
        (function("orders"), False),
        (caller("function:store"), True),
        (caller("function"), True),
        (caller("function:other", "client"), False),
        (key("o-5"), True),
        (key("o-6"), False),
        (window(5, 6), True),
        (window(4, 5), False),
        (attempts(1), True),
        (attempts(2, 9), False),
        (every_nth(3), True),
        (every_nth(4), False),
        (nth(6), True),
        (nth(1), False),
        (probability(1), True),
        (service("sqs") & operation("SendMessage"), True),
        (service("sqs") & operation("Receive"), False),
        (service("sns") | operation("SendMessage"), True),
        (service("sns") | operation("Receive"), False),
        (~service("sqs"), False),
        (~service("sns") & (nth(1) | nth(6)), True),
        (service("sqs") & big_orders, True),
        (big_orders & ~service("sqs"), False),
    ],
)
def test_selects(trigger: Trigger, hit: bool) -> None:
    """Each trigger by itself and combined, and the same once it was JSON."""
    assert hits(trigger) == [hit]
    again = trigger_from_json(trigger.to_json())
    assert again == trigger
    assert hits(again) == [hit]


def test_function_is_the_one_invoked_too() -> None:
    """What happens to a function, and what it does."""
    invoke = replace(CALL, service="lambda", operation="Invoke", resource="store", caller="client")
    assert hits(function("store"), invoke, replace(invoke, resource="other")) == [True, False]


def test_every_nth_of_calls_without_an_order_counts_them() -> None:
    """They have no place in the plan."""
    alone = replace(CALL, order=None, key="")
    assert hits(every_nth(3), *[alone] * 7) == [False, False, True] * 2 + [False]
    assert hits(nth(2), *[alone] * 4) == [False, True, False, False]


def test_at_most_counts_only_where_it_is_asked() -> None:
    """Put last, it counts what the others let through; each run begins anew."""
    trigger = operation("SendMessage") & at_most(2)
    other = replace(CALL, operation="DeleteMessage")
    for _ in range(2):
        assert hits(trigger, other, CALL, other, CALL, CALL, CALL) == [False, True, False, True, False, False]


def test_rate_is_a_bucket_of_one_second() -> None:
    """Two per second: two at once, then one each half second, by planned time."""
    times = [0.0, 0.0, 0.0, 0.4, 0.5, 0.6, 1.0, 9.0, 9.0, 9.0]
    expected = [True, True, False, False, True, False, True, True, True, False]
    assert hits(rate(2), *(replace(CALL, at=at) for at in times)) == expected


def test_probability_hits_its_share_whatever_the_order() -> None:
    """A tenth of many, the same ones in reverse."""
    calls = [replace(CALL, identity=f"order-{number}") for number in range(10_000)]
    found = hits(probability(0.1), *calls)
    assert 880 < sum(found) < 1120
    assert hits(probability(0.1), *calls[::-1]) == found[::-1]


def test_a_fault_takes_a_trigger_and_a_function() -> None:
    """Besides its own selectors, and through JSON's way to the data plane."""
    for when in (big_orders, service("sqs") & big_orders):
        throttle = Throttle(service="sqs", when=when)
        assert throttle.armed(1)(CALL)
        assert not throttle.armed(1)(replace(CALL, order=2))


def fails_at_the_second(call: Call) -> bool:
    """One that does not cope with every call."""
    return call.attempt < 1 // (2 - call.attempt)


def test_a_function_that_raises_hits_nothing_and_is_told() -> None:
    """The data plane goes on; the run says so at its end."""
    schedule = Schedule([Throttle(service="sqs", name="own", when=fails_at_the_second)], 1)
    assert schedule.decide(CALL) is None
    assert schedule.broken == ""
    assert schedule.decide(replace(CALL, attempt=2)) is None
    assert "trigger 'fails_at_the_second' in " in schedule.broken
    assert schedule.broken.endswith("raised ZeroDivisionError: integer division or modulo by zero")
    _check_triggers({"broken_trigger": ""})
    with pytest.raises(UsageError, match="raised ZeroDivisionError"):
        _check_triggers({"broken_trigger": schedule.broken})


def test_whatever_a_trigger_raises_is_told_and_the_call_goes_on() -> None:
    """A call that is lost would look like what a fault has done; the first error is kept, and other faults act."""

    @dataclass(frozen=True)
    class Careless(Trigger):
        def armed(self, seed: int, fault: str) -> Predicate:
            del seed, fault
            return lambda call: call.order is not None and 1 // (call.order - 6) > 0

        def to_json(self) -> dict[str, Any]:
            return {"careless": 1}

    own = Throttle(service="sqs", name="own", when=fails_at_the_second)
    schedule = Schedule(
        [Throttle(service="sqs", name="c", when=~Careless()), own, Throttle(service="sqs", name="t")], 1
    )
    for attempt in (1, 2):
        decision = schedule.decide(replace(CALL, attempt=attempt))
        assert decision is not None
        assert [each.fault for each in decision.injections] == ["t"]
    told = "integer division or modulo by zero"
    assert schedule.broken == f"the trigger of the fault 'c' raised ZeroDivisionError: {told}"


@pytest.mark.parametrize(
    "make", [lambda: nth(0), lambda: window(3, 3), lambda: rate(0), service, lambda: attempts(2, 1)]
)
def test_refuses_what_can_never_hold(make: object) -> None:
    """A mistake of the scenario, told at once."""
    with pytest.raises(UsageError):
        make()  # type: ignore[operator]


def test_a_lambda_is_refused_as_the_data_plane_could_not_find_it() -> None:
    """With what to do instead."""
    with pytest.raises(UsageError, match="cannot be a trigger") as refused:
        service("sqs") & (lambda call: call.attempt > 1)
    assert "def at the top level" in (refused.value.hint or "")


@pytest.mark.parametrize("document", [{}, {"sometimes": 1}, {"window": [1]}, {"all": 3}, {"nth": 1, "rate": 2}, []])
def test_says_what_is_no_trigger_in_json(document: object) -> None:
    """Written by hand, with a typing error."""
    with pytest.raises(UsageError, match="is not a trigger"):
        trigger_from_json(document)  # type: ignore[arg-type]
