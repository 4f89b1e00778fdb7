"""Every attempt that was not acknowledged gets one cause."""

import pytest

from testbed.chaos.faults.poison_kinds import FIT
from testbed.ledger.causes import Failures, causes
from testbed.ledger.history import Attempt, Outcome

FULL = {"trace": "1-a", "cause": "throttle"}


def attempt(
    id_: str = "a",
    *,
    outcome: Outcome = Outcome.REFUSED,
    status: int | None = 500,
    error: str | None = None,
    poison: str | None = None,
) -> Attempt:
    return Attempt(
        architecture="sync",
        id=id_,
        planned=0,
        sent=0,
        finished=1,
        outcome=outcome,
        status=status,
        error=error,
        trace=f"1-{id_}",
        poison=poison,
    )


@pytest.mark.parametrize(
    ("failed", "hops", "cause"),
    [
        (attempt(error="too_many_connections"), [FULL], "too_many_connections"),
        (attempt(), [FULL], "throttle"),
        (attempt(), [{"trace": "1-a", "cause": "limit"}], "throttle"),
        (attempt(), [FULL, {"trace": "1-a", "cause": "timeout"}], "timeout"),
        (attempt(), [FULL, {"trace": "1-a", "cause": None}, {"trace": "1-a"}], "throttle"),
        (attempt(), [{"trace": "1-b", "cause": "crash"}, {"cause": "crash"}], "HTTP 500"),
        (attempt(status=None, error="TimeoutError"), [FULL], "throttle"),
        (attempt(status=None, error="TimeoutError"), [], "TimeoutError"),
        (attempt(status=None), [], "no answer"),
        (attempt(status=None), [FULL], "throttle"),
        (attempt(outcome=Outcome.UNKNOWN, status=502), [], "HTTP 502"),
        (
            attempt(outcome=Outcome.UNSENT, status=None, error="too many requests in flight"),
            [],
            "too many requests in flight",
        ),
        (attempt(error=""), [], "HTTP 500"),
    ],
)
def test_the_cause_comes_from_the_one_who_knows_best(
    failed: Attempt, hops: list[dict[str, object]], cause: str
) -> None:
    """The answer's own error, else the last failing hop of the trace, else what the client saw."""
    assert causes([failed], hops) == {cause: {"a"}}


def test_each_cause_names_all_its_orders() -> None:
    """An order that was tried in vain three times, and failed in two ways, is under both causes, once each."""
    history = [
        attempt("a"),
        attempt("a", status=503, error="database full"),
        attempt("a"),
        attempt("b", status=503, error="database full"),
        attempt("c"),
    ]
    assert causes(history, [FULL]) == {"database full": {"a", "b"}, "throttle": {"a"}, "HTTP 500": {"c"}}


def test_causes_can_be_asked_while_the_journal_is_read() -> None:
    """Asking changes nothing: what the journal adds later counts."""
    failures = Failures([attempt(), attempt("b", error="database full")])
    assert failures.causes() == failures.causes() == {"HTTP 500": {"a"}, "database full": {"b"}}
    failures.explain(FULL)
    assert failures.causes() == {"throttle": {"a"}, "database full": {"b"}}


def test_acknowledged_attempts_have_no_cause() -> None:
    """A hop that failed and was retried with success refused nobody."""
    assert causes([attempt(outcome=Outcome.ACKNOWLEDGED, status=200)], [FULL]) == {}


@pytest.mark.parametrize("first", [0, 1])
def test_an_order_that_was_accepted_has_no_cause(first: int) -> None:
    """Whatever another attempt of it was told, before or after: a repeat, that it is there already."""
    accepted, repeated = attempt(outcome=Outcome.ACKNOWLEDGED, status=200), attempt(status=409, error="duplicate")
    both = [accepted, repeated] if first == 0 else [repeated, accepted]
    assert causes([*both, attempt("b", error="throttle"), attempt("a")], [FULL]) == {"throttle": {"b"}}


def test_broken_requests_that_are_refused_for_it_are_poison() -> None:
    """A well-formed request that is refused with the same words is a finding, and keeps its own cause."""
    spoiled = attempt("a", status=400, error="invalid order", poison="broken_json")
    assert causes([spoiled, attempt("b", status=400, error="invalid order")], []) == {
        "poison": {"a"},
        "invalid order": {"b"},
    }


@pytest.mark.parametrize("kind", sorted(FIT))
def test_odd_requests_that_are_refused_keep_their_own_cause(kind: str) -> None:
    """They are fit to be stored: who refuses one does so for a reason of his own, and that is a finding."""
    history = [attempt("a", status=413, error="too large", poison=kind), attempt("b", status=400, poison=kind)]
    assert causes(history, []) == {"too large": {"a"}, "HTTP 400": {"b"}}


@pytest.mark.parametrize("status", [400, 422, 499])
def test_every_mistake_of_the_client_but_a_throttle_explains_poison(status: int) -> None:
    """Whatever the answer calls it, and whatever the journal says."""
    assert causes([attempt(status=status, error="oops", poison="broken_json")], [FULL]) == {"poison": {"a"}}


@pytest.mark.parametrize("status", [399, 429, 500, 502, None])
def test_broken_requests_that_fail_for_another_reason_are_not_poison(status: int | None) -> None:
    """A throttle hits poison like anything else."""
    assert causes([attempt(status=status, poison="broken_json")], [FULL]) == {"throttle": {"a"}}
