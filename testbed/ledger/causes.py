"""Why orders were not acknowledged: one cause for each attempt, from the client's view and from the journal."""

import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from testbed.chaos.faults.poison_kinds import FIT
from testbed.ledger.history import Attempt, Outcome

POISON: Final = "poison"
_WORDS: Final = {"limit": "throttle"}
"""A limit of a service that was exceeded, and a fault that says so, are the same to whoever is refused."""
_CLIENT_MISTAKES: Final = frozenset(range(400, 500)) - {HTTPStatus.TOO_MANY_REQUESTS}


class Failures:
    """The orders of one architecture that were never acknowledged, and why; see `causes`.

    Args:
        attempts: The first to `add`.
    """

    def __init__(self, attempts: Iterable[Attempt] = ()) -> None:
        self._ids: dict[str, set[str]] = {}
        self._open: list[tuple[str, str, str]] = []  # trace, id, and the cause if the journal says nothing
        self._traces: set[str] = set()
        self._acknowledged: set[str] = set()
        self._journalled: dict[str, str] = {}
        for attempt in attempts:
            self.add(attempt)

    def add(self, attempt: Attempt) -> None:
        """Take in the next attempt; of one that was acknowledged only its id is kept."""
        if attempt.outcome is Outcome.ACKNOWLEDGED:
            self._acknowledged.add(attempt.id)
            return
        if attempt.poison and attempt.poison not in FIT and attempt.status in _CLIENT_MISTAKES:
            self._ids.setdefault(POISON, set()).add(attempt.id)
        elif attempt.status is not None and attempt.error:
            self._ids.setdefault(attempt.error, set()).add(attempt.id)
        else:
            otherwise = attempt.error or "no answer" if attempt.status is None else f"HTTP {attempt.status}"
            self._open.append((attempt.trace, attempt.id, sys.intern(otherwise)))
            self._traces.add(attempt.trace)

    def explain(self, hop: Mapping[str, Any]) -> None:
        """Take in the next hop of the journal, once all attempts are in."""
        if hop.get("cause") and hop.get("trace") in self._traces:
            self._journalled[hop["trace"]] = sys.intern(_WORDS.get(hop["cause"], hop["cause"]))

    def causes(self) -> dict[str, set[str]]:
        """The ids of these orders, by cause."""
        ids = {cause: set(known) for cause, known in self._ids.items()}
        for trace, id_, otherwise in self._open:
            ids.setdefault(self._journalled.get(trace, otherwise), set()).add(id_)
        never = {cause: known - self._acknowledged for cause, known in ids.items()}
        return {cause: known for cause, known in never.items() if known}


def causes(attempts: Iterable[Attempt], hops: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """The ids of which no attempt was acknowledged, by the causes of their attempts.

    An order of which another attempt was acknowledged was accepted, whatever the others were told: a repeat, for
    example, that it is there already.

    A request that was made unfit on purpose, and refused as the client's mistake (4xx), has the cause "poison". For the
    others, those that are only odd (`FIT`) among them, the cause is the error that the answer itself named; else what
    the journal says of the last hop of the same trace that failed; else the HTTP status or, where no answer came, the
    name of the transport's exception.

    Args:
        attempts: Every attempt of one architecture.
        hops: The hops of the same architecture in the order of the journal; of each, ``trace`` and ``cause`` count.
    """
    failures = Failures(attempts)
    for hop in hops:
        failures.explain(hop)
    return failures.causes()
