"""One hand-written history for each anomaly: the ledger names that one and no other."""

from typing import Any

import pytest

from testbed.ledger.history import Attempt, Outcome
from testbed.ledger.reconcile import ANOMALIES, Ledger, Observed, reconcile

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
