"""A search on a testbed that runs: from the first try to the run folder of what was found."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from testbed.chaos.catalogue import to_json
from testbed.chaos.fault import Fault
from testbed.engine.installation import cache_folder
from testbed.ledger.verdict import Verdict
from testbed.report.console import Progress
from testbed.run_folder import RunFolder, RunOptions, unwritable
from testbed.runner import run_on
from testbed.running import RunningTestbed
from testbed.scenario import Scenario
from testbed.search.hunt import Candidate, Find, Hunt, Outcome
from testbed.search.tries import Tries
from testbed.search.written import as_test
from testbed.strategies import Surface, faults
from testbed.threads import in_daemon_thread
from testbed.trial import Show

TEST_FILE: Final = "test_found.py"
_SHORTER: Final = 4  # how many times shorter the traffic may be
_T = TypeVar("_T")


@dataclass(kw_only=True)
class Session:
    """The search on one architecture.

    Attributes:
        scenario: With that one architecture.
        options: Its seed, its scale, and whatever else the run of what was found shall have.
        folder: For what is found.
        runs: Schedules to try.
        kinds: Faults to try; empty for all.
        show: Takes the progress.
        tell: Takes lines for people.
    """

    scenario: Scenario
    options: RunOptions
    folder: RunFolder
    runs: int
    kinds: Collection[type[Fault]]
    show: Show
    tell: Callable[[str], None]

    def __post_init__(self) -> None:
        self.architecture = self.scenario.architectures[0].name
        self._trying = ""
        self.hunt = Hunt(
            attempt=_not_yet,
            runs=self.runs,
            seed=self.options.seed,
            database=cache_folder() / "search",
            key="\0".join([self.options.scenario, self.architecture, *sorted(kind.__name__ for kind in self.kinds)]),
            found=self._found,
        )

    @property
    def calm(self) -> Outcome:
        """What the traffic comes to without faults."""
        return self.hunt.calm(self.options.scale)

    @property
    def test(self) -> Path:
        """The test that reproduces what was found, should there be anything."""
        return self.folder.path / TEST_FILE

    async def search(self, bed: RunningTestbed) -> Verdict:
        """Search, and then run what was found once more, as the test will: deployed anew.

        Returns:
            Invalid where something was found, valid where nothing was; unknown where the architecture breaks an
            expectation at times, or nothing could be seen.

        Raises:
            TestbedError: As a run.
        """
        tries = Tries(bed, self.scenario, self.options.seed, self.folder.path / "tries", self._show_try)

        async def once(candidate: Candidate) -> Outcome:
            self._trying = self._in_words(candidate)
            return await tries.once(candidate)

        try:
            await carried_out(lambda attempt: self._look(attempt, tries.surface), once)
            if self.hunt.best is None:
                return self._nothing()
            await tries.remove()
            return await self._again(bed, self.hunt.best.candidate)
        finally:
            shutil.rmtree(self.folder.path / "tries", ignore_errors=True)

    def _in_words(self, candidate: Candidate) -> str:
        if not candidate.faults:
            return f"{self.architecture}, without faults"
        return f"{self.architecture}, try {self.hunt.tries}, {', '.join(fault.name for fault in candidate.faults)}"

    def _show_try(self, progress: Progress) -> None:
        """Which try it is, and not at which stage: where lines are not rewritten there is one for each try."""
        self.show(replace(progress, architecture=self._trying, stage=""))

    def _look(self, attempt: Callable[[Candidate], Outcome], surface: Callable[[], Surface]) -> None:
        self.hunt.attempt = attempt
        calm = self.calm
        if calm.verdict == Verdict.INVALID:
            self.hunt.best = Find(Candidate((), self.options.scale), calm, (1, 1))
            self._found(self.hunt.best)
        elif calm.verdict == Verdict.VALID:
            seconds = self.scenario.traffic.arrivals.duration
            self.hunt.look(candidates(surface(), seconds, self.options.scale, self.kinds))

    def _nothing(self) -> Verdict:
        if self.calm.verdict == Verdict.UNKNOWN or self.hunt.flaky or not self.hunt.good:
            return Verdict.UNKNOWN
        return Verdict.VALID

    def _found(self, found: Find) -> None:
        first, now = found.tries
        if first == now:
            self.tell(f"{self.architecture}: found at try {now}; looking for a smaller one")
        text = as_test(
            scenario=self.options.scenario,
            architecture=self.architecture,
            seed=self.options.seed,
            scale=found.candidate.scale,
            faults=found.candidate.faults,
            claims=found.outcome.claims,
        )
        try:
            self.test.write_text(text, encoding="utf-8")
        except OSError as error:
            raise unwritable(error, self.test) from error

    async def _again(self, bed: RunningTestbed, candidate: Candidate) -> Verdict:
        options = replace(
            self.options,
            architectures=(self.architecture,),
            scale=candidate.scale,
            chaos=to_json(candidate.faults),
        )
        scaled = self.scenario if candidate.scale == 1 else self.scenario.scaled(candidate.scale)
        found = await run_on(bed, scaled.under(candidate.faults), options, self.folder, show=self.show, tell=self.tell)
        return Verdict.INVALID if found.verdict == Verdict.INVALID else Verdict.UNKNOWN


def candidates(
    surface: Surface, seconds: float, scale: float, kinds: Collection[type[Fault]]
) -> SearchStrategy[Candidate]:
    """What can be tried: faults that can hit ``surface``, while traffic of ``seconds`` times ``scale`` or less."""
    lists = {each: faults(surface, seconds=seconds * each, kinds=kinds) for each in (scale / _SHORTER, scale)}
    return st.sampled_from(list(lists)).flatmap(
        lambda chosen: lists[chosen].map(lambda found: Candidate(tuple(found), chosen))
    )


class _Ended(BaseException):
    """Ends the thread of a search that is over; no Exception, which Hypothesis would take for a find."""


def _not_yet(_: Candidate) -> Outcome:
    raise _Ended


async def carried_out(
    work: Callable[[Callable[[Candidate], Outcome]], _T], once: Callable[[Candidate], Awaitable[Outcome]]
) -> _T:
    """Run blocking ``work`` in a thread, and carry out here, one after the other, what it asks for.

    Whatever ends this, ends a try that goes on first, so that nothing of it is left.
    """
    loop = asyncio.get_running_loop()
    asked: asyncio.Queue[tuple[Candidate, Future[Outcome]]] = asyncio.Queue()

    def attempt(candidate: Candidate) -> Outcome:
        answer: Future[Outcome] = Future()
        loop.call_soon_threadsafe(asked.put_nowait, (candidate, answer))
        return answer.result()

    working = asyncio.ensure_future(in_daemon_thread(lambda: work(attempt)))
    try:
        while True:
            asking = asyncio.ensure_future(asked.get())
            await asyncio.wait((working, asking), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                asking.cancel()
                return working.result()
            candidate, answer = asking.result()
            try:
                answer.set_result(await once(candidate))
            except BaseException:
                answer.set_exception(_Ended())
                raise
    finally:
        working.cancel()
        with suppress(BaseException):
            await working
