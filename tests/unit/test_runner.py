"""The run, with stand-ins for everything that runs beneath it."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from testbed import (
    Architecture,
    Aws,
    Constant,
    Database,
    Db,
    Deployment,
    Poison,
    Scenario,
    Throttle,
    Traffic,
    claims,
)
from testbed import runner as runner_module
from testbed import trial as trial_module
from testbed.engine import EngineInfo
from testbed.errors import EngineDiedError, HarnessError, UsageError
from testbed.ledger.history import HistoryWriter
from testbed.ledger.verdict import Expectation
from testbed.load.client import LoadSummary
from testbed.records import Places
from testbed.run_folder import RunFolder, RunOptions
from testbed.running import unless_dead
from testbed.threads import in_daemon_thread
from testbed.trial import Trial

ORDERS = 10
QUIET: dict[str, Any] = {
    "stored": 0,
    "connections": 0,
    "concurrency": {},
    "queued_events": 0,
    "deliveries": 0,
    "executions": 0,
    "held": 0,
    "queue_depth": 0,
    "measured_at": 9e12,
    "mappings": [],
    "journal_error": None,
}
END: dict[str, Any] = {
    "resources": {
        "peak_concurrency": 3,
        "peak_connections": 2,
        "throttles": 0,
        "cold_starts": 1,
        "peak_queue_depth": 4,
    },
    "pace": {"stalled": 0.0, "ran": 1.0, "waited": 0.0},
    "fired": {},
    "journal_error": None,
}


class FakePlane:
    """Answers control calls: ``statuses`` one after the other, the last one for ever."""

    def __init__(self) -> None:
        self.statuses: list[dict[str, Any]] = [QUIET]
        self.end: dict[str, Any] = END
        self.looks = 0
        self.clock_ahead = 0.0
        self.begun: list[dict[str, Any]] = []

    async def clock_offset(self) -> float:
        return self.clock_ahead

    async def call(self, route: str, **order: Any) -> dict[str, Any]:
        if route == "begin":
            self.begun.append(order)
            Path(order["journal"]).touch()  # noqa: ASYNC240  # nothing else runs
        if route in {"status", "measured"}:
            self.looks += 1
            return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return self.end if route == "end" else {}


class FakeBed:
    """A testbed that is up, and dies when it is told to."""

    def __init__(self) -> None:
        self.plane = FakePlane()
        self.engine = SimpleNamespace(localstack_url="", info=EngineInfo("process", "localstack", "4.9.2", "16.14", 20))
        self.aws = SimpleNamespace(
            client=lambda _: SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=list))
        )
        self.death: asyncio.Future[EngineDiedError] = asyncio.get_running_loop().create_future()

    async def create_database(self, name: str) -> Db:
        return Db(f"dsn of {name}", f"admin dsn of {name}")

    async def died(self) -> EngineDiedError:
        return await asyncio.shield(self.death)

    async def stop(self) -> None:
        """In no time."""


class Ids:
    """A place that holds the orders of these indices."""

    def __init__(self, *indices: int, times: int = 1) -> None:
        self._indices = indices
        self._times = times

    def ids(self, _places: Places) -> Counter[str]:
        plan = SCENARIO.traffic.plan(1, None)
        return Counter({plan[index].id: self._times for index in self._indices})


def deployed(url: str, stored: Any) -> Any:
    return lambda _aws, _db: Deployment(url=url, stored=stored)


SCENARIO = Scenario(
    name="s",
    summary="",
    traffic=Traffic(
        arrivals=Constant(rate=1000, seconds=ORDERS / 1000), order=lambda order_id, _: {"id": order_id, "n": 1}
    ),
    database=Database(max_connections=20),
    architectures=[
        Architecture(
            name="a", summary="", deploy=deployed("", Ids()), expectations=[claims.no_acknowledged_order_is_lost()]
        ),
        Architecture(
            name="b", summary="", deploy=deployed("", Ids()), expectations=[claims.no_acknowledged_order_is_lost()]
        ),
    ],
    drain_seconds=0.5,
)
OPTIONS = RunOptions(scenario="s", seed=1)


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other at once."""
    monkeypatch.setattr(trial_module, "_WATCH_SECONDS", 0.001)
    monkeypatch.setattr(trial_module, "_DRAIN_SECONDS", 0.001)
    monkeypatch.setattr(trial_module, "_LEAD_SECONDS", 0.0)
    monkeypatch.setattr(trial_module, "_NEWS_SECONDS", 0.2)
    monkeypatch.setattr(trial_module, "_at_rest", lambda _: True)


