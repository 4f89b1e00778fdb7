"""Which faults hit a call, and what is counted of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from testbed.chaos.call import RESET, AwsError, Call, Decision, Injection
from testbed.chaos.catalogue import faults_from_json, to_json
from testbed.chaos.fault import CallFault, Fault
from testbed.chaos.faults.duplicate import Twice
from testbed.chaos.faults.invocation import InvocationDelay, InvocationError
from testbed.chaos.faults.latency import Latency
from testbed.chaos.faults.lost_reply import LostReply, Unreachable
from testbed.chaos.faults.poison import Poison
from testbed.chaos.faults.slow_postgres import SlowPostgres
from testbed.chaos.faults.throttle import Throttle
from testbed.chaos.schedule import Schedule
from testbed.chaos.trigger import Trigger, at_most, nth, rate
from testbed.errors import UsageError

CALL = Call("sqs", "SendMessage", "orders", "client", "order-1", attempt=1, at=5.0)


@dataclass(frozen=True, kw_only=True)
class Scripted(CallFault):
    """Does to every call what it was told."""

    service: str = "sqs"
    delay: float = 0.0
    error: AwsError | None = None
    executed: bool = False

    def inject(self, call: Call, seed: int) -> Injection:
        del call, seed
        return Injection(self.name, self.delay, self.error, self.executed)


FIRST = AwsError("First", 400, "")
SECOND = AwsError("Second", 400, "")


def test_leaves_calls_alone_that_no_fault_is_for() -> None:
    """A service without faults, and a schedule without any, decide nothing."""
    assert Schedule([Scripted(service="lambda", delay=1)], 1).decide(CALL) is None
    assert Schedule([], 1).decide(CALL) is None


def test_delays_add_up_and_the_first_error_wins() -> None:
    """Faults combine in the order of the list; the one that answers is told."""
    faults = [Scripted(name="a", delay=1), Scripted(name="b", delay=2, error=FIRST), Scripted(name="c", error=SECOND)]
    decision = Schedule(faults, 1).decide(CALL)
    assert decision == Decision((Injection("a", 1), Injection("b", 2, FIRST)))
    assert decision.delay == 3
    assert decision.answering == Injection("b", 2, FIRST)


def test_what_comes_after_the_call_counts_only_where_it_is_executed() -> None:
    """A reply that is lost anyway can be lost once; an effect on a call that never happens is none."""
    lost = Scripted(name="lost", error=FIRST, executed=True)
    refused = Scripted(name="refused", error=SECOND)
    schedule = Schedule([lost, refused], 1)
    decision = schedule.decide(CALL)
    assert decision is not None
    assert decision.answering == Injection("lost", answer=FIRST, executed=True)
    decision.answering.happened()
    assert schedule.fired == {"lost": 1, "refused": 0}


def test_counts_and_tells_only_what_had_an_effect() -> None:
    """An error behind another error never reached the caller: it did not fire."""
    heard: list[tuple[Call, Injection]] = []
    faults = [Scripted(name="a", error=FIRST), Scripted(name="b", error=SECOND), Scripted(name="c", delay=1)]
    schedule = Schedule(faults, 1, lambda call, injection: heard.append((call, injection)))
    schedule.decide(CALL)
    assert schedule.fired == {"a": 1, "b": 0, "c": 1}
    assert heard == [(CALL, Injection("a", answer=FIRST)), (CALL, Injection("c", 1))]


@dataclass(frozen=True, kw_only=True)
class Odd(CallFault):
    """Has an effect on every call."""

    service: str = "sqs"

    def inject(self, call: Call, seed: int) -> Injection:
        del call, seed
        return Injection(self.name, effect=Twice())


def test_an_effect_has_fired_once_somebody_says_that_it_happened() -> None:
    """Each call counts once, however often that is said; the effect itself can say it."""
    heard: list[str] = []
    schedule = Schedule([Odd(name="odd")], 1, lambda call, injection: heard.append(f"{injection.fault} {call.attempt}"))
    first, second = (schedule.decide(replace(CALL, attempt=attempt)) for attempt in (1, 2))
    assert first is not None
    assert second is not None
    assert (schedule.fired, heard) == ({"odd": 0}, [])
    second.effects[0].happened()
    second.injections[0].happened()
    assert (schedule.fired, heard) == ({"odd": 1}, ["odd 2"])
    first.effects[0].happened()
    assert (schedule.fired, heard, schedule.faults[0].last) == ({"odd": 2}, ["odd 2", "odd 1"], CALL)


def test_what_happens_after_a_run_is_not_told_to_the_next() -> None:
    """A call may outlive the schedule that hit it."""
    heard: list[Injection] = []
    schedule = Schedule([Odd()], 1, lambda _, injection: heard.append(injection))
    decision = schedule.decide(CALL)
    assert decision is not None
    schedule.retire()
    decision.effects[0].happened()
    assert heard == []


THROTTLED = Throttle(name="t", service="sqs", callers=("client",))
LATE = Latency(name="late", service="sqs", latency_ms=5, position="after")


@pytest.mark.parametrize("condition", [at_most(1), rate(1), nth(1)], ids=["at most", "rate", "nth"])
@pytest.mark.parametrize("masked", [LATE, Odd(name="late"), LostReply(name="late", service="sqs")])
@pytest.mark.parametrize("comes_first", [True, False])
def test_a_call_that_another_fault_has_answered_is_not_counted(
    condition: Trigger, masked: CallFault, *, comes_first: bool
) -> None:
    """Wherever it stands in the list: its turn comes with the first call that it can do something to."""
    masked = replace(masked, when=condition)
    answered_last = comes_first and not masked.answers
    schedule = Schedule([masked, THROTTLED] if answered_last else [THROTTLED, masked], 1)
    hits = [schedule.decide(replace(CALL, caller=caller)) for caller in ("client", "client", "mapping:1", "mapping:1")]
    assert [[each.fault for each in hit.injections] if hit else [] for hit in hits] == [["t"], ["t"], ["late"], []]
    assert schedule.fired["t"] == 2


def test_a_delay_before_the_answer_of_another_counts() -> None:
    """The caller waits for its answer, whoever gives it."""
    schedule = Schedule([THROTTLED, Latency(name="slow", service="sqs", latency_ms=5, when=at_most(1))], 1)
    assert [decision.delay for decision in (schedule.decide(CALL), schedule.decide(CALL)) if decision] == [0.005, 0]
    assert schedule.fired == {"t": 2, "slow": 1}


HANG = Unreachable(name="hang", service="sqs", kind="hang", hang_seconds=3)


@pytest.mark.parametrize("answering", [LostReply(name="first", service="sqs"), Throttle(name="first", service="sqs")])
def test_a_delay_that_belongs_to_an_answer_is_masked_with_it(answering: CallFault) -> None:
    """A connection does not hang before it breaks where another fault has answered; where it comes first it does."""
    schedule = Schedule([answering, HANG], 1)
    decision = schedule.decide(CALL)
    assert decision is not None
    assert [(each.fault, each.delay) for each in decision.injections] == [("first", 0)]
    decision.injections[0].happened()
    assert schedule.fired == {"first": 1, "hang": 0}
    schedule = Schedule([HANG, answering], 1)
    decision = schedule.decide(CALL)
    assert decision is not None
    assert (decision.delay, decision.answering) == (3, Injection("hang", 3, RESET))
    assert schedule.fired == {"hang": 1, "first": 0}


@pytest.mark.parametrize("prevented", [True, False])
def test_a_handler_that_begins_later_counts_where_it_runs(*, prevented: bool) -> None:
    """Of an invoke that fails all the same its time is spent; the way to Lambda is slow either way."""
    failing = InvocationError(name="error", prevent_execution=prevented)
    slow = Latency(name="slow", service="lambda", latency_ms=5)
    decision = Schedule([failing, InvocationDelay(name="delay", seconds=1), slow], 1).decide(
        replace(CALL, service="lambda", operation="Invoke")
    )
    assert decision is not None
    named = ["error", "slow"] if prevented else ["error", "delay", "slow"]
    assert [each.fault for each in decision.injections] == named
    assert decision.delay == 0.005


def test_what_a_replay_repeats_counts_where_it_fires() -> None:
    """A hit that comes to nothing this time is told, as one whose call does not come."""
    schedule = Schedule([Odd(name="odd")], 1, replayed={("odd", "order-1", 1), ("odd", "order-1", 2)})
    decisions = [schedule.decide(replace(CALL, attempt=attempt)) for attempt in (1, 2, 3)]
    assert [decision is None for decision in decisions] == [False, False, True]
    assert schedule.missed == {"odd": 2}
    assert decisions[0] is not None
    decisions[0].effects[0].happened()
    assert schedule.missed == {"odd": 1}


def test_arms_only_faults_that_act_on_calls() -> None:
    """Poison acts on the plan of the traffic; were it counted as armed, it would look as if it never fired."""
    schedule = Schedule([Poison(), SlowPostgres(latency_ms=5)], 1)
    assert schedule.armed == 1
    assert schedule.fired == {"slowpostgres-2": 0}


def test_refuses_two_faults_of_one_name() -> None:
    """A name given by hand may not be that of another fault, derived ones included."""
    with pytest.raises(UsageError, match="two faults are named 'slowpostgres-1'"):
        Schedule([SlowPostgres(latency_ms=5), SlowPostgres(name="slowpostgres-1", latency_ms=5)], 1)


def test_decides_each_attempt_anew() -> None:
    """Where half of the attempts are throttled, no order is throttled in all of 64 attempts, nor in none."""
    schedule = Schedule([Throttle(service="sqs", probability=0.5)], 3)
    for order in range(50):
        call = replace(CALL, identity=f"order-{order}")
        hits = [schedule.decide(replace(call, attempt=attempt)) is not None for attempt in range(1, 65)]
        assert any(hits)
        assert not all(hits)


@pytest.mark.parametrize("probability", [0.01, 0.1, 0.5, 0.9])
def test_hits_as_often_as_its_probability_says(probability: float) -> None:
    """Over 20,000 requests the rate is within four standard deviations of a binomial."""
    schedule = Schedule([Throttle(service="sqs", probability=probability)], 11)
    for order in range(20_000):
        schedule.decide(replace(CALL, identity=f"order-{order}"))
    bound = 4 * math.sqrt(20_000 * probability * (1 - probability))
    assert abs(schedule.fired["throttle-1"] - 20_000 * probability) < bound


@pytest.mark.parametrize("fault", [Throttle(service="sqs", probability=1, during=(2, 5)), Scripted(delay=1)])
@pytest.mark.parametrize(("at", "inside"), [(1.999, False), (2.0, True), (4.999, True), (5.0, False)])
def test_window_includes_its_start_and_not_its_end(fault: CallFault, at: float, inside: bool) -> None:
    """Half-open, so that two windows side by side never both hit."""
    expected = inside or fault.during is None
    assert (Schedule([fault], 1).decide(replace(CALL, at=at)) is not None) is expected


@pytest.mark.parametrize("during", [(5, 5), (5, 2), (-1, 2)])
def test_refuses_a_window_without_a_moment_in_it(during: tuple[float, float]) -> None:
    """A fault that can never fire is a mistake of the scenario."""
    with pytest.raises(UsageError, match="is not a window"):
        SlowPostgres(latency_ms=5, during=during)


ALL_KINDS: Sequence[Fault] = [
    Throttle(service="lambda", operations=("Invoke",), resources=("store",), callers=("function",), probability=0.3),
    SlowPostgres(name="slow", latency_ms=80, jitter_ms=20, during=(10.0, 25.0)),
    Poison(kinds=("broken_json", "missing_field"), every=50),
]


def test_json_and_back_is_the_same_list() -> None:
    """Every kind of fault survives the manifest of a run, with what was left to its default."""
    assert faults_from_json(to_json(ALL_KINDS)) == list(ALL_KINDS)


def test_json_is_the_fields_and_nothing_else() -> None:
    """The names in JSON are those of Python; what a fault does not let one choose is not written."""
    assert to_json(ALL_KINDS[1:2]) == [
        {"type": "SlowPostgres", "name": "slow", "latency_ms": 80, "jitter_ms": 20, "during": [10.0, 25.0]}
    ]


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"type": "Meteor"}, "no fault has the type 'Meteor'"),
        ({"probability": 1}, "no fault has the type None"),
        ({"type": "SlowPostgres", "latency": 5}, "SlowPostgres: there is no field .latency"),
        ({"type": "Throttle", "probability": 1}, "Throttle: .*service"),
        ({"type": "Throttle", "service": "sqs", "probability": "often"}, "Throttle: "),
        ({"type": "Throttle", "service": "sqs", "probability": 1.5}, "more than 0 and at most 1"),
    ],
)
def test_says_what_is_wrong_with_a_fault_in_json(entry: dict[str, object], complaint: str) -> None:
    """Hand-written JSON gets an error that names the fault and the field."""
    with pytest.raises(UsageError, match=complaint):
        faults_from_json([entry])


def test_a_fault_of_every_service_leaves_postgres_alone() -> None:
    """Postgres is none of AWS's; in the order of the list the first answer wins, whatever its service says."""
    schedule = Schedule([Scripted(name="all", service="*", error=FIRST), Scripted(name="sqs", error=SECOND)], 1)
    decision = schedule.decide(CALL)
    assert decision is not None
    assert decision.answering == Injection("all", answer=FIRST)
    assert schedule.decide(replace(CALL, service="postgres")) is None
    assert schedule.decide(replace(CALL, service="kinesis")) is not None
    assert schedule.fired == {"all": 2, "sqs": 0}


