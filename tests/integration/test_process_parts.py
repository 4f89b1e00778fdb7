"""What chaos does to the parts of the process engine, as their clients see it."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import boto3
import psutil
import psycopg
import pytest
import pytest_asyncio

from testbed.engine import Engine, EngineOrder, PartName, Postgres, RunSpace, choose_launcher, guard
from testbed.errors import UsageError

pytestmark = pytest.mark.asyncio(loop_scope="module")
A_WHILE = 0.3
WAYS_DOWN = [("kill",), ("stop",), ("pause", "kill"), ("pause", "stop")]


class RecordingFront:
    """Notes what it is told; nobody uses the engine by a front here."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    async def attach(self, localstack_url: str, postgres: Postgres) -> None:
        self.told.append(("attach", localstack_url, postgres.port))

    async def cut(self, part: PartName) -> None:
        self.told.append(("cut", part))

    async def mend(self, part: PartName) -> None:
        self.told.append(("mend", part))


@dataclass(frozen=True)
class Running:
    """An engine, and what is around it."""

    engine: Engine
    front: RecordingFront
    space: RunSpace

    async def do(self, part: PartName, *operations: str) -> None:
        for operation in operations:
            await getattr(self.engine.part(part), operation)()

    @property
    def addresses(self) -> tuple[str, int]:
        return self.engine.localstack_url, self.engine.postgres.port


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Running]:
    """Each test leaves both parts running and connected; nothing that was done to them is a death."""
    async with RunSpace() as space:
        front = RecordingFront()
        order = EngineOrder(
            max_connections=20,
            gateway="127.0.0.1:9",
            plane_url="http://127.0.0.1:9",
            plane_token="t",  # noqa: S106  # for a plane that nobody starts
            front=front,
            progress=print,
            logs=space.folder,
        )
        engine = await (await choose_launcher("process", print)).start(space, order)
        death = asyncio.ensure_future(engine.died())
        yield Running(engine, front, space)
        assert not death.done()
        death.cancel()


async def unanswered(*requests: Awaitable[Any]) -> list["asyncio.Task[Any]"]:
    """The requests as tasks, none of which has been answered after a while."""
    tasks = [asyncio.ensure_future(request) for request in requests]
    done, _ = await asyncio.wait(tasks, timeout=A_WHILE)
    assert done == set()
    return tasks


async def connect(postgres: Postgres) -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(postgres.dsn("postgres"), autocommit=True)


async def the_rows(connection: psycopg.AsyncConnection) -> list[int]:
    return [row[0] for row in await (await connection.execute("SELECT id FROM orders ORDER BY id")).fetchall()]


@asynccontextmanager
async def connections(postgres: Postgres) -> AsyncIterator[tuple[psycopg.AsyncConnection, psycopg.AsyncConnection]]:
    """Two connections to a new table: the first has committed row 1, the second has added row 2 and not committed."""
    await postgres.create_database("shop")
    shop = postgres.dsn("shop")
    async with (
        await psycopg.AsyncConnection.connect(shop, autocommit=True) as committed,
        await psycopg.AsyncConnection.connect(shop) as uncommitted,
    ):
        await committed.execute("CREATE TABLE orders (id int)")
        await committed.execute("INSERT INTO orders VALUES (1)")
        await uncommitted.execute("INSERT INTO orders VALUES (2)")
        yield committed, uncommitted


@pytest.mark.parametrize("way", WAYS_DOWN)
async def test_postgres_goes_down_and_keeps_what_was_committed(running: Running, way: tuple[str, ...]) -> None:
    """Connections break, new ones are refused at once; after the start committed rows are there, others are not."""
    before = running.addresses
    async with connections(running.engine.postgres) as held:
        await running.do("postgres", *way)
        told_by_postgres = "terminating connection due to administrator command"
        for connection in held:
            with pytest.raises(psycopg.OperationalError) as broken:
                await connection.execute("SELECT 1")
            assert (told_by_postgres in str(broken.value)) == (way[-1] == "stop")
        with pytest.raises(psycopg.OperationalError, match="Connection refused"):
            await connect(running.engine.postgres)
    await running.do("postgres", "start")
    async with await psycopg.AsyncConnection.connect(running.engine.postgres.dsn("shop")) as connection:
        assert await the_rows(connection) == [1]
    assert running.addresses == before
    assert running.front.told[-1] == ("attach", *before)


async def test_a_paused_postgres_hangs_and_goes_on(running: Running) -> None:
    """Open connections get no answer, new ones are not let in; after the pause all are, and no transaction is lost."""
    async with connections(running.engine.postgres) as (reader, writer):
        await running.do("postgres", "pause")
        asked = await unanswered(the_rows(reader), writer.commit(), connect(running.engine.postgres))
        await running.do("postgres", "resume")
        async with asyncio.timeout(10):
            _, _, late = await asyncio.gather(*asked)
        await late.close()
        assert await the_rows(reader) == [1, 2]


async def test_postgres_starts_when_another_process_has_its_old_number(running: Running) -> None:
    """The lock file that a kill left names a living process of the same user: Postgres alone would not start."""
    lock_file = running.space.folder / "postgres" / "postmaster.pid"
    await running.do("postgres", "kill")
    other = running.space.spawn(
        ["/bin/sleep", "60"], name="Other", env={}, log=running.space.folder / "other.log", user=lock_file.stat().st_uid
    )
    lines = lock_file.read_text().splitlines()
    lock_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
    await running.do("postgres", "start")
    await other.kill()
    await (await connect(running.engine.postgres)).close()


def sqs(engine: Engine) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=engine.localstack_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106  # LocalStack takes any
    )