@pytest.fixture
async def bed(monkeypatch: pytest.MonkeyPatch) -> FakeBed:
    """What `run_scenario` runs on."""
    fake = FakeBed()

    @asynccontextmanager
    async def running_testbed(**_: Any) -> AsyncIterator[FakeBed]:
        yield fake
        await fake.stop()

    monkeypatch.setattr(runner_module, "running_testbed", running_testbed)
    return fake


@pytest.fixture
async def shop() -> AsyncIterator[str]:
    """The address of something that accepts every order."""

    async def accept(_request: web.Request) -> web.Response:
        return web.Response(status=201)

    app = web.Application()
    app.router.add_post("/orders", accept)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A new run folder."""
    return RunFolder(tmp_path / "runs", "s", 1)


def deploying(**deploys: Any) -> Scenario:
    """The scenario with these architectures' ``deploy``."""
    architectures = [
        replace(each, deploy=deploys[each.name]) for each in SCENARIO.architectures if each.name in deploys
    ]
    return replace(SCENARIO, architectures=architectures)


async def run(scenario: Scenario, folder: RunFolder, **more: Any) -> Any:
    return await runner_module.run_scenario(scenario, OPTIONS, folder, lambda _: None, lambda _: None, **more)


def written(folder: RunFolder) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder.path / "verdict.json").read_text())
    return document


@pytest.fixture
async def trial(bed: FakeBed, folder: RunFolder) -> AsyncIterator[Trial]:
    """One architecture on trial; for its drain alone."""
    with HistoryWriter(folder.history) as history:
        testbed: Any = bed
        yield Trial(
            bed=testbed,
            scenario=SCENARIO,
            architecture=SCENARIO.architectures[0],
            seed=1,
            requests=SCENARIO.traffic.plan(1, None),
            folder=folder,
            history=history,
        )


async def test_the_drain_ends_at_the_second_quiet_look_in_a_row(trial: Trial, bed: FakeBed) -> None:
    """Depths are measured before idleness: one quiet look may be a moment between two batches."""
    busy = QUIET | {"queue_depth": 1}
    bed.plane.statuses = [busy, QUIET, busy, QUIET, QUIET]
    await trial._drain(LoadSummary(planned=0))
    assert trial.drained
    assert bed.plane.looks == 5


SQS = {"source": "arn:aws:sqs:us-east-1:0:q", "idle": True, "caught_up_at": None, "checkpoints": {}}
KINESIS = {"source": "arn:aws:kinesis:us-east-1:0:stream/s", "idle": True, "caught_up_at": None, "checkpoints": {}}


@pytest.mark.parametrize(
    "busy",
    [
        {"concurrency": {"fn": 1}},
        {"queued_events": 1},
        {"deliveries": 1},
        {"executions": 1},
        {"executions": None},
        {"held": 1},
        {"queue_depth": 1},
        {"measured_at": 1.0},
        {"mappings": [SQS | {"idle": False}]},
        {"mappings": [KINESIS]},
        {"mappings": [KINESIS | {"caught_up_at": 1.0}]},
    ],
)
async def test_what_is_not_drained_by_the_deadline_is_not_drained(
    trial: Trial, bed: FakeBed, busy: dict[str, Any]
) -> None:
    """Something runs, waits, is polled, or was last found empty before the traffic ended."""
    bed.plane.statuses = [QUIET | busy]
    trial.scenario = replace(SCENARIO, drain_seconds=0.02)
    await trial._drain(LoadSummary(planned=0))
    assert not trial.drained


async def test_an_idle_mapping_of_an_empty_source_is_quiet(trial: Trial, bed: FakeBed) -> None:
    """Of a queue at once, of a stream once it was read to its end after the traffic."""
    bed.plane.statuses = [QUIET | {"mappings": [SQS, KINESIS | {"caught_up_at": 9e12}]}]
    await trial._drain(LoadSummary(planned=0))
    assert trial.drained


async def test_a_journal_with_holes_ends_the_run(bed: FakeBed, folder: RunFolder, shop: str) -> None:
    """Whether it shows while orders are sent or only at the end."""
    for statuses, end in (([QUIET | {"journal_error": "full"}], END), ([QUIET], END | {"journal_error": "full"})):
        bed.plane.statuses, bed.plane.end = statuses, end
        with pytest.raises(HarnessError, match="the journal cannot be written: full"):
            await run(deploying(a=deployed(shop, Ids())), folder)