def test_faults_come_and_go_while_calls_come() -> None:
    """One that is added counts its windows from a second of its own, and has a seed of its own."""
    schedule = Schedule([], 1)
    assert schedule.decide(CALL) is None
    schedule.add(Scripted(name="late", delay=1, during=(0, 2)), seed=7, since=4.0)
    assert schedule.decide(replace(CALL, at=3.9)) is None
    assert schedule.decide(replace(CALL, at=4.0)) is not None
    assert schedule.decide(replace(CALL, at=6.0)) is None
    [armed] = schedule.faults
    assert (armed.seed, armed.fired, armed.last) == (7, 1, replace(CALL, at=4.0))
    with pytest.raises(UsageError, match="'late'"):
        schedule.add(Scripted(name="late"), seed=1)
    assert schedule.remove("late")
    assert not schedule.remove("late")
    assert schedule.decide(replace(CALL, at=4.0)) is None
    assert schedule.armed == 0


def test_a_replay_hits_what_was_hit_and_says_what_it_missed() -> None:
    """Whatever the triggers say, also those that count: the hits are those of the earlier run, each once."""
    faults = [Throttle(name="t", service="sqs", when=at_most(1)), Scripted(name="s", delay=1, probability=0.5)]
    hits = {("t", "order-1", 2), ("t", "order-2", 1), ("t", "gone", 1), ("s", "gone", 3), ("other", "order-1", 1)}
    schedule = Schedule(faults, 1, replayed=hits)
    hit = {
        (identity, attempt)
        for identity in ("order-1", "order-2", "order-3")
        for attempt in (1, 2, 3)
        if schedule.decide(replace(CALL, identity=identity, attempt=attempt))
    }
    assert hit == {("order-1", 2), ("order-2", 1)}
    assert schedule.fired == {"t": 2, "s": 0}
    assert schedule.missed == {"t": 1, "s": 1}
    assert Schedule(faults, 1).missed == {}
