"""What only the engine of containers has: Docker, its network, and faults that are real ones."""

import asyncio
import signal
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from beds import RunOnLoop, kept_up
from command import assert_nothing_is_left, command, run_tiny
from docker.models.containers import Container
from engines import ENGINES, docker_ledger, left_behind

from testbed.engine import EngineOrder, PartName, Postgres, RunSpace, choose_launcher, guard
from testbed.errors import HarnessError, UsageError
from testbed.running import RunningTestbed, running_testbed
from testbed.scenario import Db

pytestmark = pytest.mark.skipif("container" not in ENGINES.tested, reason=str(ENGINES.missing.get("container")))
A_WHILE = 0.5
PARTS: tuple[PartName, ...] = ("localstack", "postgres")


@dataclass(frozen=True)
class Bed:
    """A testbed of containers, its database, and what can be done to it."""

    running: RunningTestbed
    run: RunOnLoop[Any]
    db: Db

    def do(self, part: PartName, *operations: str) -> None:
        for operation in operations:
            self.run(getattr(self.running.engine.part(part), operation)())

    def query(self, statement: str, *values: str) -> list[Any]:
        """By the wire proxy, as functions do."""
        with psycopg.connect(self.db.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def ask(self, part: PartName) -> object:
        """Something that the part must answer itself."""
        return self.query("SELECT 1") if part == "postgres" else self.running.aws.client("sqs").list_queues()

    @property
    def token(self) -> str:
        return str(self.running.engine._space.labels[guard.LABEL])  # type: ignore[attr-defined]

    def container(self, part: PartName) -> Container:
        name = {"localstack": "LocalStack", "postgres": "Postgres"}[part]
        found = docker_ledger().container(self.token, name)
        assert found
        return found


@pytest.fixture(scope="module")
def bed(run_on_loop: RunOnLoop[Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Each test leaves both parts running and connected; nothing that was done to them is a death."""
    with kept_up(run_on_loop, "container", tmp_path_factory.mktemp("logs")) as running:
        death = run_on_loop(_begun(running.engine.died()))
        yield Bed(running, run_on_loop, run_on_loop(running.create_database("chaos")))
        assert not death.done()
        death.get_loop().call_soon_threadsafe(death.cancel)


async def _begun(work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    return asyncio.create_task(work)


@pytest.mark.parametrize("part", PARTS)
def test_a_port_is_published_for_this_machine_only(bed: Bed, part: PartName) -> None:
    """On loopback, or on the address of Docker's bridge; never on all interfaces."""
    published = [binding for found in bed.container(part).ports.values() for binding in found or ()]
    assert len(published) == 1
    assert published[0]["HostIp"].startswith(("127.", "172."))


def test_localstack_gets_the_plugin_read_only_and_no_docker(bed: Bed) -> None:
    """Nor anything else of this machine."""
    attributes = bed.container("localstack").attrs
    binds = [mount for mount in attributes["Mounts"] if mount["Type"] == "bind"]
    assert [(Path(mount["Source"]).name, mount["RW"]) for mount in binds] == [("localstack_plugin", False)]
    names = {variable.partition("=")[0] for variable in attributes["Config"]["Env"]}
    assert not {name for name in names if name.startswith("AWS_")}


def test_the_ordinary_user_needs_his_password(bed: Bed) -> None:
    """Containers have neighbours that may knock at the port."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(bed.db.dsn, password="wrong")  # noqa: S106


def test_both_logs_are_written_while_they_run(bed: Bed) -> None:
    """With what the parts say by themselves, once."""
    postgres, localstack = ((bed.running.logs / f"{name}.log").read_text() for name in ("postgres", "localstack"))
    assert postgres.count("database system is ready to accept connections") == 1
    assert "Ready." in localstack


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_postgres_keeps_what_was_committed(bed: Bed, way: str) -> None:
    """Its container is the same one; functions find it by the same address as before."""
    bed.query("CREATE TABLE IF NOT EXISTS kept (way text)")
    bed.query("INSERT INTO kept VALUES (%s)", way)
    bed.do("postgres", way)
    with pytest.raises(psycopg.OperationalError):
        bed.query("SELECT 1")
    bed.do("postgres", "start")
    assert (way,) in bed.query("SELECT way FROM kept")


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_localstack_keeps_nothing(bed: Bed, way: str) -> None:
    """But it works again, by the same endpoint."""
    sqs = bed.running.aws.client("sqs")
    sqs.create_queue(QueueName=f"before-{way}")
    bed.do("localstack", way, "start")
    assert "QueueUrls" not in sqs.list_queues()
    assert sqs.create_queue(QueueName=f"after-{way}")["QueueUrl"].startswith(bed.running.aws.endpoint_url)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("fault", "remedy"), [("pause", "resume"), ("disconnect", "reconnect")])
def test_what_is_asked_meanwhile_waits(bed: Bed, part: PartName, fault: str, remedy: str) -> None:
    """It is not refused; afterwards the part works, wherever it is then."""
    bed.ask(part)
    bed.do(part, fault)
    if fault == "disconnect":
        assert bed.container(part).attrs["NetworkSettings"]["Networks"] == {}

    def ask() -> None:
        with suppress(psycopg.OperationalError):  # a connection that was cut off is reset
            bed.ask(part)
            answered.append(part)

    answered: list[PartName] = []
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(A_WHILE)
    assert asking.is_alive()
    bed.do(part, remedy)
    asking.join(20)
    assert not asking.is_alive()
    assert answered or fault == "disconnect"
    bed.ask(part)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "operations",
    [
        ("pause", "kill", "start"),
        ("pause", "stop", "start"),
        ("disconnect", "kill", "reconnect", "start"),
        ("pause", "disconnect", "reconnect", "resume"),
    ],
    ids=" ".join,
)
def test_faults_combine(bed: Bed, part: PartName, operations: tuple[str, ...]) -> None:
    """In every order that a state allows; the part works at the end."""
    bed.do(part, *operations)
    bed.ask(part)


async def test_a_container_that_somebody_kills_has_died(tmp_path: Path) -> None:
    """By name, with how it ended and the end of its log, within a second; after a restart too. Nothing stays."""
    async with running_testbed(max_connections=20, engine="container", logs=tmp_path) as running:
        token = running.engine._space.labels[guard.LABEL]  # type: ignore[attr-defined]
        postgres = running.engine.part("postgres")
        await postgres.kill()
        await postgres.start()
        container = docker_ledger().container(token, "Postgres")
        assert container
        await asyncio.to_thread(container.kill)
        async with asyncio.timeout(1):
            death = await running.engine.died()
        assert death.message == "Postgres was killed by SIGKILL"
        assert "ready to accept connections" in death.log_tail
    assert left_behind(token) == []


class NoFront:
    """Nobody uses the engine."""

    async def attach(self, localstack_url: str, postgres: Postgres) -> None:
        """Nobody has to know."""

    async def cut(self, part: PartName) -> None:
        """Nothing goes through it."""

    async def mend(self, part: PartName) -> None:
        """The same."""


def order(space: RunSpace) -> EngineOrder:
    """With a plane where nobody listens."""
    return EngineOrder(
        max_connections=20,
        gateway="127.0.0.1:9",
        plane_url="http://host.docker.internal:9",
        plane_token="t",  # noqa: S106
        front=NoFront(),
        progress=print,
        logs=space.folder,
    )


async def test_a_plane_that_containers_do_not_reach_is_told_at_the_start() -> None:
    """A firewall in between would show as invokes that time out; nothing stays."""
    launcher = await choose_launcher("container", print)
    async with RunSpace() as space:
        with pytest.raises(HarnessError, match=r"does not reach the data plane on this machine: .*refused") as refused:
            await launcher.start(space, order(space))
        assert "firewall" in refused.value.hint
        assert docker_ledger().containers(space.labels[guard.LABEL]) == []


async def test_connections_that_postgres_refuses_are_wrong_usage() -> None:
    """With Postgres's own reason; LocalStack's container does not stay."""
    launcher = await choose_launcher("container", print)
    async with RunSpace() as space:
        with pytest.raises(UsageError, match="does not start with max_connections=300000"):
            await launcher.start(space, replace(order(space), max_connections=300_000))
        assert docker_ledger().containers(space.labels[guard.LABEL]) == []


async def test_a_start_that_is_cancelled_leaves_nothing() -> None:
    """While Docker is creating the containers."""
    launcher = await choose_launcher("container", print)
    async with RunSpace() as space:
        starting = asyncio.create_task(launcher.start(space, order(space)))
        while not (space.folder / guard.CONTAINERS).exists():  # noqa: ASYNC110 - it is a file
            await asyncio.sleep(0.01)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert docker_ledger().containers(space.labels[guard.LABEL]) == []


def test_a_command_that_is_killed_while_containers_are_created_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker may be creating one still when the command is gone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with command(tmp_path, *run_tiny("direct"), TESTBED_ENGINE="container", TMPDIR=str(tmp_path)) as run:
        run.until(lambda: [*tmp_path.glob(f"*/{guard.CONTAINERS}")], "containers")
        folder = next(tmp_path.glob(f"*/{guard.CONTAINERS}")).parent
        run.process.send_signal(signal.SIGKILL)
        run.process.wait()
    time.sleep(A_WHILE)
    assert_nothing_is_left(folder.name.rpartition("-")[2])
