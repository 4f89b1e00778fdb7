"""The search itself: Hypothesis proposes schedules, something else tries them."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy

from testbed.chaos.catalogue import to_json
from testbed.chaos.fault import Fault
from testbed.ledger.verdict import Claim, Verdict

_TRIES_PER_RUN: Final = 3  # on the way to the smallest schedule, which takes more tries than to find one


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is tried.

    Attributes:
        faults: What goes wrong; each has a name.
        scale: Factor for the length of the traffic.
    """

    faults: tuple[Fault, ...]
    scale: float = 1.0

    @property
    def key(self) -> str:
        """The same for equal candidates."""
        return json.dumps([to_json(self.faults), self.scale], sort_keys=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a try came to.

    Attributes:
        verdict: Of the one architecture.
        claims: Those that do not hold, or could not be seen.
    """

    verdict: Verdict
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Find:
    """A schedule that breaks an expectation.

    Attributes:
        candidate: The schedule.
        outcome: What it came to.
        tries: Tries until it was found, and until it was as small as this.
    """

    candidate: Candidate
    outcome: Outcome
    tries: tuple[int, int]


class _BrokenError(Exception):
    """Tells Hypothesis of a find."""


@dataclass(kw_only=True)
class Hunt:
    """Looks for a schedule that breaks what holds without one.

    A schedule counts as a find only if it breaks an expectation twice in a row; what breaks it once and then not is
    kept apart, and what ends unknown (a fault never fired, a queue was not drained) is neither good nor bad.

    Attributes:
        attempt: Tries a candidate, which may take seconds.
        runs: Schedules to try until one is found; those without faults, for comparison, do not count.
        seed: The same seed proposes the same schedules.
        database: Folder where finds are kept, to be tried first the next time.
        key: Tells searches apart whose finds are kept.
        found: Told each find, each one smaller than the one before.
        best: The smallest find so far.
        tries: Tries of schedules so far, second ones of the same included.
        unknown: Schedules that ended unknown.
        flaky: Schedules that broke an expectation once and not again.
        spent: Whether the way to the smallest schedule took more tries than `patience`, and was broken off.
    """

    attempt: Callable[[Candidate], Outcome]
    runs: int
    seed: int
    database: Path
    key: str
    found: Callable[[Find], None] = lambda _: None
    best: Find | None = None
    tries: int = 0
    unknown: int = 0
    flaky: list[Find] = field(default_factory=list)
    spent: bool = False

    def __post_init__(self) -> None:
        self._known: dict[str, Find | bool | None] = {}
        self._calm: dict[float, Outcome] = {}
        self._schedules = 0

    @property
    def patience(self) -> int:
        """Tries that the way to the smallest schedule may take."""
        return _TRIES_PER_RUN * self.runs

    @property
    def good(self) -> int:
        """Schedules under which all expectations hold."""
        return (
            self._schedules
            - self.unknown
            - len(self.flaky)
            - sum(isinstance(each, Find) for each in self._known.values())
        )

    def calm(self, scale: float) -> Outcome:
        """What this traffic comes to without faults."""
        if scale not in self._calm:
            self._calm[scale] = self.attempt(Candidate((), scale))
        return self._calm[scale]

    def look(self, candidates: SearchStrategy[Candidate]) -> Find | None:
        """The smallest schedule of ``candidates`` that breaks an expectation; None where none was found."""
        kept = self.database / hashlib.blake2b(self.key.encode(), digest_size=16).hexdigest()

        @settings(  # after the seed, which would forget the database otherwise
            max_examples=self.runs,
            deadline=None,
            database=DirectoryBasedExampleDatabase(kept),
            phases=(Phase.reuse, Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        @seed(self.seed)
        @given(candidates)
        def every_expectation_holds(candidate: Candidate) -> None:
            if self._breaks(candidate):
                raise _BrokenError

        with suppress(_BrokenError, Unsatisfiable):
            every_expectation_holds()
        return self.best

    def _breaks(self, candidate: Candidate) -> bool:
        """Hypothesis asks; nothing is tried twice for it, so that it sees no whims."""
        key = candidate.key
        if key not in self._known:
            if self._is_over():
                return False
            self._known[key] = self._tried(candidate)
        found = self._known[key]
        if found is None:
            reject()
        if isinstance(found, Find) and found != self.best:
            self.best = found
            self.found(found)
        return bool(found)

    def _is_over(self) -> bool:
        if self.best is None:
            return self._schedules >= self.runs
        self.spent = self.tries - self.best.tries[0] >= self.patience
        return self.spent

    def _tried(self, candidate: Candidate) -> Find | bool | None:
        if self.calm(candidate.scale).verdict != Verdict.VALID:
            return None  # it would say nothing about the faults
        self._schedules += 1
        outcome = self._once(candidate)
        if outcome.verdict == Verdict.UNKNOWN:
            self.unknown += 1
            return None
        if outcome.verdict == Verdict.VALID:
            return False
        found = Find(candidate, outcome, (self.best.tries[0] if self.best else self.tries, self.tries))
        if self._once(candidate).verdict != Verdict.INVALID:
            self.flaky.append(found)
            return False
        return found

    def _once(self, candidate: Candidate) -> Outcome:
        self.tries += 1
        return self.attempt(candidate)


def failing(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """Those that do not hold, or could not be seen."""
    return tuple(claim for claim in claims if claim.holds is not True)
