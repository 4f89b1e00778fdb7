"""One hand-written history for each anomaly: the ledger names that one and no other."""

from dataclasses import replace
from typing import Any

import pytest

from testbed.ledger.history import Attempt, Outcome
from testbed.ledger.reconcile import ANOMALIES, Ledger, Observed, Outcomes, reconcile

K, R, U, N = Outcome.ACKNOWLEDGED, Outcome.REFUSED, Outcome.UNKNOWN, Outcome.UNSENT
POISON = frozenset({"p1"})


def attempt(id_: str, outcome: Outcome) -> Attempt:
    return Attempt(architecture="sync", id=id_, planned=0.0, sent=0.0, finished=0.1, outcome=outcome, trace=f"1-{id_}")


def ledger(history: list[tuple[str, Outcome]], poison: frozenset[str] = POISON, **observed: Any) -> Ledger:
    return reconcile([attempt(*line) for line in history], Observed(**observed), poison)


def anomalies(found: Ledger) -> dict[str, int]:
    return {name: getattr(found, name) for name in ANOMALIES if getattr(found, name)}


def test_a_clean_history_has_no_anomaly() -> None:
    """Stored once, dead-lettered poison, refused and gone, unknown and gone, left in the queue: all accounted for."""
    found = ledger(
        [("a", K), ("p1", K), ("r", R), ("u", U), ("n", N), ("q", K)],
        stored={"a": 1},
        dead_lettered={"p1"},
        left={"q"},
    )
    assert found == Ledger(
        attempted=5,
        acknowledged=3,
        refused=1,
        unknown=1,
        unsent=1,
        stored=1,
        dead_lettered=1,
        left=1,
        poison=1,
    )


BROKEN: dict[str, tuple[list[tuple[str, Outcome]], dict[str, Any], str]] = {
    "lost": ([("a", K), ("b", K)], {"stored": {"a": 1}}, "b"),
    "duplicated": ([("a", K)], {"stored": {"a": 2}}, "a"),
    "ghost": ([("a", U)], {"stored": {"a": 1}}, "a"),
    "unexpected": ([("a", K)], {"stored": {"a": 1, "x": 1}}, "x"),
    "refused_but_stored": ([("a", R)], {"stored": {"a": 1}}, "a"),
    "poison_stored": ([("p1", K)], {"stored": {"p1": 1}}, "p1"),
    "collateral": ([("a", K)], {"dead_lettered": {"a"}}, "a"),
}


@pytest.mark.parametrize("anomaly", ANOMALIES)
def test_each_anomaly_is_named_and_no_other(anomaly: str) -> None:
    """A history with exactly one thing wrong gives exactly this count and this example."""
    history, observed, culprit = BROKEN[anomaly]
    found = ledger(history, **observed)
    assert anomalies(found) == {anomaly: 1}
    assert found.examples == {anomaly: (culprit,)}


@pytest.mark.parametrize(
    ("history", "anomaly"),
    [([("a", U)], "ghost"), ([("b", K)], "unexpected")],
)
def test_the_dead_letter_queue_counts_as_taken_in(history: list[tuple[str, Outcome]], anomaly: str) -> None:
    """Ghosts and unexpected ids are found in the dead-letter queue as in the database."""
    found = ledger(history, poison=frozenset({"a"}), dead_lettered={"a"}, stored={"b": 1} if anomaly != "ghost" else {})
    assert anomalies(found) == {anomaly: 1}


def test_a_stored_request_that_never_left_is_unexpected() -> None:
    """An unsent id is not attempted, so that its row can't pass unnoticed."""
    found = ledger([("n", N)], stored={"n": 1})
    assert anomalies(found) == {"unexpected": 1}
    assert (found.attempted, found.unsent) == (0, 1)


def test_duplicates_count_ids_not_rows() -> None:
    """An id that is stored three times is one duplicated id and one stored id."""
    found = ledger([("a", K)], stored={"a": 3})
    assert (found.stored, found.duplicated) == (1, 1)


def test_an_id_with_zero_rows_is_not_stored() -> None:
    """A count of zero is as good as no entry: the acknowledged id is lost."""
    assert anomalies(ledger([("a", K)], stored={"a": 0})) == {"lost": 1}


