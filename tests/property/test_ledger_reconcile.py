"""The ledger against a model that decides for one id at a time, in the words of the definitions."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from random import Random
from typing import Protocol

from hypothesis import given
from hypothesis import strategies as st

from testbed.ledger.history import Attempt, Outcome
from testbed.ledger.reconcile import ANOMALIES, Ledger, Observed, reconcile


class Rule(Protocol):
    def __call__(self, id_: str, /) -> bool: ...


IDS = [f"o-{n:02d}" for n in range(14)]  # more than a ledger names as examples
ids = st.sampled_from(IDS)
histories = st.lists(st.tuples(ids, st.sampled_from(Outcome)), max_size=40)
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
    return {name: [id_ for id_ in IDS if rule(id_)] for name, rule in rules.items()}


@given(histories, observations, st.frozensets(ids))
def test_the_ledger_is_the_model(history: list[tuple[str, Outcome]], seen: Observed, poison: frozenset[str]) -> None:
    """Every count and every example agrees with the definitions, for any history and any observation."""
    found = reconcile([attempt(*line) for line in history], seen, poison)
    expected = model(history, seen, poison)
    assert counts(found) == {name: len(members) for name, members in expected.items()}
    assert found.examples == {name: tuple(expected[name][:10]) for name in ANOMALIES if expected[name]}


def counts(ledger: Ledger) -> dict[str, int]:
    """Every number of a ledger, whichever there are."""
    return {name: value for name, value in asdict(ledger).items() if name != "examples"}


@given(histories, observations, st.frozensets(ids), st.randoms())
def test_the_order_of_the_attempts_does_not_matter(
    history: list[tuple[str, Outcome]], seen: Observed, poison: frozenset[str], rng: Random
) -> None:
    """Two runs that differ only in when outcomes arrived have the same ledger."""
    attempts = [attempt(*line) for line in history]
    shuffled = list(attempts)
    rng.shuffle(shuffled)
    assert reconcile(shuffled, seen, poison) == reconcile(attempts, seen, poison)


@given(histories, observations, st.frozensets(ids), ids)
def test_one_row_more_of_what_is_stored_hides_nothing(
    history: list[tuple[str, Outcome]], seen: Observed, poison: frozenset[str], id_: str
) -> None:
    """A second row of an id lowers no anomaly, and makes it a duplicate; a first row can but clear it of being lost."""
    attempts = [attempt(*line) for line in history]
    more = replace(seen, stored={**seen.stored, id_: seen.stored.get(id_, 0) + 1})
    before, after = (counts(reconcile(attempts, each, poison)) for each in (seen, more))
    was_there = seen.stored.get(id_, 0) > 0
    assert {name for name in before if after[name] < before[name]} <= (set() if was_there else {"lost"})
    assert after["duplicated"] == before["duplicated"] + (seen.stored.get(id_, 0) == 1)


@given(histories, observations, st.frozensets(ids), ids)
def test_an_order_that_vanishes_everywhere_is_lost_if_it_was_acknowledged(
    history: list[tuple[str, Outcome]], seen: Observed, poison: frozenset[str], id_: str
) -> None:
    """Whatever else there is: no other order can stand in for it."""
    attempts = [attempt(*line) for line in history]
    gone = Observed(
        stored={name: count for name, count in seen.stored.items() if name != id_},
        dead_lettered=seen.dead_lettered - {id_},
        left=seen.left - {id_},
    )
    lost = reconcile(attempts, gone, poison).lost
    without = reconcile([each for each in attempts if each.id != id_], gone, poison).lost
    assert lost - without == ((id_, Outcome.ACKNOWLEDGED) in history)


@given(histories, observations, st.frozensets(ids))
def test_the_sums_are_right(history: list[tuple[str, Outcome]], seen: Observed, poison: frozenset[str]) -> None:
    """Each id of the history is counted once, and no anomaly is larger than what it is a part of."""
    found = reconcile([attempt(*line) for line in history], seen, poison)
    assert found.attempted == found.acknowledged + found.refused + found.unknown
    assert found.attempted + found.unsent == len({id_ for id_, _ in history})
    assert found.lost <= found.acknowledged
    assert found.duplicated <= found.stored
    assert found.ghost <= found.unknown
    assert found.refused_but_stored <= min(found.refused, found.stored)
    assert found.poison_stored <= min(found.poison, found.stored)
    assert found.collateral <= found.dead_lettered
    assert found.unexpected <= found.stored + found.dead_lettered
