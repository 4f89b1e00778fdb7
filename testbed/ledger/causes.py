"""Why requests were not acknowledged: one cause for each, from the client's view and from the journal."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from testbed.ledger.history import Attempt, Outcome

POISON: Final = "poison"
_WORDS: Final = {"limit": "throttle"}
"""A limit of a service that was exceeded, and a fault that says so, are the same to whoever is refused."""
_CLIENT_MISTAKES: Final = frozenset(range(400, 500)) - {HTTPStatus.TOO_MANY_REQUESTS}


def causes(attempts: Iterable[Attempt], hops: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """The ids of the attempts that were not acknowledged, by cause.

    A request that was broken on purpose, and refused as the client's mistake (4xx), has the cause "poison". For the
    others the cause is the error that the answer itself named; else what the journal says of the last hop of the same
    trace that failed; else the HTTP status or, where no answer came, the name of the transport's exception.

    Args:
        attempts: Every attempt of one architecture.
        hops: The hops of the same architecture in the order of the journal; of each, ``trace`` and ``cause`` count.
    """
    failed = [attempt for attempt in attempts if attempt.outcome is not Outcome.ACKNOWLEDGED]
    journalled = _last_causes(hops, {attempt.trace for attempt in failed})
    ids: dict[str, set[str]] = {}
    for attempt in failed:
        ids.setdefault(_cause(attempt, journalled.get(attempt.trace)), set()).add(attempt.id)
    return ids


def _cause(attempt: Attempt, journalled: str | None) -> str:
    if attempt.poison and attempt.status in _CLIENT_MISTAKES:
        return POISON
    if attempt.status is None:
        return journalled or attempt.error or "no answer"
    return attempt.error or journalled or f"HTTP {attempt.status}"


def _last_causes(hops: Iterable[Mapping[str, Any]], traces: set[str]) -> dict[str, str]:
    return {
        hop["trace"]: _WORDS.get(hop["cause"], hop["cause"])
        for hop in hops
        if hop.get("cause") and hop.get("trace") in traces
    }
