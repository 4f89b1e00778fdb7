"""Running a scenario: each architecture is deployed, put under load and faults, drained, and accounted for."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, TypeVar

from testbed.chaos.fault import CallFault
from testbed.chaos.schedule import named, to_json
from testbed.errors import EngineDiedError, TestbedError
from testbed.ledger.causes import causes
from testbed.ledger.history import Attempt, HistoryWriter
from testbed.ledger.jsonl import read_journal
from testbed.ledger.latency import latency_ms
from testbed.ledger.reconcile import Ledger, Observed, reconcile
from testbed.ledger.verdict import (
    ArchitectureVerdict,
    Claim,
    EngineFacts,
    Facts,
    Faults,
    Resources,
    RunVerdict,
    blind_spots,
)
from testbed.load.client import LoadSummary, run_load
from testbed.load.orders import Request
from testbed.records import Places
from testbed.report.console import Progress
from testbed.run_folder import RunFolder, RunOptions
from testbed.running import RunningTestbed, running_testbed
from testbed.scenario import Architecture, Db, Deployment, Scenario

_LEAD_SECONDS: Final = 0.2  # from arming the faults to second 0 of the traffic
_WATCH_SECONDS: Final = 0.25
_QUIET_LOOKS: Final = 2  # looks in a row that must find nothing left: depths are measured before idleness
_T = TypeVar("_T")

Show = Callable[[Progress], None]


def prepared(scenario: Scenario, options: RunOptions) -> Scenario:
    """The scenario as ``options`` want it."""
    chosen = scenario.only(options.architectures)
    if options.no_chaos:
        chosen = chosen.without_chaos()
    return chosen if options.scale == 1 else chosen.scaled(options.scale)


async def run_scenario(
    scenario: Scenario,
    options: RunOptions,
    folder: RunFolder,
    show: Show,
    tell: Callable[[str], None],
    *,
    keep: bool = False,
) -> RunVerdict:
    """Run every architecture of ``scenario`` and judge it.

    Args:
        scenario: As `prepared`.
        options: What was asked for.
        folder: Where everything is written down.
        show: Takes the progress, for the live line.
        tell: Takes lines for people, at a first-time installation.
        keep: Keep everything running after the run until it is cancelled, to look around.

    Raises:
        TestbedError: The testbed cannot do its work; a part of the engine that dies during the run makes the verdict
            unknown instead.
    """
    requests = scenario.traffic.plan(options.seed, scenario.poison)
    show(Progress(stage="starting LocalStack and Postgres"))
    connections = scenario.database.max_connections
    async with running_testbed(max_connections=connections, logs=folder.logs, progress=tell) as bed:
        engine = EngineFacts(**asdict(bed.engine.info))
        folder.write_manifest(options, asdict(engine))
        found: dict[str, ArchitectureVerdict] = {}
        with HistoryWriter(folder.history) as history:
            for architecture in scenario.architectures:
                trial = _Trial(bed, scenario, architecture, options.seed, requests, folder, history, show)
                found[architecture.name] = await trial.judge()
                if trial.died is not None:
                    break
        for architecture in scenario.architectures:
            found.setdefault(architecture.name, _not_reached())
        verdict = RunVerdict(scenario=scenario.name, seed=options.seed, engine=engine, architectures=found)
        if keep:
            folder.write_json("verdict.json", verdict.to_json())
            tell(f"kept running until Ctrl-C: {bed.aws.endpoint_url}")
            with suppress(asyncio.CancelledError):
                await bed.died()
        return verdict


def _not_reached() -> ArchitectureVerdict:
    return ArchitectureVerdict(Facts(), tuple(blind_spots(died="the engine had died before its turn")))


@dataclass
class _Trial:
    """One architecture under test."""

    bed: RunningTestbed
    scenario: Scenario
    architecture: Architecture
    seed: int
    requests: list[Request]
    folder: RunFolder
    history: HistoryWriter
    show: Show
    died: EngineDiedError | None = None

    def __post_init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.faults = named([*self.scenario.chaos, *self.architecture.chaos])
        self.status: dict[str, Any] = {}
        self.zero = 0.0
        self.drained = False

    async def judge(self) -> ArchitectureVerdict:
        """Everything from the deployment to the verdict."""
        try:
            return await self._unless_dead(self._run())
        except EngineDiedError as error:
            self.died = error
            (self.folder.logs / "death.txt").write_text(f"{error.message}\n\n{error.log_tail}\n")
            return self._broken_off(error)

    async def _run(self) -> ArchitectureVerdict:
        name = self.architecture.name
        self.show(Progress(architecture=name, stage="deploying"))
        db = await self.bed.create_database(name.replace("-", "_"))
        if self.scenario.database.schema:
            await asyncio.to_thread(db.execute, self.scenario.database.schema)
        deployment = await asyncio.to_thread(self.architecture.deploy, self.bed.aws, db)
        summary = await self._traffic(deployment)
        self.show(Progress(architecture=name, stage="draining"))
        drain_seconds = await self._drain(summary)
        checkpoints = self._checkpoints()
        end = await self.bed.plane.call("end")
        self.show(Progress(architecture=name, stage="counting"))
        observed = await asyncio.to_thread(self._look, deployment, db, checkpoints)
        await asyncio.to_thread(self._remove_mappings)
        return self._verdict(observed, end, drain_seconds)

    async def _traffic(self, deployment: Deployment) -> LoadSummary:
        self.zero = time.monotonic() + _LEAD_SECONDS
        await self.bed.plane.call(
            "begin",
            architecture=self.architecture.name,
            seed=self.seed,
            faults=to_json([fault for fault in self.faults if isinstance(fault, CallFault)]),
            journal=str(self.folder.journal.resolve()),
            zero=self.zero,
        )
        summary = LoadSummary(planned=len(self.requests))

        def progress(latest: LoadSummary) -> None:
            nonlocal summary
            summary = latest

        watching = asyncio.create_task(self._watch(lambda: summary))
        try:
            return await run_load(
                self.requests,
                architecture=self.architecture.name,
                base_url=deployment.url,
                timeout=self.scenario.traffic.timeout,
                max_in_flight=self.scenario.traffic.max_in_flight,
                record=self._record,
                progress=progress,
                start=self.zero,
            )
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    def _record(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        self.history.write(attempt)

    async def _watch(self, summary: Callable[[], LoadSummary]) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            await self._look_once(summary(), self.scenario.traffic.arrivals.stage_at(self._now()))

    async def _look_once(self, summary: LoadSummary, stage: str) -> None:
        self.status = await self.bed.plane.call("status")
        if error := self.status["journal_error"]:
            raise TestbedError(f"the journal cannot be written: {error}", "free some space, or use --out")
        self.show(
            Progress(
                architecture=self.architecture.name,
                stage=stage,
                t=self._now(),
                planned=summary.planned,
                sent=summary.sent,
                stored=self.status["stored"],
                queue_depth=self.status["queue_depth"],
                connections=self.status["connections"],
            )
        )

    async def _drain(self, summary: LoadSummary) -> float:
        """Wait until nothing is on its way any more, or the deadline; returns the seconds that it took.

        A message that its consumer gave up moves to the dead-letter queue only with the *next* receive (SQS developer
        guide, "Using dead-letter queues"), so an idle consumer is not enough: the queue itself must be empty.
        """
        started = time.monotonic()
        started_epoch = time.time()
        quiet = 0
        while quiet < _QUIET_LOOKS and time.monotonic() - started < self.scenario.drain_seconds:
            await asyncio.sleep(_WATCH_SECONDS)
            await self._look_once(summary, "draining")
            quiet = quiet + 1 if _is_quiet(self.status, started_epoch) else 0
        self.drained = quiet >= _QUIET_LOOKS
        return round(time.monotonic() - started, 2)

    def _checkpoints(self) -> dict[str, dict[str, str | None]]:
        return {
            mapping["source"].rpartition("/")[2]: mapping["checkpoints"]
            for mapping in self.status.get("mappings", ())
            if ":kinesis:" in mapping["source"]
        }

    def _look(self, deployment: Deployment, db: Db, checkpoints: dict[str, dict[str, str | None]]) -> Observed:
        places = Places(emulator_url=self.bed.engine.localstack_url, admin_dsn=db.admin_dsn, checkpoints=checkpoints)
        return Observed(
            stored=deployment.stored.ids(places),
            dead_lettered={order for place in deployment.dead_letters for order in place.ids(places)},
            left={order for source in deployment.sources for order in source.ids(places)},
        )

    def _remove_mappings(self) -> None:
        """Take the pollers away, so that they cost the next architecture nothing."""
        client = self.bed.aws.client("lambda")
        for page in client.get_paginator("list_event_source_mappings").paginate():
            for mapping in page["EventSourceMappings"]:
                client.delete_event_source_mapping(UUID=mapping["UUID"])

    def _verdict(self, observed: Observed, end: dict[str, Any], drain_seconds: float) -> ArchitectureVerdict:
        poison = {request.id for request in self.requests if request.poison}
        hops = (hop for hop in read_journal(self.folder.journal) if hop["architecture"] == self.architecture.name)
        fired: dict[str, int] = end["fired"]
        facts = Facts(
            ledger=reconcile(self.attempts, observed, poison),
            latency_ms=latency_ms(self.attempts),
            resources=replace(Resources(**end["resources"]), drain_seconds=drain_seconds),
            faults=Faults(armed=len(fired), fired=sum(fired.values())),
            causes=causes(self.attempts, hops),
        )
        blind = blind_spots(
            drained=self.drained,
            never_fired=[name for name, count in fired.items() if not count],
            never_succeeded=[] if facts.ledger.acknowledged else ["order"],
        )
        claims = [expectation.evaluate(facts) for expectation in self.architecture.expectations]
        return ArchitectureVerdict(facts, (*claims, *blind))

    def _broken_off(self, error: EngineDiedError) -> ArchitectureVerdict:
        """What can be said when a part has died: what clients saw. Where the orders are, nobody knows."""
        counted = reconcile(self.attempts, Observed(), set())
        seen = Ledger(
            attempted=counted.attempted,
            acknowledged=counted.acknowledged,
            refused=counted.refused,
            unknown=counted.unknown,
            unsent=counted.unsent,
        )
        claims = [Claim(each.claim, None, "could not be seen") for each in self.architecture.expectations]
        facts = Facts(ledger=seen, latency_ms=latency_ms(self.attempts))
        return ArchitectureVerdict(facts, (*claims, *blind_spots(died=error.message)))

    async def _unless_dead(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of ``work``, unless a part of the engine dies first: then its death is what is raised.

        A death shows first as all kinds of failures of whoever used the part, so that a failure waits a moment for
        the news.
        """
        working, dying = asyncio.create_task(work), asyncio.create_task(self.bed.died())
        try:
            await asyncio.wait((working, dying), return_when=asyncio.FIRST_COMPLETED)
            if working.done() and working.exception() is not None and not dying.done():
                await asyncio.wait((dying,), timeout=1.0)
            if dying.done():
                raise dying.result()
            return working.result()
        finally:
            for task in (working, dying):
                task.cancel()
            await asyncio.gather(working, dying, return_exceptions=True)

    def _now(self) -> float:
        return time.monotonic() - self.zero


def _is_quiet(status: dict[str, Any], since: float) -> bool:
    """Whether nothing is queued, in flight or unread any more.

    Args:
        status: The plane's status.
        since: `time.time` after which a stream must have been found empty.
    """
    return (
        not status["concurrency"]
        and not status["queued_events"]
        and not status["queue_depth"]
        and all(
            mapping["idle"] and (":kinesis:" not in mapping["source"] or (mapping["caught_up_at"] or 0) >= since)
            for mapping in status["mappings"]
        )
    )
