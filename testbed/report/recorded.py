"""What history and journal say of one architecture, in columns: a few bytes for each line, however many there are."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from testbed.ledger.causes import Failures
from testbed.ledger.history import Attempt, Outcome

Hop = Mapping[str, Any]
"""One line of journal.jsonl: ``t``, ``architecture``, ``hop``, and the fields of that kind of hop."""


class Track:
    """Values at times, in seconds after the start of the traffic."""

    def __init__(self) -> None:
        self._times = array("d")
        self._values = array("d")

    def add(self, t: float, value: float | None) -> None:
        """One value more; None is none."""
        if value is not None:
            self._times.append(t)
            self._values.append(value)

    def __iter__(self) -> Iterator[tuple[float, float]]:
        return zip(self._times, self._values, strict=True)


class Recorded:
    """All that the report shows of the records of one architecture.

    Attributes:
        outcomes: How many attempts had each outcome.
        planned: When each attempt was due.
        answered: When attempts were answered, by their outcome.
        latency: Milliseconds from planned to acknowledged, by planned time: a quick refusal is no service.
        inserts: Rows by the time of the insert.
        queue_depth: Records waiting, by samples; concurrency: executions at once, all functions together.
        connections: Sessions open at the database, by the samples and by every event in between.
        faults: When each fault fired on a call.
        lasting: From when to when each timed fault lasted; until None where its end is not recorded.
        poison: How many orders of each kind of poison were due.
        failures: Why attempts were not acknowledged.
        end: When the last record was made.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.planned = array("d")
        self.answered: defaultdict[Outcome, array[float]] = defaultdict(lambda: array("d"))
        self.latency = Track()
        self.inserts = Track()
        self.queue_depth = Track()
        self.connections = Track()
        self.concurrency = Track()
        self.faults: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        self.lasting: defaultdict[str, list[tuple[float, float | None]]] = defaultdict(list)
        self.poison: Counter[str] = Counter()
        self.failures = Failures()
        self.end = 0.0

    def add(self, attempt: Attempt) -> None:
        """Take in a line of the history."""
        self.outcomes[attempt.outcome] += 1
        self.planned.append(attempt.planned)
        self.failures.add(attempt)
        if attempt.poison:
            self.poison[attempt.poison] += 1
        if attempt.finished is None:
            self.end = max(self.end, attempt.planned)
            return
        self.end = max(self.end, attempt.finished)
        self.answered[attempt.outcome].append(attempt.finished)
        if attempt.outcome is Outcome.ACKNOWLEDGED:
            self.latency.add(attempt.planned, (attempt.finished - attempt.planned) * 1000)

    def add_hop(self, hop: Hop) -> None:
        """Take in a line of the journal, once the whole history is in."""
        self.failures.explain(hop)
        t = hop["t"]
        match hop.get("hop"):
            case "postgres":
                if hop.get("event") == "insert":
                    self.inserts.add(t, hop.get("rows", 1))
                self.connections.add(t, hop.get("open"))
            case "sample":
                running = hop.get("concurrency")
                self.concurrency.add(t, sum(running.values()) if isinstance(running, Mapping) else running)
                self.queue_depth.add(t, hop.get("queue_depth"))
                self.connections.add(t, hop.get("connections"))
            case "fault":
                self._add_fault(str(hop.get("fault")), t, hop.get("event"))
            case _:
                return
        self.end = max(self.end, t)

    def _add_fault(self, name: str, t: float, event: str | None) -> None:
        if event is None:
            self.faults[name].append(t)
        elif event == "began":
            self.lasting[name].append((t, None))
        elif self.lasting[name]:
            start, _ = self.lasting[name].pop()
            self.lasting[name].append((start, t))


def recorded(history: Iterable[Attempt], journal: Iterable[Hop]) -> dict[str, Recorded]:
    """The records of each architecture, in the order of their first appearance."""
    found: defaultdict[str, Recorded] = defaultdict(Recorded)
    for attempt in history:
        found[attempt.architecture].add(attempt)
    for hop in journal:
        if name := hop.get("architecture"):
            found[name].add_hop(hop)
    return dict(found)
