"""The plane process: gateway, compute, pollers and the Postgres proxy around one event loop."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from multidict import CIMultiDict
from yarl import URL

from testbed.chaos.catalogue import faults_from_json
from testbed.chaos.schedule import Schedule
from testbed.compute.invoke import Compute
from testbed.compute.pollers.fleet import PollerFleet
from testbed.errors import EngineDiedError, UsageError
from testbed.gateway.caller import AwsClient
from testbed.gateway.classify import resource_name
from testbed.gateway.core import Gateway
from testbed.gateway.deliveries import Deliveries
from testbed.gateway.emulator import Emulator
from testbed.gateway.executions import Executions
from testbed.gateway.inventory import Inventory
from testbed.gateway.journal import Journal
from testbed.gateway.lease import Lease
from testbed.gateway.message import Inbound
from testbed.gateway.observability import Observability
from testbed.gateway.origin import function_name
from testbed.gateway.postgres.proxy import PostgresProxy
from testbed.gateway.processor import processor_seconds
from testbed.gateway.queue_gauge import QueueGauge
from testbed.semantics.profiles import Profile
from testbed.semantics.profiles import aws as aws_profile
from testbed.threads import in_daemon_thread

CALLER: Final = "testbed"
_SAMPLE_SECONDS: Final = 0.25
_SETTLING_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 5.0  # then the emulator is asked again: it may have come back without the question
_CONNECT_SECONDS: Final = 5
_TRANSIENT: Final = frozenset({"Creating", "Enabling", "Disabling", "Updating", "Deleting"})
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PlaneSettings:
    """What the plane is told at its start.

    Attributes:
        host: The gateway's own host and port, as clients know it.
        folder: For code, the environments' ``/tmp`` and its own files; removed with the run.
        logs: Where function logs are kept.
        run: The run's token, in the environment of every process.
        mode: Of the engine, ``"process"`` or ``"container"``.
        postgres_listen: Where the Postgres proxy listens; port 0 takes a free one.
    """

    host: str
    folder: Path
    logs: Path
    run: str
    mode: str = "process"
    postgres_listen: tuple[str, int] = ("127.0.0.1", 0)


class Plane:
    """Everything that runs what is deployed.

    Args:
        settings: Where everything is.

    Attributes:
        death: How the fork server ended, should it end: whoever started the plane cannot see that process.
        lease: Who runs scenarios here, where it stands and runs come and go.
        schedule: Decides what faults do to calls.
    """

    def __init__(self, settings: PlaneSettings) -> None:
        self._settings = settings
        self._zero = time.monotonic()
        self._emulator = Emulator()
        self.observability = Observability(self._emulator.forward)
        self.journal = Journal(self.clock, self.observability.observe)
        self._quiet = AwsClient(lambda _target, request, _caller: self._emulator.forward(request), settings.host)
        self.compute = Compute(
            self._quiet,
            self.journal,
            sender=AwsClient(
                lambda target, request, caller: self.gateway.aws(target, request, caller),  # noqa: PLW0108 - made later
                settings.host,
            ),
            folder=settings.folder,
            logs=settings.logs,
            gateway_url=f"http://{settings.host}",
            run=settings.run,
            on_death=self._died,
            on_log=self.observability.logs.add,
            around_attempt=lambda request, run: self.gateway.invokes.attempt(request, run),  # noqa: PLW0108 - the same
        )
        self.death: asyncio.Future[EngineDiedError] = asyncio.get_running_loop().create_future()
        self.gateway = Gateway(self._emulator, self.compute, self.journal, self.clock, self._quiet)
        through = AwsClient(self.gateway.aws, settings.host)
        self.deliveries = Deliveries(through, settings.host, self.journal)
        self.fleet = PollerFleet(through, self.gateway, self.journal.record, aws_profile, time.time)
        self.postgres: PostgresProxy | None = None
        self.lease = Lease(lambda: Inventory(self._emulator.url), self.end)
        self.schedule = Schedule((), 0)
        self._under_test = ""
        self._queues = QueueGauge(self.gateway.streamed_in, self._quiet, host=settings.host, caller=CALLER)
        self._executions = Executions(self._emulator.forward)
        self._peak_depth = 0
        self._longest_stall = 0.0
        self._processor = (0.0, 0.0)
        self._tasks: set[asyncio.Task[None]] = set()
        self._refresh = asyncio.Event()
        self._stopping = False

    def clock(self) -> float:
        """Seconds since the start of the traffic."""
        return time.monotonic() - self._zero

    @property
    def own_journal(self) -> Path:
        """The journal of the architecture that is, or was last, under test for whoever fetches it from here."""
        return self._settings.folder / "journal.jsonl"

    async def about(self) -> dict[str, Any]:
        """What stands here, for those who did not start it."""
        answer = await self._emulator.forward(Inbound("GET", "/_testbed/plugin/health", CIMultiDict()))
        return {
            "mode": self._settings.mode,
            "emulator_version": json.loads(await answer.whole())["localstack"],
            "postgres_port": self.postgres.port if self.postgres else 0,
            "logs": str(self._settings.logs),
        }

    async def reach(self, dsn: str) -> str | None:
        """Why ``dsn`` does not lead from here into a database; None where it does."""
        import psycopg  # noqa: PLC0415 - only a standing testbed needs it

        try:
            await in_daemon_thread(lambda: psycopg.connect(dsn, connect_timeout=_CONNECT_SECONDS).close())
        except psycopg.Error as error:
            return str(error).strip().partition("\n")[0]
        return None

    async def lost_part(self) -> str | None:
        """LocalStack or Postgres, if nobody listens there any more; it may well be slow."""
        emulator = URL(self._emulator.url)
        parts = {"LocalStack": (emulator.host, emulator.port)}
        if self.postgres:
            parts["Postgres"] = self.postgres.upstream
        for name, address in parts.items():
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    _, writer = await asyncio.open_connection(*address)
                writer.close()
            except TimeoutError:
                continue
            except OSError:
                return name
        return None

    async def start(self) -> None:
        """Start the fork server and the plane's own loops."""
        await self.compute.start()
        loops = (
            ("sampler", self._sample),
            ("gauge of the queues", self._gauge),
            ("keeper of the mappings", self._keep_mappings),
            ("keeper of the lease", self._keep_lease),
            ("publisher of metrics and logs", self._publish),
        )
        for name, turn in loops:
            task = asyncio.create_task(self._forever(name, turn), name=name)
            task.add_done_callback(self._loop_ended)
            self._tasks.add(task)

    async def stop(self) -> None:
        """Stop everything that runs."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.deliveries.clear()
        await self.fleet.stop(grace=0.0)
        await self.compute.stop()
        if self.postgres:
            await self.postgres.stop()
        await self._emulator.close()
        self.journal.close()

    async def connect(self, emulator_url: str, host: str, port: int, admin: str) -> int:
        """Use this emulator, and put the proxy in front of this Postgres; returns the proxy's port.

        Called again, it moves both to where they are now, and reads anew what is deployed: an emulator that was started
        again has nothing. The proxy stays where it is.
        """
        self._emulator.move(emulator_url)
        if self.postgres is None:
            proxy = PostgresProxy(
                (host, port), self.gateway.faults.decide, self.journal.record, self.clock, admin=admin
            )
            await proxy.start(*self._settings.postgres_listen)
            self.postgres = proxy
        else:
            self.postgres.move((host, port), admin)
            await self.read_anew()
        return self.postgres.port

    def cut(self, part: str | None) -> None:
        """Let nothing through to ``part`` or from it, until `mend`; does nothing where it is so already.

        Raises:
            UsageError: There is no such part.
        """
        network = self._network(part)
        if not network.is_cut:
            self.journal.record("engine", event="cut", part=part)
            network.cut()

    async def mend(self, part: str | None) -> None:
        """Let everything through again; does nothing where it does.

        What is deployed is read anew: the emulator could not tell of changes.

        Raises:
            UsageError: There is no such part.
        """
        network = self._network(part)
        if network.is_cut:
            self.journal.record("engine", event="mend", part=part)
            network.mend()
            if network is self._emulator:
                await self.read_anew()

    def _network(self, part: str | None) -> Emulator | PostgresProxy:
        """What stands before ``part``."""
        if part == "localstack":
            return self._emulator
        if part == "postgres" and self.postgres:
            return self.postgres
        raise UsageError(f"there is no part {part!r}", "the parts are 'localstack' and 'postgres', once connected")

    async def read_anew(self) -> None:
        """Believe nothing that was read from the emulator."""
        self.compute.forget()
        self.gateway.limits.forget()
        await self.gateway.rest_apis.changed("", "")
        self.gateway.function_urls.forget()
        self._refresh.set()

    async def use(self, profile: Profile) -> None:
        """Run what is deployed from now on by other numbers."""
        await self.compute.use(profile)
        self.fleet.use(profile)
        self.gateway.limits.use(profile)
        self.gateway.rest_api_plane.use(profile.rest_api)
        self.deliveries.use(profile)

    async def begin(self, order: Mapping[str, Any]) -> None:
        """Put one architecture under test.

        Args:
            order: ``architecture``, ``seed``, ``faults`` (JSON), ``replayed`` (hits of another run; None for none),
                ``zero`` (second 0 of the traffic, by the clock of this process), ``journal`` (path; None writes one
                that `own_journal` names).
        """
        replayed = order.get("replayed")
        await self._executions.begin()
        await self.fleet.end_retiring()
        schedule = Schedule(
            faults_from_json(order["faults"]),
            order["seed"],
            self.gateway.faults.journal_fault,
            replayed=None
            if replayed is None
            else {(fault, identity, attempt) for fault, identity, attempt in replayed},
        )
        if order.get("journal") is None:
            self.journal.close()
            self.own_journal.unlink(missing_ok=True)
        self.journal.open(Path(order.get("journal") or self.own_journal), order["architecture"])
        self._zero = order["zero"]
        self._under_test = order["architecture"]
        self.schedule = schedule
        self.gateway.arm(schedule)
        self._peak_depth = 0
        self._longest_stall = 0.0
        self._processor = processor_seconds()
        if self.postgres:
            self.postgres.reset()

    def busy(self) -> str:
        """Why nobody may add faults now; empty where nothing speaks against it."""
        if self._under_test:
            return f"the architecture {self._under_test!r} is under test"
        return "a run uses the testbed" if self.lease.is_held else ""

    def act(self, schedule: Schedule) -> None:
        """Let ``schedule`` decide from now on, outside of a run."""
        self.schedule = schedule
        self.gateway.faults.arm(schedule)

    async def end(self) -> dict[str, Any]:
        """Take the architecture out of test: no more faults, no more environments; says what it needed."""
        stats = self.compute.stats()
        self.journal.close()
        facts = {
            "resources": {
                "peak_concurrency": stats.peak_account_concurrency,
                "peak_connections": self.postgres.peak_sessions if self.postgres else 0,
                "throttles": stats.throttles + sum(part.throttles for part in self.gateway.refusing),
                "cold_starts": sum(stats.cold_starts.values()),
                "peak_queue_depth": self._peak_depth,
            },
            "pace": self._pace(),
            "fired": self.schedule.fired,
            "missed": self.schedule.missed,
            "broken_trigger": self.schedule.broken,
            "journal_error": str(self.journal.error) if self.journal.error else None,
        }
        self._under_test = ""
        self.schedule = Schedule((), 0)
        self.gateway.arm(self.schedule)
        await self.deliveries.clear()
        await self.compute.reset()
        if not self._emulator.is_cut:
            await self.observability.flush()
        return facts

    def _pace(self) -> dict[str, float]:
        """How this process kept up since second 0 of the traffic, see `testbed.ledger.pace.Pace`."""
        (ran, waited), (ran_before, waited_before) = processor_seconds(), self._processor
        return {"stalled": self._longest_stall, "ran": ran - ran_before, "waited": waited - waited_before}

    def _died(self, error: EngineDiedError) -> None:
        if not self.death.done():
            self.death.set_result(error)

    async def changed(self, service: str, operation: str, resource: str) -> None:
        """The emulator says that ``operation`` changed what is deployed."""
        if service == "apigateway":
            await self.gateway.rest_apis.changed(resource, operation)
        elif self.gateway.limits.covers(service):
            self.gateway.limits.changed(service, operation, resource_name(resource))
        elif "EventSourceMapping" in operation:
            self._refresh.set()
        elif "FunctionUrlConfig" in operation:
            self.gateway.function_urls.forget()
        elif "EventInvokeConfig" in operation:
            self.compute.reconfigure_events(function_name(resource))
        else:
            self.gateway.function_urls.forget()  # that of a function or an alias which is deleted is gone, too
            name = function_name(resource)
            is_version = operation == "DeleteFunction" and not resource.endswith(name)
            self.compute.invalidate(name, "" if is_version else operation)

    async def measured(self) -> dict[str, Any]:
        """What is going on now, for the drain: what LocalStack has is of this moment where it can be asked."""
        await asyncio.gather(self._queues.measure(self.fleet.status()), self._executions.measure())
        return self.status()

    def status(self) -> dict[str, Any]:
        """What is going on now, for the live line; depths are of a moment ago."""
        stats = self.compute.stats()
        mappings = [
            {
                "source": status.source,
                "idle": status.idle,
                "in_flight": status.in_flight,
                "processed": status.processed,
                "depth": self._queues.depths[status.source],
                "caught_up_at": status.caught_up_at,
                "checkpoints": dict(status.checkpoints),
            }
            for status in self.fleet.status()
        ]
        return {
            "t": self.clock(),
            "stored": self.postgres.inserted if self.postgres else 0,
            "connections": self.postgres.open_sessions if self.postgres else 0,
            "concurrency": stats.concurrency,
            "queued_events": stats.queued_events,
            "deliveries": len(self.deliveries),
            "executions": self._executions.running,
            "held": self.gateway.faults.held + (self.postgres.held if self.postgres else 0),
            "dropped_events": stats.dropped_events,
            "queue_depth": self._queues.depths.total(),
            "measured_at": self._queues.measured_at,
            "mappings": mappings,
            "journal_error": str(self.journal.error) if self.journal.error else None,
        }

    async def _forever(self, name: str, turn: Callable[[], Awaitable[None]]) -> None:
        """Take one turn after the other; one that fails is told of, and the next one is taken a moment later."""
        while True:
            try:
                await turn()
            except Exception:  # noqa: BLE001 - logged; a loop that ends silently is worse
                _log.exception("the %s failed and goes on", name)
                await asyncio.sleep(_RETRY_SECONDS)

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        """A loop of the plane's own is never done while the plane runs: without it, nothing that it says holds."""
        if not self._stopping:
            self._died(EngineDiedError("the data plane", f"lost its {task.get_name()}"))

    async def _sample(self) -> None:
        """Look at everything, four times a second, for the picture and the live line."""
        asleep = time.monotonic()
        await asyncio.sleep(_SAMPLE_SECONDS)
        late = time.monotonic() - max(asleep, self._zero) - _SAMPLE_SECONDS
        self._longest_stall = max(self._longest_stall, late)
        try:
            status = self.status()
            self._peak_depth = max(self._peak_depth, status["queue_depth"])
            self.journal.record(
                "sample",
                queue_depth=status["queue_depth"],
                connections=status["connections"],
                concurrency=status["concurrency"],
                stored=status["stored"],
            )
        finally:
            self.journal.flush()

    async def _gauge(self) -> None:
        """Ask how full the queues are, as often; while the emulator does not answer, samples are taken all the same."""
        await asyncio.sleep(_SAMPLE_SECONDS)
        await self._queues.measure(self.fleet.status())

    async def _publish(self) -> None:
        if self._emulator.url and not self._emulator.is_cut:
            await self.observability.turn()
        else:
            await asyncio.sleep(_SAMPLE_SECONDS)

    async def _keep_lease(self) -> None:
        await asyncio.sleep(_SAMPLE_SECONDS)
        await self.lease.expire()

    async def _keep_mappings(self) -> None:
        """Keep the pollers in step with the mappings that the emulator lists, whenever it says that they changed."""
        await self._refresh.wait()
        self._refresh.clear()
        try:
            settling = await self._reconcile()
        except BaseException:
            self._refresh.set()  # what was to be read still is
            raise
        if settling:
            asyncio.get_running_loop().call_later(_SETTLING_SECONDS, self._refresh.set)

    async def _reconcile(self) -> bool:
        """Read the mappings once; returns whether one of them is still on its way into another state."""
        mappings: list[dict[str, Any]] = []
        params: dict[str, Any] = {}
        while True:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await self._quiet.call("lambda", "ListEventSourceMappings", params, caller=CALLER)
            mappings += answer.get("EventSourceMappings", ())
            if not answer.get("NextMarker"):
                break
            params["Marker"] = answer["NextMarker"]
        sources = {mapping.get("EventSourceArn") for mapping in mappings}
        for status in self.fleet.status():
            if status.source not in sources:  # nobody reads what it took: its backlog is none
                self.gateway.streamed_in.pop(status.source.rpartition("/")[2], None)
        self.observability.use(mappings)
        await self.fleet.reconcile(mappings)
        return any(mapping["State"] in _TRANSIENT for mapping in mappings)
