"""What became of every request: the history of the clients against what is really there."""

import heapq
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from testbed.ledger.history import Attempt, Outcome

ANOMALIES: Final = (
    "lost",
    "duplicated",
    "ghost",
    "unexpected",
    "refused_but_stored",
    "poison_stored",
    "collateral",
)
"""The counts of a ledger that name something wrong; `Ledger.examples` names ids of these."""

_MAX_EXAMPLES: Final = 10
_STRENGTH: Final = {Outcome.UNSENT: 0, Outcome.REFUSED: 1, Outcome.UNKNOWN: 2, Outcome.ACKNOWLEDGED: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is really there once the traffic has drained, or the deadline has passed.

    Attributes:
        stored: How many rows the database holds of each id.
        dead_lettered: Ids in dead-letter queues and on-failure destinations.
        left: Ids that are still in a source: a queue or a stream.
    """

    stored: Mapping[str, int] = field(default_factory=dict)
    dead_lettered: AbstractSet[str] = frozenset()
    left: AbstractSet[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The account of one architecture: what goes in must come out, once, or be known to have been refused.

    Every number counts ids, each id once. A are the attempted, K the acknowledged, R the refused, U the unknown, S
    the stored, D the dead-lettered, Q the left and P the poisoned ids.

    Attributes:
        attempted: A, ids that left the client at least once: K, R and U together. An unsent id is not among
            them, so that a stored one is unexpected.
        acknowledged: K, at least one attempt was answered with 2xx.
        refused: R, at least one attempt got a clear error, and no other became known to be more than that.
        unknown: U, never acknowledged, and at least one attempt whose outcome the client can't know.
        unsent: No attempt left the client.
        stored: S, with a row in the database.
        dead_lettered: D, in a dead-letter queue or an on-failure destination.
        left: Q, still in a source at the deadline.
        lost: K - (S | D | Q), acknowledged and nowhere.
        duplicated: Stored more than once.
        ghost: U & (S | D), taken in although the client could not know it; a client that repeats it duplicates it.
        unexpected: (S | D) - A, there although it was never attempted.
        refused_but_stored: R & S, stored although the client was told that it was not.
        poison: P, requests that were broken on purpose.
        poison_stored: P & S, broken requests that the database holds.
        collateral: D - P, well-formed requests that were dead-lettered.
        examples: For each anomaly that happened, the first ids by name, ten at most.
    """

    attempted: int = 0
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    unsent: int = 0
    stored: int = 0
    dead_lettered: int = 0
    left: int = 0
    lost: int = 0
    duplicated: int = 0
    ghost: int = 0
    unexpected: int = 0
    refused_but_stored: int = 0
    poison: int = 0
    poison_stored: int = 0
    collateral: int = 0
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Outcomes:
    """What the clients of one architecture know of each id, however many attempts it took.

    Several attempts may share an id; then what is known best counts: acknowledged before unknown before refused before
    unsent.

    Args:
        attempts: The first to `add`.
    """

    def __init__(self, attempts: Iterable[Attempt] = ()) -> None:
        self._best: dict[str, Outcome] = {}
        for attempt in attempts:
            self.add(attempt)

    def add(self, attempt: Attempt) -> None:
        """Take in the next attempt; it may come in any order."""
        known = self._best.get(attempt.id)
        if known is None or _STRENGTH[known] < _STRENGTH[attempt.outcome]:
            self._best[attempt.id] = attempt.outcome

    def ledger(self, observed: Observed, poison: AbstractSet[str]) -> Ledger:
        """The ledger; see `reconcile`."""
        ids: dict[Outcome, set[str]] = {outcome: set() for outcome in Outcome}
        for id_, outcome in self._best.items():
            ids[outcome].add(id_)
        acknowledged, refused, unknown = ids[Outcome.ACKNOWLEDGED], ids[Outcome.REFUSED], ids[Outcome.UNKNOWN]
        attempted = acknowledged | refused | unknown
        stored = {id_ for id_, times in observed.stored.items() if times > 0}
        taken_in = stored | observed.dead_lettered
        members: dict[str, AbstractSet[str]] = {
            "attempted": attempted,
            "acknowledged": acknowledged,
            "refused": refused,
            "unknown": unknown,
            "unsent": ids[Outcome.UNSENT],
            "stored": stored,
            "dead_lettered": observed.dead_lettered,
            "left": observed.left,
            "lost": acknowledged - taken_in - observed.left,
            "duplicated": {id_ for id_, times in observed.stored.items() if times > 1},
            "ghost": unknown & taken_in,
            "unexpected": taken_in - attempted,
            "refused_but_stored": refused & stored,
            "poison": poison,
            "poison_stored": poison & stored,
            "collateral": observed.dead_lettered - poison,
        }
        examples = {name: tuple(heapq.nsmallest(_MAX_EXAMPLES, members[name])) for name in ANOMALIES if members[name]}
        return Ledger(**{name: len(ids_) for name, ids_ in members.items()}, examples=examples)


def reconcile(attempts: Iterable[Attempt], observed: Observed, poison: AbstractSet[str]) -> Ledger:
    """The ledger of one architecture.

    Args:
        attempts: Every attempt of this architecture; several may share an id, see `Outcomes`.
        observed: What is really there.
        poison: The ids of the requests that were broken on purpose.
    """
    return Outcomes(attempts).ledger(observed, poison)
