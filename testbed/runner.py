"""Running a scenario: each of its architectures in turn, then everything is written down, however the run ended."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from testbed.engine import check_max_connections
from testbed.errors import TestbedError
from testbed.ledger.history import HistoryWriter
from testbed.ledger.verdict import ArchitectureVerdict, EngineFacts, Facts, RunVerdict, blind_spots
from testbed.load.orders import Request
from testbed.replay import EarlierRun, deciding, earlier_run, missed_line
from testbed.report.console import Progress
from testbed.run_folder import BROKEN_OFF, RunFolder, RunOptions, unwritable
from testbed.running import RunningTestbed, running_testbed
from testbed.scenario import Scenario
from testbed.standing import Standing, standing_testbed
from testbed.trial import Show, Trial

Keep = Callable[[RunningTestbed, RunVerdict], Awaitable[None]]


async def run_scenario(
    scenario: Scenario,
    options: RunOptions,
    folder: RunFolder,
    show: Show,
    tell: Callable[[str], None],
    *,
    keep: Keep | None = None,
    standing: Standing | None = None,
) -> RunVerdict:
    """Run every architecture of ``scenario``, judge it, and write everything into the run folder.

    A run that breaks off while an architecture is under test leaves a complete run folder too: its verdict is
    unknown, and what was recorded until then is kept. One that breaks off before leaves its logs, if there are any.

    Args:
        scenario: As `testbed.catalog.prepared`.
        options: What was asked for.
        folder: Where everything is written down.
        show: Takes the progress, for the live line.
        tell: Takes lines for people: a first-time installation, images that are pulled.
        keep: Awaited after the run and before everything is stopped, to look around.
        standing: The testbed to use; None starts one.

    Raises:
        EngineDiedError: A part died.
        UsageError: The scenario does not work, or the standing testbed cannot be used.
        HarnessError: The testbed cannot do its work.
    """
    scenario, requests = scenario.planned(options.seed)
    earlier = earlier_run(Path(options.replay_of), scenario, requests) if options.replay_of else None
    if earlier and not earlier.is_whole:
        tell(f"{options.replay_of} broke off: what its faults would have hit after that is not known, and not hit")
    check_max_connections(scenario.database.max_connections)
    connections = scenario.database.max_connections
    if standing:
        show(Progress(stage=f"looking at {standing.endpoint}"))
        testbed: AbstractAsyncContextManager[RunningTestbed]
        testbed = standing_testbed(standing, max_connections=connections, tell=tell)
    else:
        show(Progress(stage="starting LocalStack and Postgres"))
        testbed = running_testbed(max_connections=connections, logs=folder.logs, progress=tell, engine=options.engine)
    async with testbed as bed:
        run = _Run(bed, scenario, options, folder, earlier, tell)
        await run.try_all(requests, show)
        verdict = run.written_down()  # before the testbed stops: what interrupts that takes nothing from the run
        if keep and run.broken_by is None:
            await keep(bed, verdict)
    if run.broken_by is not None:
        raise run.broken_by
    return verdict


async def run_on(
    bed: RunningTestbed,
    scenario: Scenario,
    options: RunOptions,
    folder: RunFolder,
    *,
    show: Show,
    tell: Callable[[str], None],
) -> RunVerdict:
    """The same as `run_scenario`, on a testbed that is up, and stays so."""
    scenario, requests = scenario.planned(options.seed)
    run = _Run(bed, scenario, options, folder, None, tell)
    await run.try_all(requests, show)
    verdict = run.written_down()
    if run.broken_by is not None:
        raise run.broken_by
    return verdict


class _Run:
    """What is known of a run so far.

    Attributes:
        broken_by: What ended it early; None where nothing did.
    """

    def __init__(  # noqa: PLR0917 - once, by position of the same names
        self,
        bed: RunningTestbed,
        scenario: Scenario,
        options: RunOptions,
        folder: RunFolder,
        earlier: EarlierRun | None,
        tell: Callable[[str], None],
    ) -> None:
        self.broken_by: BaseException | None = None
        self._bed = bed
        self._scenario = scenario
        self._options = options
        self._folder = folder
        self._engine = EngineFacts(**asdict(bed.engine.info))
        self._earlier = earlier
        self._tell = tell
        self._found: dict[str, ArchitectureVerdict] = {}

    async def try_all(self, requests: Sequence[Request], show: Show) -> None:
        """Put one architecture after the other on trial, up to the first whose trial comes to no end."""
        self._folder.write_manifest(
            self._options,
            asdict(self._engine),
            self._scenario.profile.to_json(),
            deciding(self._scenario, requests),
        )
        with HistoryWriter(self._folder.history) as history:
            for architecture in self._scenario.architectures:
                hits = None if self._earlier is None else self._earlier.hits.get(architecture.name, ())
                trial = Trial(
                    bed=self._bed,
                    scenario=self._scenario,
                    architecture=architecture,
                    seed=self._options.seed,
                    replayed=hits,
                    requests=requests,
                    folder=self._folder,
                    history=history,
                    show=show,
                )
                try:
                    self._found[architecture.name] = await trial.run()
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - raised once all is written down
                    self._found[architecture.name] = trial.broken_off(_reason(error))
                    self.broken_by = error
                    return
                if hits is not None:
                    self._tell(missed_line(architecture.name, len(hits), trial.missed))

    def written_down(self) -> RunVerdict:
        """The verdict, in the run folder now; unknown for each architecture whose trial came to no end.

        Raises:
            HarnessError: It cannot be written, and nothing else ended the run before.
        """
        found = {each.name: self._found.get(each.name, _NOT_REACHED) for each in self._scenario.architectures}
        verdict = RunVerdict(
            scenario=self._scenario.name, seed=self._options.seed, engine=self._engine, architectures=found
        )
        if self.broken_by is None:
            write_down(self._folder, verdict)
            return verdict
        with suppress(TestbedError):  # a second message would hide what ended the run
            self._folder.write_json(BROKEN_OFF, {"reason": _reason(self.broken_by)})
            write_down(self._folder, verdict)
        return verdict


_NOT_REACHED: Final = ArchitectureVerdict(Facts(), tuple(blind_spots(died="the run had broken off before its turn")))


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "the run was interrupted"
    if isinstance(error, TestbedError):
        return error.message.partition("\n")[0].rstrip(":")
    return f"{type(error).__name__}: {error}"


def write_down(folder: RunFolder, verdict: RunVerdict) -> None:
    """Write verdict.json, report.html and junit.xml.

    Raises:
        HarnessError: One of them cannot be written.
    """
    from testbed.report.html import write_report  # noqa: PLC0415 - the templates' engine is not needed for the start
    from testbed.report.junit import write_junit  # noqa: PLC0415 - with the other one

    try:
        folder.write_json("verdict.json", verdict.to_json())
        write_report(folder.path)
        write_junit(folder.path)
    except OSError as error:
        raise unwritable(error, folder.path) from error
