"""The trial of one architecture: deployed, put under load and faults, drained, and accounted for."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from reprlib import repr as short
from typing import Any, Final

from testbed.chaos.catalogue import to_json
from testbed.chaos.fault import CallFault
from testbed.chaos.faults.poison import Poison
from testbed.chaos.faults.poison_kinds import FIT
from testbed.chaos.schedule import Hit, named
from testbed.chaos.timed import TimedFault
from testbed.errors import HarnessError, TestbedError, UsageError
from testbed.ledger.causes import Failures
from testbed.ledger.history import Attempt, HistoryWriter, Outcome
from testbed.ledger.jsonl import read_journal
from testbed.ledger.latency import Latencies
from testbed.ledger.pace import Pace
from testbed.ledger.reconcile import Ledger, Observed, Outcomes
from testbed.ledger.verdict import ArchitectureVerdict, Claim, Facts, Faults, Resources, blind_spots, excuse
from testbed.load.client import LoadSummary, run_load
from testbed.load.orders import Request
from testbed.own_lines import shortened
from testbed.records import Places
from testbed.report.console import Progress
from testbed.run_folder import RunFolder
from testbed.running import RunningTestbed, unless_dead
from testbed.scenario import Architecture, Aws, Db, Deployment, Scenario
from testbed.threads import in_daemon_thread
from testbed.timetable import Timetable, TrialWorld

_LEAD_SECONDS: Final = 0.2  # from arming the faults to second 0 of the traffic
_WATCH_SECONDS: Final = 0.25
_DRAIN_SECONDS: Final = 0.1
_NEWS_SECONDS: Final = 1.0
_REST_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.02
_WORKING: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND state = 'active' AND pid <> pg_backend_pid()"
)
_QUIET_LOOKS: Final = 2  # looks in a row that must find nothing left: depths are measured before idleness

Show = Callable[[Progress], None]


@dataclass(frozen=True)
class Place:
    """Where an architecture is deployed.

    Attributes:
        deployment: As its ``deploy`` says.
        db: Its database.
    """

    deployment: Deployment
    db: Db


@dataclass(kw_only=True)
class Trial:
    """One architecture under test.

    Attributes:
        bed: Where it is deployed.
        scenario: What it belongs to.
        architecture: What is tested.
        seed: Seed of the faults.
        requests: The traffic.
        folder: Where the journal goes.
        history: Takes what the clients saw.
        replayed: What faults hit in the run that this one repeats; None lets their triggers decide.
        show: Takes the progress.
        place: Where it is deployed already, and stays; None deploys it.
    """

    bed: RunningTestbed
    scenario: Scenario
    architecture: Architecture
    seed: int
    requests: Sequence[Request]
    folder: RunFolder
    history: HistoryWriter
    replayed: Sequence[Hit] | None = None
    show: Show = lambda _: None
    place: Place | None = None

    def __post_init__(self) -> None:
        self.outcomes, self.latencies, self.failures = Outcomes(), Latencies(), Failures()
        self.faults = named([*self.scenario.chaos, *self.architecture.chaos])
        self.poisoned = 0
        self.missed: dict[str, int] = {}
        self.status: dict[str, Any] = {}
        self.zero = 0.0
        self.late = 0.0
        self.drained = False
        self.timetable = Timetable(
            [fault for fault in self.faults if isinstance(fault, TimedFault)],
            TrialWorld(self.bed, _database(self.architecture)),
            lambda **event: self.bed.plane.call("note", **event),
        )

    async def run(self) -> ArchitectureVerdict:
        """Everything from the deployment to the verdict.

        Raises:
            EngineDiedError: A part died.
            UsageError: The scenario does not work.
            HarnessError: The testbed cannot do its work.
        """
        try:
            return await unless_dead(self.bed.died(), self._run(), patience=_NEWS_SECONDS)
        finally:
            await self.timetable.stop()

    async def _run(self) -> ArchitectureVerdict:
        name = self.architecture.name
        self.show(Progress(architecture=name, stage="deploying"))
        await self.bed.plane.call("profile", profile=self.scenario.profile.to_json())
        others = await in_daemon_thread(self._mappings) if self.place is None else set()
        place = self.place or await placed(self.scenario, self.architecture, self.bed)
        summary = await self._traffic(place.deployment)
        self.late = summary.max_lag
        self.show(Progress(architecture=name, stage="draining"))
        drain_seconds = await self._drain(summary)
        await self.timetable.stop()
        self.timetable.check()
        self.drained = self.drained and await in_daemon_thread(lambda: _at_rest(place.db))
        checkpoints = self._checkpoints()
        end = await self.bed.plane.call("end")
        _check_journal(end)
        _check_triggers(end)
        self.missed = end.get("missed", {})
        self.show(Progress(architecture=name, stage="counting"))
        observed = await in_daemon_thread(lambda: self._look(place, checkpoints))
        if self.place is None:
            await in_daemon_thread(lambda: self._remove_mappings(others))
        return await in_daemon_thread(lambda: self._verdict(observed, end, drain_seconds))

    async def _traffic(self, deployment: Deployment) -> LoadSummary:
        offset = await self.bed.plane.clock_offset()
        self.zero = time.monotonic() + _LEAD_SECONDS
        await self.bed.plane.call(
            "begin",
            architecture=self.architecture.name,
            seed=self.seed,
            replayed=self.replayed,
            faults=to_json([fault for fault in self.faults if isinstance(fault, CallFault)]),
            journal=str(self.folder.journal.resolve()),
            zero=self.zero + offset,
        )
        self.timetable.start(self.zero)
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
        for account in (self.outcomes, self.latencies, self.failures):
            account.add(attempt)
        self.poisoned += bool(attempt.poison) and attempt.outcome is not Outcome.UNSENT
        self.history.write(attempt)

    async def _watch(self, summary: Callable[[], LoadSummary]) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            await self._look_once(summary(), self.scenario.traffic.arrivals.stage_at(self._now()))

    async def _look_once(self, summary: LoadSummary, stage: str, route: str = "status") -> None:
        self.timetable.check()
        self.status = await self.bed.plane.call(route)
        _check_journal(self.status)
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
            await asyncio.sleep(_DRAIN_SECONDS)
            await self._look_once(summary, "draining", "measured")
            quiet = quiet + 1 if _is_quiet(self.status, started_epoch) else 0
        self.drained = quiet >= _QUIET_LOOKS
        return round(time.monotonic() - started, 2)

    def _checkpoints(self) -> dict[str, dict[str, str | None]]:
        return {
            mapping["source"].rpartition("/")[2]: mapping["checkpoints"]
            for mapping in self.status.get("mappings", ())
            if ":kinesis:" in mapping["source"]
        }

    def _look(self, place: Place, checkpoints: dict[str, dict[str, str | None]]) -> Observed:
        url, dsn = self.bed.engine.localstack_url, place.db.admin_dsn
        places = Places(emulator_url=url, admin_dsn=dsn, checkpoints=checkpoints)
        deployment = place.deployment
        return Observed(
            stored=deployment.stored.ids(places),
            dead_lettered={order for each in deployment.dead_letters for order in each.ids(places)},
            left={order for source in deployment.sources for order in source.ids(places)},
        )

    def _mappings(self) -> set[str]:
        pages = self.bed.aws.client("lambda").get_paginator("list_event_source_mappings").paginate()
        return {mapping["UUID"] for page in pages for mapping in page["EventSourceMappings"]}

    def _remove_mappings(self, others: set[str]) -> None:
        """Take the pollers of this architecture away, so that they cost the next one nothing."""
        client = self.bed.aws.client("lambda")
        for uuid in self._mappings() - others:
            client.delete_event_source_mapping(UUID=uuid)

    def _verdict(self, observed: Observed, end: dict[str, Any], drain_seconds: float) -> ArchitectureVerdict:
        poison = {request.id for request in self.requests if request.poison and request.poison not in FIT}
        for hop in read_journal(self.folder.journal):
            if hop["architecture"] == self.architecture.name:
                self.failures.explain(hop)
        armed = {fault.name: 0 for fault in self.faults if not isinstance(fault, Poison)}
        fired: dict[str, int] = armed | end["fired"] | self.timetable.fired
        planted = {fault.name: self.poisoned for fault in self.faults if isinstance(fault, Poison)}
        facts = Facts(
            ledger=self.outcomes.ledger(observed, poison),
            latency_ms=self.latencies.percentiles(),
            resources=replace(Resources(**end["resources"]), drain_seconds=drain_seconds),
            faults=Faults(armed=len(fired), fired=sum(fired.values())),
            causes=self.failures.causes(),
        )
        claims = [expectation.evaluate(facts) for expectation in self.architecture.expectations]
        blind = blind_spots(
            drained=self.drained and not observed.left,
            never_fired=[name for name, count in (fired | planted).items() if not count],
            never_succeeded=[] if facts.ledger.acknowledged else ["order"],
            too_slow=excuse(claims, facts.ledger, Pace(late=self.late, **end["pace"])),
        )
        return ArchitectureVerdict(facts, (*claims, *blind))

    def broken_off(self, reason: str) -> ArchitectureVerdict:
        """What can be said when it came to no end: what clients saw. Where the orders are, nobody knows."""
        counted = self.outcomes.ledger(Observed(), set())
        seen = Ledger(
            attempted=counted.attempted,
            acknowledged=counted.acknowledged,
            refused=counted.refused,
            unknown=counted.unknown,
            unsent=counted.unsent,
        )
        claims = [Claim(each.claim, None, "could not be seen") for each in self.architecture.expectations]
        facts = Facts(ledger=seen, latency_ms=self.latencies.percentiles())
        return ArchitectureVerdict(facts, (*claims, *blind_spots(died=reason)))

    def _now(self) -> float:
        return time.monotonic() - self.zero


def _database(architecture: Architecture) -> str:
    return architecture.name.replace("-", "_")


def _check_journal(answer: dict[str, Any]) -> None:
    """A journal with holes explains nothing: the run ends."""
    if error := answer["journal_error"]:
        raise HarnessError(
            f"the journal cannot be written: {error}", "free some space, or choose another folder with --out"
        )


def _check_triggers(end: dict[str, Any]) -> None:
    """Faults whose trigger raised have tested nothing: the run ends."""
    if broken := end.get("broken_trigger"):
        raise UsageError(
            broken, "it is asked about every call of the fault's service; docs/faults.md says what a call has"
        )


async def placed(scenario: Scenario, architecture: Architecture, bed: RunningTestbed) -> Place:
    """Deploy ``architecture`` with a fresh database.

    Raises:
        UsageError: As `deployed`.
    """
    db = await bed.create_database(_database(architecture))
    return Place(await deployed(scenario, architecture, bed.aws, db), db)


async def deployed(scenario: Scenario, architecture: Architecture, aws: Aws, db: Db) -> Deployment:
    """Set up the database of ``architecture`` and deploy it.

    Raises:
        UsageError: The schema or ``deploy`` fails, with the lines of the scenario that did, or returns something else.
    """
    try:
        if scenario.database.schema:
            await in_daemon_thread(lambda: db.execute(scenario.database.schema))
    except Exception as error:
        raise UsageError(
            f"the schema of scenario {scenario.name!r} does not work: {str(error).strip()}",
            "it is the SQL in Scenario(database=Database(schema=...))",
        ) from error
    try:
        deployment = await in_daemon_thread(lambda: architecture.deploy(aws, db))
    except TestbedError:
        raise
    except Exception as error:
        raise UsageError(
            f"deploying architecture {architecture.name!r} failed:\n{shortened(error)}", "mend its deploy()"
        ) from error
    if not isinstance(deployment, Deployment):
        raise UsageError(
            f"deploying architecture {architecture.name!r} gave {short(deployment)}, which is no Deployment",
            "let its deploy() end with: return Deployment(url=...)",
        )
    return deployment


def _at_rest(db: Db) -> bool:
    """Whether Postgres has come to the end of its statements: one that waited for a lock goes on without its client."""
    import psycopg  # noqa: PLC0415 - heavy

    deadline = time.monotonic() + _REST_SECONDS
    with psycopg.connect(db.admin_dsn, autocommit=True) as connection:
        while connection.execute(_WORKING).fetchone() != (0,):
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_SECONDS)
    return True


def _is_quiet(status: dict[str, Any], since: float) -> bool:
    """Whether nothing is queued, in flight or unread any more.

    Args:
        status: The plane's status.
        since: `time.time` after which queues must have been measured, and a stream found empty.
    """
    return (
        status["measured_at"] >= since
        and not status["concurrency"]
        and not status["queued_events"]
        and not status["deliveries"]
        and not status["held"]
        and status["executions"] == 0
        and not status["queue_depth"]
        and all(
            mapping["idle"] and (not _is_stream(mapping["source"]) or (mapping["caught_up_at"] or 0) >= since)
            for mapping in status["mappings"]
        )
    )


def _is_stream(source: str) -> bool:
    return source.split(":")[2] in {"kinesis", "dynamodb"}