@pytest.mark.parametrize(
    ("outcomes", "counted_as"),
    [
        ([N, R, U, K], "acknowledged"),
        ([K, N, R, U], "acknowledged"),
        ([N, R, U], "unknown"),
        ([U, R], "unknown"),
        ([R, N], "refused"),
        ([N, R], "refused"),
        ([N, N], "unsent"),
    ],
)
def test_attempts_of_one_id_combine_to_what_is_known_best(outcomes: list[Outcome], counted_as: str) -> None:
    """An id is acknowledged if any attempt was, else unknown, else refused, and unsent only if all were."""
    found = ledger([("a", outcome) for outcome in outcomes])
    counts = {name: getattr(found, name) for name in ("acknowledged", "refused", "unknown", "unsent")}
    assert counts == {**dict.fromkeys(counts, 0), counted_as: 1}


def test_examples_are_the_first_ten_by_name() -> None:
    """Of thirty lost ids the ledger counts all and names ten, sorted."""
    found = ledger([(f"o-{n:02d}", K) for n in reversed(range(30))])
    assert found.lost == 30
    assert found.examples["lost"] == tuple(f"o-{n:02d}" for n in range(10))


CASES: dict[str, tuple[list[tuple[str, Outcome]], dict[str, Any], dict[str, int]]] = {
    "acknowledged and refused in different attempts, and stored": (
        [("a", K), ("a", R)],
        {"stored": {"a": 1}},
        {"attempted": 1, "acknowledged": 1, "stored": 1},
    ),
    "refused, acknowledged at the second try, and nowhere": (
        [("a", R), ("a", K)],
        {},
        {"attempted": 1, "acknowledged": 1, "lost": 1},
    ),
    "unknown, then acknowledged, and stored once: the retry was idempotent": (
        [("a", U), ("a", K)],
        {"stored": {"a": 1}},
        {"attempted": 1, "acknowledged": 1, "stored": 1},
    ),
    "unknown, then acknowledged, and stored twice: it was not": (
        [("a", U), ("a", K)],
        {"stored": {"a": 2}},
        {"attempted": 1, "acknowledged": 1, "stored": 1, "duplicated": 1},
    ),
    "unknown, then refused, and stored: nobody was told no of what was stored": (
        [("a", U), ("a", R)],
        {"stored": {"a": 1}},
        {"attempted": 1, "unknown": 1, "stored": 1, "ghost": 1},
    ),
    "unknown and still queued: taken in by nobody yet": (
        [("a", U)],
        {"left": {"a"}},
        {"attempted": 1, "unknown": 1, "left": 1},
    ),
    "unknown, stored and dead-lettered: one ghost": (
        [("a", U)],
        {"stored": {"a": 1}, "dead_lettered": {"a"}},
        {"attempted": 1, "unknown": 1, "stored": 1, "dead_lettered": 1, "ghost": 1, "collateral": 1},
    ),
    "unsent at first, then acknowledged": (
        [("a", N), ("a", K)],
        {"stored": {"a": 1}},
        {"attempted": 1, "acknowledged": 1, "stored": 1},
    ),
    "the same attempt twice in the history": (
        [("a", K), ("a", K)],
        {"stored": {"a": 1}},
        {"attempted": 1, "acknowledged": 1, "stored": 1},
    ),
    "poison that is refused is at its end": (
        [("p1", R)],
        {},
        {"attempted": 1, "refused": 1, "poison": 1},
    ),
    "poison that is refused and stored": (
        [("p1", R)],
        {"stored": {"p1": 1}},
        {"attempted": 1, "refused": 1, "stored": 1, "poison": 1, "poison_stored": 1, "refused_but_stored": 1},
    ),
    "poison that is refused and dead-lettered: dead letters are no promise": (
        [("p1", R)],
        {"dead_lettered": {"p1"}},
        {"attempted": 1, "refused": 1, "dead_lettered": 1, "poison": 1},
    ),
    "poison that is acknowledged and nowhere is lost": (
        [("p1", K)],
        {},
        {"attempted": 1, "acknowledged": 1, "poison": 1, "lost": 1},
    ),
    "poison that was stored twice": (
        [("p1", K)],
        {"stored": {"p1": 2}},
        {"attempted": 1, "acknowledged": 1, "stored": 1, "poison": 1, "poison_stored": 1, "duplicated": 1},
    ),
    "poison that was planned and never tried": ([], {}, {"poison": 1}),
    "acknowledged, stored and dead-lettered": (
        [("a", K)],
        {"stored": {"a": 1}, "dead_lettered": {"a"}},
        {"attempted": 1, "acknowledged": 1, "stored": 1, "dead_lettered": 1, "collateral": 1},
    ),
    "acknowledged, stored twice and dead-lettered": (
        [("a", K)],
        {"stored": {"a": 2}, "dead_lettered": {"a"}},
        {"attempted": 1, "acknowledged": 1, "stored": 1, "dead_lettered": 1, "duplicated": 1, "collateral": 1},
    ),
    "acknowledged, stored and still queued: it may come again": (
        [("a", K)],
        {"stored": {"a": 1}, "left": {"a"}},
        {"attempted": 1, "acknowledged": 1, "stored": 1, "left": 1},
    ),
    "acknowledged, dead-lettered and still queued": (
        [("a", K)],
        {"dead_lettered": {"a"}, "left": {"a"}},
        {"attempted": 1, "acknowledged": 1, "dead_lettered": 1, "left": 1, "collateral": 1},
    ),
    "refused and still queued: what is in a source is not stored": (
        [("a", R)],
        {"left": {"a"}},
        {"attempted": 1, "refused": 1, "left": 1},
    ),
    "refused, well-formed, and dead-lettered": (
        [("a", R)],
        {"dead_lettered": {"a"}},
        {"attempted": 1, "refused": 1, "dead_lettered": 1, "collateral": 1},
    ),
    "only unsent": ([("a", N), ("a", N), ("b", N)], {}, {"unsent": 2}),
    "unsent, and dead-lettered all the same": (
        [("a", N)],
        {"dead_lettered": {"a"}},
        {"unsent": 1, "dead_lettered": 1, "unexpected": 1, "collateral": 1},
    ),
    "unsent, and queued all the same: no anomaly has a name for it": (
        [("a", N)],
        {"left": {"a"}},
        {"unsent": 1, "left": 1},
    ),
    "a stranger, stored and dead-lettered, is one": (
        [],
        {"stored": {"x": 1}, "dead_lettered": {"x"}},
        {"stored": 1, "dead_lettered": 1, "unexpected": 1, "collateral": 1},
    ),
    "a stranger twice": ([], {"stored": {"x": 2}}, {"stored": 1, "duplicated": 1, "unexpected": 1}),
    "a message without an id": (
        [("a", K)],
        {"stored": {"a": 1}, "dead_lettered": {"message 1"}},
        {"attempted": 1, "acknowledged": 1, "stored": 1, "dead_lettered": 1, "unexpected": 1, "collateral": 1},
    ),
    "nothing at all": ([], {}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_became_of_one_order(case: str) -> None:
    """The whole account, count by count: those that are not named are 0."""
    history, observed, counts = CASES[case]
    poison = frozenset({"p1"} if "poison" in case else ())
    found = ledger(history, poison, **observed)
    assert replace(found, examples={}) == Ledger(**counts)
    assert {name: len(ids) for name, ids in found.examples.items()} == {n: counts[n] for n in ANOMALIES if n in counts}


def test_orders_do_not_cover_for_each_other() -> None:
    """One duplicate and one loss: as many rows as orders, and two anomalies."""
    assert anomalies(ledger([("a", K), ("b", K)], stored={"a": 2})) == {"duplicated": 1, "lost": 1}


def test_the_ledger_so_far_can_be_asked_again() -> None:
    """Asking changes nothing, and later attempts count."""
    outcomes = Outcomes([attempt("a", U)])
    seen = Observed(stored={"a": 1})
    assert (
        anomalies(outcomes.ledger(seen, frozenset())) == anomalies(outcomes.ledger(seen, frozenset())) == {"ghost": 1}
    )
    outcomes.add(attempt("a", K))
    assert anomalies(outcomes.ledger(seen, frozenset())) == {}
