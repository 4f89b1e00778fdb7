"""The ledger in plain words: one vocabulary for console, HTML and JUnit."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.ledger.history import Outcome
from testbed.report.folder import ArchitectureVerdict, RunFolder


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the ledger.

    Attributes:
        key: Name in verdict.json.
        label: For a table.
        meaning: In a sentence, for somebody who has not read the manual.
        anomaly: Any count but zero is a finding.
    """

    key: str
    label: str
    meaning: str
    anomaly: bool = False


ROWS: Final = (
    Row("attempted", "orders sent", "Orders that left the client."),
    Row("unsent", "not sent", "Planned, but the load generator could not send them.", anomaly=True),
    Row("acknowledged", "accepted", "The client got a 2xx: from here on the architecture owes the order."),
    Row("refused", "refused", "The client got a clear error and knows that it must try again."),
    Row("unknown", "outcome unknown", "No answer, or one that leaves open whether the order was taken."),
    Row("stored", "stored", "The order is where it is to be stored: a row in Postgres, or an item in DynamoDB."),
    Row("dead_lettered", "dead-lettered", "Set aside for people, in a dead-letter queue or on-failure destination."),
    Row("left", "still queued", "Still in a queue or stream when the deadline for draining passed.", anomaly=True),
    Row("lost", "LOST", "Accepted, yet neither stored nor dead-lettered nor queued.", anomaly=True),
    Row("duplicated", "DUPLICATED", "Stored more than once.", anomaly=True),
    Row("ghost", "ghosts", "The client never learned the outcome, but the order was taken.", anomaly=True),
    Row("refused_but_stored", "refused but stored", "The client was told no, but the order is stored.", anomaly=True),
    Row("unexpected", "unexpected", "Stored or dead-lettered, but never sent.", anomaly=True),
    Row("poison", "poison sent", "Orders made malformed on purpose."),
    Row("poison_stored", "poison stored", "Malformed orders that were stored all the same.", anomaly=True),
    Row("collateral", "collateral", "Well-formed orders dead-lettered because of others.", anomaly=True),
)

FATES: Final = {
    "stored": "stored",
    "dead_lettered": "dead-lettered",
    "left": "still queued",
    "refused": "refused",
    "unknown": "outcome unknown",
    "unsent": "not sent",
    "lost": "LOST",
    "not_known": "accepted, rest not known",
}
"""Where an order can end, in the order of a bar; see ``fates``."""


def ledger_of(run: RunFolder, name: str) -> dict[str, int]:
    """The ledger of one architecture; what the client saw alone where the verdict is missing."""
    ledger = run.verdict.get("architectures", {}).get(name, {}).get("ledger")
    return ledger or _client_side(run.recorded[name].outcomes if name in run.recorded else Counter())


def _client_side(outcomes: Counter[Outcome]) -> dict[str, int]:
    counts = {outcome.value: outcomes[outcome] for outcome in Outcome}
    return {"attempted": outcomes.total() - outcomes[Outcome.UNSENT], **counts}


def fates(ledger: Mapping[str, int]) -> dict[str, int]:
    """Where the orders ended, each counted once: a refused order that was stored all the same counts as stored."""
    counts = {key: ledger.get(key, 0) for key in FATES}
    counts["refused"] -= ledger.get("refused_but_stored", 0)
    counts["unknown"] -= ledger.get("ghost", 0)
    counts["not_known"] = max(0, ledger.get("attempted", 0) + ledger.get("unsent", 0) - sum(counts.values()))
    return counts


def headline(ledgers: Mapping[str, Mapping[str, int]], verdicts: Mapping[str, ArchitectureVerdict]) -> str:
    """What happened to the orders in each architecture, in one sentence."""
    if not ledgers:
        return "The run broke off before any order was sent."
    whole = all("ledger" in verdicts.get(name, {}) for name in ledgers)
    harmless = whole and not any(ledger.get(key) for ledger in ledgers.values() for key in _HARM)
    attempted = {ledger.get("attempted", 0) for ledger in ledgers.values()}
    clauses = [
        f"{name} {_clause(ledger, known='ledger' in verdicts.get(name, {}))}" for name, ledger in ledgers.items()
    ]
    if harmless:
        clauses.append("none was lost or stored twice")
    said = f"{'; '.join(clauses)}."
    each = " each" if len(ledgers) > 1 else ""
    return f"Of {_orders(attempted.pop())}{each}, {said}" if len(attempted) == 1 else said


def _clause(ledger: Mapping[str, int], *, known: bool) -> str:
    if not known:
        accepted, refused = ledger.get("acknowledged", 0), ledger.get("refused", 0)
        return f"accepted {accepted:,} and refused {refused:,}, the rest is not known"
    counts = fates(ledger)
    acted = [f"{FATES[key]} {counts[key]:,}" for key in ("stored", "refused", "dead_lettered") if counts[key]]
    if counts["left"]:
        acted.append(f"left {counts['left']:,} queued")
    acted += [f"{verb} {n:,}" for key, verb in _HARM.items() if (n := ledger.get(key, 0))]
    return _join(acted or ["stored nothing"])


_HARM: Final = {"lost": "lost", "duplicated": "duplicated"}


def _orders(count: int) -> str:
    return "1 order" if count == 1 else f"{count:,} orders"


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def replay_line(run_dir: Path, seed: object, origin: str) -> str:
    """How to run the same again; ``origin`` of the seed is ``"cli"`` or ``"generated"``."""
    return f"Replay: testbed replay {run_dir}  (seed {seed}, from {origin})"


def causes_of(run: RunFolder) -> dict[str, dict[str, int]]:
    """Orders that were not accepted, by cause, per architecture; the most frequent cause first."""
    counts = {}
    for name in run.architectures:
        ids = run.recorded[name].failures.causes() if name in run.recorded else {}
        counts[name] = dict(sorted(((cause, len(found)) for cause, found in ids.items()), key=lambda item: -item[1]))
    return counts