async def test_all_is_well(bed: FakeBed, folder: RunFolder, shop: str) -> None:
    """Every order is accepted and stored: valid, with what the plane says of its resources."""
    verdict = await run(deploying(a=deployed(shop, Ids(*range(ORDERS)))), folder)
    assert verdict.verdict == "valid"
    [found] = written(folder)["architectures"].values()
    assert found["ledger"]["acknowledged"] == found["ledger"]["stored"] == ORDERS
    assert found["resources"]["peak_queue_depth"] == 4
    assert found["expectations"] == [
        {"claim": "no acknowledged order is lost", "holds": True, "observed": f"0 of {ORDERS}"}
    ]
    assert bed.plane.begun[0]["architecture"] == "a"


async def test_second_zero_is_told_by_the_plane_s_own_clock(bed: FakeBed, folder: RunFolder, shop: str) -> None:
    """It may be another machine's."""
    bed.plane.clock_ahead = 1e6
    await run(deploying(a=deployed(shop, Ids())), folder)
    [begun] = bed.plane.begun
    assert 0 <= time.monotonic() + 1e6 - begun["zero"] < 60


async def test_only_the_architecture_s_own_mappings_are_removed(bed: FakeBed, folder: RunFolder, shop: str) -> None:
    """What was there before is somebody else's."""
    mappings = ["others"]

    def deploy(_aws: Aws, _db: Db) -> Deployment:
        mappings.append("own")
        return Deployment(url=shop, stored=Ids())  # type: ignore[arg-type]  # a place like a table

    pages = SimpleNamespace(paginate=lambda: [{"EventSourceMappings": [{"UUID": each} for each in mappings]}])
    bed.aws = SimpleNamespace(
        client=lambda _: SimpleNamespace(
            get_paginator=lambda _: pages,
            delete_event_source_mapping=lambda UUID: mappings.remove(UUID),  # noqa: N803, PLW0108 - by keyword, as AWS calls it
        )
    )
    await run(deploying(a=deploy), folder)
    assert mappings == ["others"]


@pytest.mark.usefixtures("bed")
async def test_a_lost_order_is_invalid(folder: RunFolder, shop: str) -> None:
    """One that was accepted is nowhere."""
    verdict = await run(deploying(a=deployed(shop, Ids(*range(ORDERS - 1)))), folder)
    assert verdict.verdict == "invalid"
    assert len(written(folder)["architectures"]["a"]["examples"]["lost"]) == 1


@pytest.mark.parametrize(
    "told",
    [
        ({"queue_depth": 1}, {}, "the sources were not drained by the deadline"),
        ({}, {"fired": {"throttle": 0}}, "the armed fault throttle never fired"),
    ],
)
async def test_what_could_not_be_seen_is_unknown(
    bed: FakeBed, folder: RunFolder, shop: str, told: tuple[dict[str, Any], dict[str, Any], str]
) -> None:
    """Even where every claim seems to hold."""
    status, end, blind = told
    bed.plane.statuses, bed.plane.end = [QUIET | status], END | end
    scenario = replace(deploying(a=deployed(shop, Ids(*range(ORDERS)))), drain_seconds=0.05)
    verdict = await run(scenario, folder)
    assert verdict.verdict == "unknown"
    assert written(folder)["architectures"]["a"]["expectations"][-1]["observed"] == blind


