"""The ledger against a model that decides for one id at a time, in the words of the definitions."""

from collections.abc import Mapping
from random import Random
from typing import Protocol

from hypothesis import given
from hypothesis import strategies as st

from testbed.ledger.history import Attempt, Outcome
from testbed.ledger.reconcile import ANOMALIES, Observed, reconcile


class Rule(Protocol):
    def __call__(self, id_: str, /) -> bool: ...


ids = st.sampled_from([f"o-{n}" for n in range(8)])
histories = st.lists(st.tuples(ids, st.sampled_from(Outcome)), max_size=24)
observations = st.builds(
    Observed,
    stored=st.dictionaries(ids, st.integers(0, 3)),
    dead_lettered=st.frozensets(ids),
    left=st.frozensets(ids),
)


def attempt(id_: str, outcome: Outcome) -> Attempt:
    return Attempt(architecture="a", id=id_, planned=0, sent=None, finished=None, outcome=outcome, trace=f"1-{id_}")


def model(history: list[tuple[str, Outcome]], seen: Observed, poison: frozenset[str]) -> dict[str, list[str]]:
    """For each name of the ledger the ids that belong to it, sorted."""

    def had(id_: str, outcome: Outcome) -> bool:
        return (id_, outcome) in history

    def acknowledged(id_: str) -> bool:
        return had(id_, Outcome.ACKNOWLEDGED)

    def unknown(id_: str) -> bool:
        return had(id_, Outcome.UNKNOWN) and not acknowledged(id_)

    def refused(id_: str) -> bool:
        return had(id_, Outcome.REFUSED) and not acknowledged(id_) and not unknown(id_)

    def attempted(id_: str) -> bool:
        return acknowledged(id_) or unknown(id_) or refused(id_)

    def stored(id_: str) -> bool:
        return seen.stored.get(id_, 0) >= 1

    def dead(id_: str) -> bool:
        return id_ in seen.dead_lettered

    rules: Mapping[str, Rule] = {
        "attempted": attempted,
        "acknowledged": acknowledged,
        "refused": refused,
        "unknown": unknown,
        "unsent": lambda i: had(i, Outcome.UNSENT) and not attempted(i),
        "stored": stored,
        "dead_lettered": dead,
        "left": lambda i: i in seen.left,
        "lost": lambda i: acknowledged(i) and not (stored(i) or dead(i) or i in seen.left),
        "duplicated": lambda i: seen.stored.get(i, 0) > 1,
        "ghost": lambda i: unknown(i) and (stored(i) or dead(i)),
        "unexpected": lambda i: (stored(i) or dead(i)) and not attempted(i),
        "refused_but_stored": lambda i: refused(i) and stored(i),
        "poison": lambda i: i in poison,
        "poison_stored": lambda i: i in poison and stored(i),
        "collateral": lambda i: dead(i) and i not in poison,
    }
    universe = [f"o-{n}" for n in range(8)]
    return {name: [id_ for id_ in universe if rule(id_)] for name, rule in rules.items()}


@given(histories, observations, st.frozensets(ids))
def test_the_ledger_is_the_model(history: list[tuple[str, Outcome]], seen: Observed, poison: frozenset[str]) -> None:
    """Every count and every example agrees with the definitions, for any history and any observation."""
    found = reconcile([attempt(*line) for line in history], seen, poison)
    expected = model(history, seen, poison)
    assert {name: getattr(found, name) for name in expected} == {name: len(m) for name, m in expected.items()}
    assert found.examples == {name: tuple(expected[name]) for name in ANOMALIES if expected[name]}


@given(histories, observations, st.frozensets(ids), st.randoms())
def test_the_order_of_the_attempts_does_not_matter(
    history: list[tuple[str, Outcome]], seen: Observed, poison: frozenset[str], rng: Random
) -> None:
    """Two runs that differ only in when outcomes arrived have the same ledger."""
    attempts = [attempt(*line) for line in history]
    shuffled = list(attempts)
    rng.shuffle(shuffled)
    assert reconcile(shuffled, seen, poison) == reconcile(attempts, seen, poison)