async def health(session: aiohttp.ClientSession, engine: Engine) -> Any:
    async with session.get(f"{engine.localstack_url}/_testbed/plugin/health") as answer:
        return await answer.json()


@pytest.mark.parametrize("way", [("kill",), ("pause", "stop")])
async def test_localstack_goes_down_and_forgets(running: Running, way: tuple[str, ...]) -> None:
    """Connections break, new ones are refused at once; after the start the plugin works and nothing is deployed."""
    before = running.addresses
    await asyncio.to_thread(sqs(running.engine).create_queue, QueueName="orders")
    async with aiohttp.ClientSession() as session:
        assert (await health(session, running.engine))["warm"]
        await running.do("localstack", *way)
        with pytest.raises(aiohttp.ClientConnectionError):
            await health(session, running.engine)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", urlsplit(running.engine.localstack_url).port)
        await running.do("localstack", "start")
        assert (await health(session, running.engine))["warm"]
    assert "QueueUrls" not in await asyncio.to_thread(sqs(running.engine).list_queues)
    assert running.addresses == before
    assert running.front.told[-1] == ("attach", *before)


async def test_a_paused_localstack_hangs_and_goes_on(running: Running) -> None:
    """Requests on open and on new connections are answered after the pause; what was deployed is still there."""
    await asyncio.to_thread(sqs(running.engine).create_queue, QueueName="kept")
    async with aiohttp.ClientSession() as open_before, aiohttp.ClientSession() as new:
        await health(open_before, running.engine)
        await running.do("localstack", "pause")
        asked = await unanswered(health(open_before, running.engine), health(new, running.engine))
        await running.do("localstack", "resume")
        async with asyncio.timeout(10):
            assert [answer["warm"] for answer in await asyncio.gather(*asked)] == [True, True]
    assert (await asyncio.to_thread(sqs(running.engine).list_queues))["QueueUrls"]


@pytest.mark.parametrize("part", ["localstack", "postgres"])
async def test_a_port_that_was_taken_is_given_up(running: Running, part: PartName) -> None:
    """It starts on another one, and its front and the engine say so."""
    before = running.addresses
    port = before[1] if part == "postgres" else urlsplit(before[0]).port
    await running.do(part, "kill")
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind(("127.0.0.1", port))
        taker.listen()
        await running.do(part, "start")
    after = running.addresses
    moved, stayed = (1, 0) if part == "postgres" else (0, 1)
    assert after[moved] != before[moved]
    assert after[stayed] == before[stayed]
    assert running.front.told[-1] == ("attach", *after)
    await (await connect(running.engine.postgres)).close()
    async with aiohttp.ClientSession() as session:
        assert (await health(session, running.engine))["warm"]


@pytest.mark.parametrize("part", ["localstack", "postgres"])
async def test_the_front_cuts_a_part_off(running: Running, part: PartName) -> None:
    """The front is told to cut and to mend; it runs on meanwhile, and cannot be cut off twice."""
    before = len(running.front.told)
    await running.do(part, "disconnect")
    with pytest.raises(UsageError, match="cannot be disconnected"):
        await running.do(part, "disconnect")
    await (await connect(running.engine.postgres)).close()
    await running.do(part, "reconnect")
    assert running.front.told[before:] == [("cut", part), ("mend", part)]


PARENT = """
import asyncio, sys
from pathlib import Path
from unittest.mock import AsyncMock
from testbed.engine import RunSpace
from testbed.engine.postgres import PostgresServer
from testbed.engine.process import ProcessPart
import psycopg

async def main():
    space = RunSpace()
    server = PostgresServer(space, 20, Path(sys.argv[1]))
    postgres, child = started = await server.start()
    part = ProcessPart("postgres", server, started, space=space, front=AsyncMock(), attach=AsyncMock())
    async with await psycopg.AsyncConnection.connect(postgres.dsn("postgres")):
        lines = (space.folder / "postgres" / "postmaster.pid").read_text().splitlines()
        print(space.environment["TESTBED_RUN"], space.folder, child.pid, lines[6].split()[1], flush=True)
        sys.stdin.readline()
        for operation in sys.argv[2:-1]:
            await getattr(part, operation)()
        last = asyncio.create_task(getattr(part, sys.argv[-1])())
        if sys.argv[-1] == "start":
            await asyncio.sleep(0.01)  # it is being started
        else:
            await last
        print("done", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def shared_memory() -> set[str]:
    """The numbers of all System V shared memory segments of this machine."""
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def found(path: str) -> bool:
    return Path(path).exists()


@pytest.mark.parametrize("operations", [*WAYS_DOWN, ("pause",), ("kill", "start")], ids=" ".join)
async def test_nothing_survives_the_parent_whatever_was_done(operations: tuple[str, ...], tmp_path: Path) -> None:
    """When it is killed itself, no process of Postgres stays, no folder, and no shared memory."""
    log = tmp_path / "postgres.log"
    command = [sys.executable, "-c", PARENT, str(log), *operations]
    parent = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdin
    assert parent.stdout
    token, folder, postmaster, segment = (await parent.stdout.readline()).decode().split()
    everything = psutil.Process(int(postmaster)).children(recursive=True)
    assert len(everything) >= 5
    assert segment in shared_memory()
    parent.stdin.write(b"\n")
    assert await parent.stdout.readline() == b"done\n"
    everything += psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    await parent.wait()
    _, alive = psutil.wait_procs(everything, timeout=20)
    assert alive == []
    assert list(guard.processes(token)) == []
    assert not found(folder)
    assert segment not in shared_memory()
    if operations == ("pause",):
        assert "received immediate shutdown request" in log.read_text()  # it was woken up and ended in order