@pytest.mark.usefixtures("bed")
async def test_what_fails_where_orders_left_late_is_not_proven(
    folder: RunFolder, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load generator says how late; here every moment is too late."""
    monkeypatch.setattr("testbed.ledger.pace._STALL_SECONDS", 0.0)
    scenario = deploying(a=deployed(shop, Ids(*range(ORDERS))))
    demanding = replace(scenario.architectures[0], expectations=[Expectation("fails", lambda _: (False, "it did"))])
    verdict = await run(replace(scenario, architectures=[demanding]), folder)
    assert verdict.verdict == "unknown"
    reason = written(folder)["architectures"]["a"]["expectations"][-1]["observed"]
    assert reason.startswith("the machine was too slow: orders left up to ")


@pytest.mark.usefixtures("bed")
async def test_without_one_success_nothing_is_known(folder: RunFolder) -> None:
    """Nobody listens: no order was lost, and none was ever taken."""
    verdict = await run(deploying(a=deployed("http://127.0.0.1:9", Ids())), folder)
    assert verdict.verdict == "unknown"
    assert written(folder)["architectures"]["a"]["ledger"]["unsent"] == ORDERS


async def test_faults_and_poison_are_armed_for_their_architecture(bed: FakeBed, folder: RunFolder, shop: str) -> None:
    """Its own and the scenario's; poison is in the orders already."""
    scenario = deploying(a=deployed(shop, Ids()))
    [a] = scenario.architectures
    scenario = replace(
        scenario,
        chaos=[Poison(every=5), Throttle(service="sqs", probability=1)],
        architectures=[replace(a, chaos=[Throttle(service="kinesis", probability=1)])],
    )
    await run(scenario, folder)
    assert [fault["service"] for fault in bed.plane.begun[0]["faults"]] == ["sqs", "kinesis"]
    assert written(folder)["architectures"]["a"]["ledger"]["poison"] == 2


@pytest.mark.usefixtures("bed")
async def test_orders_that_are_odd_and_fit_are_no_poison_of_the_ledger(folder: RunFolder, shop: str) -> None:
    """They are expected to be stored; a fault of poison that is planted so is one that has fired."""
    scenario = replace(deploying(a=deployed(shop, Ids())), chaos=[Poison(every=5, kinds=("surplus_field",))])
    verdict = await run(scenario, folder)
    assert written(folder)["architectures"]["a"]["ledger"]["poison"] == 0
    assert "surplus_field" in (folder.path / "history.jsonl").read_text()
    assert "never fired" not in str(verdict.to_json())


async def test_poison_that_kills_is_armed_with_the_ids_of_its_orders(
    bed: FakeBed, folder: RunFolder, shop: str
) -> None:
    """As faults of invokes, which the data plane knows."""
    scenario = replace(deploying(a=deployed(shop, Ids())), chaos=[Poison(every=5, kinds=("crashes",))])
    await run(scenario, folder)
    [fault] = bed.plane.begun[0]["faults"]
    assert (fault["type"], fault["name"], len(fault["when"]["key"])) == ("EnvironmentKilled", "poison-crashes", 2)
    assert written(folder)["architectures"]["a"]["ledger"]["poison"] == 2


def dying(bed: FakeBed) -> Callable[[Aws, Db], Deployment]:
    """A ``deploy`` that loses its LocalStack: first it fails, then the news comes."""
    loop = asyncio.get_running_loop()

    def deploy(_aws: Aws, _db: Db) -> Deployment:
        loop.call_later(
            0.01, bed.death.set_result, EngineDiedError("LocalStack", "was killed by SIGKILL", "last words")
        )
        raise ConnectionError("nobody there")

    return deploy


async def test_a_death_breaks_the_run_off_and_is_written_down(bed: FakeBed, folder: RunFolder, shop: str) -> None:
    """It is what is raised, not the failure that showed first; an architecture before it keeps its verdict."""
    scenario = deploying(a=deployed(shop, Ids(*range(ORDERS))), b=dying(bed))
    with pytest.raises(EngineDiedError, match="LocalStack was killed by SIGKILL") as caught:
        await run(scenario, folder)
    assert caught.value.log_tail == "last words"
    document = written(folder)
    assert document["verdict"] == "unknown"
    assert document["architectures"]["a"]["verdict"] == "valid"
    assert keys(document["architectures"]["b"]) == keys(document["architectures"]["a"])
    assert document["architectures"]["b"]["expectations"] == [
        {"claim": "no acknowledged order is lost", "holds": None, "observed": "could not be seen"},
        {"claim": "the harness could see everything", "holds": None, "observed": "LocalStack was killed by SIGKILL"},
    ]
    for name in ("manifest.json", "report.html", "junit.xml"):
        assert (folder.path / name).stat().st_size
    assert json.loads((folder.path / "broken-off.json").read_text()) == {"reason": "LocalStack was killed by SIGKILL"}


def keys(document: Any) -> Any:
    """The names in a document, without its values; of lists the first member."""
    if isinstance(document, dict):
        return {name: keys(value) for name, value in document.items()}
    return [keys(value) for value in document[:1]] if isinstance(document, list) else None


async def test_architectures_after_the_end_are_unknown(bed: FakeBed, folder: RunFolder) -> None:
    """They were never tried."""
    with pytest.raises(EngineDiedError):
        await run(deploying(a=dying(bed), b=deployed("", Ids())), folder)
    [claim] = written(folder)["architectures"]["b"]["expectations"]
    assert claim["observed"] == "the run had broken off before its turn"


@pytest.mark.usefixtures("bed")
async def test_a_deploy_that_raises_is_the_scenario_s_mistake(folder: RunFolder) -> None:
    """With its own lines."""

    def deploy(_aws: Aws, _db: Db) -> Deployment:
        raise KeyError("QueueUrl")

    with pytest.raises(UsageError, match="deploying architecture 'a' failed") as caught:
        await run(deploying(a=deploy), folder)
    assert "in deploy\n    raise KeyError" in caught.value.message
    assert caught.value.message.endswith("KeyError: 'QueueUrl'")
    assert "threads.py" not in caught.value.message
    assert written(folder)["verdict"] == "unknown"


@pytest.mark.usefixtures("bed")
async def test_a_schema_that_does_not_work_is_the_scenario_s_mistake(folder: RunFolder) -> None:
    """It is said that it is the schema; here already the database's address is wrong."""
    scenario = replace(deploying(a=deployed("", Ids())), database=Database(schema="CREATE NONSENSE"))
    with pytest.raises(UsageError, match="the schema of scenario 's' does not work"):
        await run(scenario, folder)


@pytest.mark.usefixtures("bed")
async def test_an_interrupted_run_is_written_down(folder: RunFolder) -> None:
    """Cancelled in a ``deploy`` that does not end by itself."""
    running = asyncio.Event()
    loop = asyncio.get_running_loop()
    block = threading.Event()

    def deploy(_aws: Aws, _db: Db) -> Deployment:
        loop.call_soon_threadsafe(running.set)
        block.wait()
        raise AssertionError("nobody waits any more")

    task = asyncio.create_task(run(deploying(a=deploy), folder))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert written(folder)["architectures"]["a"]["expectations"][-1]["observed"] == "the run was interrupted"
    block.set()


async def test_a_kept_run_is_written_down_before_it_is_kept(bed: FakeBed, folder: RunFolder, shop: str) -> None:
    """Whoever looks around has its report already."""
    seen: list[Any] = []

    async def keep(kept: Any, _verdict: Any) -> None:
        seen.append((kept, written(folder)["verdict"]))

    verdict = await run(deploying(a=deployed(shop, Ids(*range(ORDERS)))), folder, keep=keep)
    assert seen == [(bed, "valid")]
    assert verdict.verdict == "valid"


async def test_what_ends_the_end_takes_nothing_from_a_run(
    bed: FakeBed, folder: RunFolder, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while everything is stopped: the run is written down already."""
    stopping = asyncio.Event()

    async def stop() -> None:
        stopping.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(bed, "stop", stop)
    task = asyncio.create_task(run(deploying(a=deployed(shop, Ids(*range(ORDERS)))), folder))
    await stopping.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert written(folder)["verdict"] == "valid"
    assert {"report.html", "junit.xml"} <= {path.name for path in folder.path.iterdir()}


@pytest.mark.usefixtures("bed")
async def test_a_deploy_that_says_nothing_is_the_scenario_s_mistake(folder: RunFolder) -> None:
    """Its ``return`` is missing."""
    with pytest.raises(UsageError, match="deploying architecture 'a' gave None, which is no Deployment"):
        await run(deploying(a=lambda _aws, _db: None), folder)


@pytest.mark.usefixtures("bed")
async def test_a_document_that_cannot_be_written_is_explained(folder: RunFolder, shop: str) -> None:
    """A run without its report is no success."""
    (folder.path / "report.html").mkdir()
    with pytest.raises(HarnessError, match="cannot be written: Is a directory"):
        await run(deploying(a=deployed(shop, Ids(*range(ORDERS)))), folder)


async def test_work_that_ends_well_needs_no_news() -> None:
    """The watch for a death ends with the work."""
    never: asyncio.Future[EngineDiedError] = asyncio.get_running_loop().create_future()

    async def work() -> int:
        return 7

    async def died() -> EngineDiedError:
        return await never

    assert await unless_dead(died(), work(), patience=0) == 7
    assert never.cancelled()


async def test_a_thread_hands_on_its_result_and_its_error() -> None:
    """As if it had been called here."""
    assert await in_daemon_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 // 0)
