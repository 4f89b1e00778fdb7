"""A run on a testbed that stands: what it may touch, what it leaves, and how it learns that the testbed is gone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from testbed import standing as standing_module
from testbed.engine import EngineInfo, Login, Postgres
from testbed.errors import EngineDiedError, HarnessError, UsageError
from testbed.gateway.client import PlaneClient
from testbed.standing import (
    DEFAULT_TOKEN,
    GuardedAws,
    Standing,
    StandingEngine,
    StandingPlane,
    StandingTestbed,
    standing_testbed,
)

ENDPOINT = "http://127.0.0.1:4566"
DSN = "postgresql://postgres:p%40ss@127.0.0.1:5432/postgres"


@pytest.mark.parametrize(
    "endpoint",
    ["127.0.0.1:4566", "https://127.0.0.1:4566", "http://", "http://user:secret@127.0.0.1:4566", ENDPOINT + "/path"],
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    """Before anything is tried; nothing secret gets into the manifest with it."""
    with pytest.raises(UsageError, match="is no endpoint of a testbed"):
        Standing(endpoint, DSN)


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("postgresql://127.0.0.1/postgres", "names no host or no user"),
        ("postgresql://postgres@/postgres", "names no host or no user"),
        ("what is this", "the DSN cannot be read"),
    ],
)
def test_a_dsn_that_leads_nowhere_is_refused(dsn: str, said: str) -> None:
    """It has to say as whom and where to."""
    with pytest.raises(UsageError, match=said):
        Standing(ENDPOINT, dsn)


def test_secrets_are_not_printed() -> None:
    """Whoever logs the object logs no password."""
    printed = repr(Standing(ENDPOINT, DSN, "s3cret"))
    assert "p%40ss" not in printed
    assert "s3cret" not in printed


class Plane(PlaneClient):
    """A gateway that answers as told, and remembers what it was asked."""

    def __init__(self, _url: str = ENDPOINT, token: str = "") -> None:
        self.token = token
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {
            "about": {"mode": "process", "emulator_version": "4.14.0", "postgres_port": 0, "logs": "/logs"},
            "lease": {"granted": True, "known": {"queue": [ENDPOINT + "/000000000000/mine"]}},
            "renew": {"held": True, "lost_part": None},
            "release": {"left": []},
            "reach": {"problem": None},
            "begin": {},
            "end": {"fired": {}},
        }

    async def call(self, route: str, **order: Any) -> dict[str, Any]:
        self.asked.append((route, order))
        answer = self.answers[route]
        if isinstance(answer, BaseException):
            raise answer
        answered: dict[str, Any] = await answer() if callable(answer) else answer
        return answered

    async def close(self) -> None:
        self.asked.append(("close", {}))

    def orders(self, route: str) -> list[dict[str, Any]]:
        return [order for asked, order in self.asked if asked == route]


class JournalPlane(StandingPlane):
    """A `StandingPlane` over a gateway of the test."""

    def __init__(self, gateway: Plane) -> None:
        self.gateway = gateway
        self.fetched: list[Path] = []

    async def fetch_journal(self, path: Path) -> None:
        self.fetched.append(path)
        if path.name == "full":
            raise OSError(28, "No space left on device")


@pytest.fixture
def journal_plane(monkeypatch: pytest.MonkeyPatch) -> JournalPlane:
    """With nothing on the wire."""
    gateway = Plane()
    plane = JournalPlane(gateway)

    async def call(_self: PlaneClient, route: str, **order: Any) -> dict[str, Any]:
        return await gateway.call(route, **order)

    monkeypatch.setattr(PlaneClient, "call", call)
    return plane


async def test_the_journal_is_fetched_at_the_end(journal_plane: JournalPlane, tmp_path: Path) -> None:
    """To where the run wants it, once for each architecture; the gateway is told of no path of this machine."""
    for name in ("a", "b"):
        await journal_plane.call("begin", architecture=name, journal=str(tmp_path / "journal.jsonl"))
        assert await journal_plane.call("end") == {"fired": {}}
        await journal_plane.call("end")
    assert journal_plane.fetched == [tmp_path / "journal.jsonl"] * 2
    assert journal_plane.gateway.orders("begin") == [{"architecture": "a"}, {"architecture": "b"}]


async def test_a_journal_that_cannot_be_written_is_explained(journal_plane: JournalPlane, tmp_path: Path) -> None:
    """As any other file of the run folder."""
    await journal_plane.call("begin", journal=str(tmp_path / "full"))
    with pytest.raises(HarnessError, match="no space left on device"):
        await journal_plane.call("end")


def no_network(client: Any) -> Any:
    """A client whose calls end before anything is sent."""
    client.meta.events.register("before-send", lambda **_: (_ for _ in ()).throw(ConnectionAbortedError("sent")))
    return client


KNOWN = {
    "queue": [ENDPOINT + "/000000000000/mine"],
    "function": ["mine"],
    "topic": ["arn:aws:sns:us-east-1:000000000000:mine"],
    "log group": ["/aws/mine"],
    "REST API": ["mine"],
}


@pytest.mark.parametrize(
    ("service", "operation", "params", "kind"),
    [
        ("sqs", "create_queue", {"QueueName": "{}"}, "queue 'mine'"),
        ("sns", "create_topic", {"Name": "{}"}, "topic 'mine'"),
        ("logs", "create_log_group", {"logGroupName": "/aws/{}"}, "log group '/aws/mine'"),
        (
            "lambda",
            "create_function",
            {"FunctionName": "{}", "Role": "arn:aws:iam::000000000000:role/r", "Code": {}},
            "function 'mine'",
        ),
    ],
)
def test_a_name_that_exists_is_not_taken_over(service: str, operation: str, params: dict[str, Any], kind: str) -> None:
    """AWS would answer as if it had been created; other names, and other calls with that name, go through."""
    client = no_network(GuardedAws(ENDPOINT, KNOWN).client(service))

    def named(name: str) -> dict[str, Any]:
        return {key: value.format(name) if isinstance(value, str) else value for key, value in params.items()}

    with pytest.raises(UsageError, match="exists already on the standing testbed") as caught:
        getattr(client, operation)(**named("mine"))
    assert caught.value.message.startswith(kind)
    with pytest.raises(ConnectionAbortedError):
        getattr(client, operation)(**named("mine2"))
    if service == "sqs":
        with pytest.raises(ConnectionAbortedError):
            client.get_queue_url(QueueName="mine")


async def heartbeat(plane: Plane) -> EngineDiedError:
    return await asyncio.wait_for(standing_module._heartbeat(plane, "run", ENDPOINT), 5)


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits long."""
    monkeypatch.setattr(standing_module, "_RENEW_SECONDS", 0.001)
    monkeypatch.setattr(standing_module, "_ANSWER_SECONDS", 0.02)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (HarnessError("the data plane does not answer: refused"), f"the standing testbed at {ENDPOINT} is gone: the"),
        (UsageError("the testbed does not take the token"), f"the standing testbed at {ENDPOINT} is gone: the"),
        ({"held": False, "lost_part": None}, "the standing testbed does not know this run any more"),
        ({"held": True, "lost_part": "Postgres"}, "Postgres of the standing testbed is gone"),
    ],
)
async def test_what_is_gone_is_noticed(answer: Any, said: str) -> None:
    """And named; until then the lease is renewed for this run."""
    plane = Plane()

    async def twice_well() -> Any:
        if len(plane.asked) <= 2:
            return {"held": True, "lost_part": None}
        if isinstance(answer, BaseException):
            raise answer
        return answer

    plane.answers["renew"] = twice_well
    died = await heartbeat(plane)
    assert died.message.startswith(said)
    assert plane.asked == [("renew", {"run": "run"})] * 3


async def test_one_silence_may_be_our_own() -> None:
    """This process may have been busy; two in a row are the gateway's."""
    plane = Plane()
    silent = iter([True, False, True, False, True, True])

    async def answer() -> Any:
        if next(silent):
            await asyncio.sleep(60)
        return {"held": True, "lost_part": None}

    plane.answers["renew"] = answer
    died = await heartbeat(plane)
    assert died.message.endswith("does not answer any more")
    assert len(plane.asked) == 6


INFO = EngineInfo("process", "localstack", "4.14.0", "16.14", 20)


async def test_parts_that_stand_are_not_ours_to_kill() -> None:
    """Chaos that needs that says so at once."""
    never: asyncio.Task[EngineDiedError] = asyncio.create_task(asyncio.Event().wait())  # type: ignore[arg-type]  # never ends
    engine = StandingEngine(ENDPOINT, Postgres("h", 1, ""), INFO, never)
    with pytest.raises(UsageError, match="postgres of a standing testbed cannot be stopped") as caught:
        engine.part("postgres")
    assert "--endpoint" in caught.value.hint
    await engine.stop()
    assert not never.done()
    never.cancel()


@pytest.fixture
async def server(postgres_server: Any) -> AsyncIterator[Standing]:
    """A Postgres that stands, with a database of the user's."""
    dsn = f"postgresql://postgres@127.0.0.1:{postgres_server.port}/postgres"
    await sql(dsn, "CREATE ROLE testbed_mine LOGIN", "CREATE DATABASE testbed_mine OWNER testbed_mine")
    yield Standing(ENDPOINT, dsn)
    await sql(dsn, "DROP DATABASE testbed_mine", "DROP ROLE testbed_mine")


async def sql(dsn: str, *statements: str) -> list[Any]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


async def ours(standing: Standing) -> set[str]:
    """Names of roles and databases of runs and of the user."""
    rows = await sql(
        standing.dsn, "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles WHERE rolname ~ 'testbed_'"
    )
    return {name for (name,) in rows if name.startswith("testbed_")}


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch, server: Standing) -> Plane:
    """The gateway before it."""
    plane = Plane()
    plane.answers["about"]["postgres_port"] = server.server["port"]

    def client(_url: str, token: str) -> Plane:
        plane.token = token
        return plane

    monkeypatch.setattr(standing_module, "StandingPlane", client)
    return plane


def used(standing: Standing, told: list[str] | None = None, max_connections: int = 8) -> Any:
    return standing_testbed(standing, max_connections=max_connections, tell=(told if told is not None else []).append)


async def test_a_run_has_a_database_of_its_own(plane: Plane, server: Standing) -> None:
    """Owned by a role of its own, which functions log in as and the schema belongs to; the superuser may do all."""
    async with used(server) as bed:
        assert isinstance(bed, StandingTestbed)
        db = await bed.create_database("sync")
        app, admin = conninfo_to_dict(db.dsn), conninfo_to_dict(db.admin_dsn)
        assert app["dbname"] == admin["dbname"] == f"{app['user']}_sync"
        assert app["password"]
        assert admin["user"] == "postgres"
        await asyncio.to_thread(db.execute, "CREATE TABLE orders (id text)")
        [(owner,)] = await sql(db.dsn, "SELECT tableowner FROM pg_tables WHERE tablename = 'orders'")
        assert owner == app["user"]
        assert bed.engine.info == EngineInfo("process", "localstack", "4.14.0", bed.engine.info.postgres_version, 8)
        assert await ours(server) == {"testbed_mine", app["user"], app["dbname"]}
    assert await ours(server) == {"testbed_mine"}
    assert [route for route, _ in plane.asked if route != "renew"] == [
        "about",
        "lease",
        "reach",
        "end",
        "release",
        "close",
    ]


async def test_an_interrupted_run_leaves_nothing_either(plane: Plane, server: Standing) -> None:
    """Cancelled, with a session open in its database."""
    inside = asyncio.Event()

    async def run() -> None:
        async with used(server) as bed:
            db = await bed.create_database("sync")
            async with await psycopg.AsyncConnection.connect(db.dsn):
                inside.set()
                await asyncio.Event().wait()

    running = asyncio.create_task(run())
    await inside.wait()
    running.cancel()
    await asyncio.wait((running,))
    assert await ours(server) == {"testbed_mine"}
    assert len(plane.orders("release")) == 1


async def test_what_a_killed_run_has_left_goes(plane: Plane, server: Standing) -> None:
    """Its role is known by its name, and its databases by their owner."""
    role = "testbed_0123456789ab"
    await sql(server.dsn, f"CREATE ROLE {role}", f"CREATE DATABASE {role}_a OWNER {role}")
    async with used(server):
        assert role not in await ours(server)
    assert await ours(server) == {"testbed_mine"}
    assert plane.token == DEFAULT_TOKEN


async def test_two_runs_at_once_are_refused(plane: Plane, server: Standing) -> None:
    """The second has done nothing yet, and takes nothing away from the first."""
    plane.answers["lease"] = {"granted": False, "known": None}
    with pytest.raises(UsageError, match="another run is using"):
        await used(server).__aenter__()
    assert plane.orders("release") == plane.orders("end") == []
    assert await ours(server) == {"testbed_mine"}


async def test_another_postgres_than_the_gateway_s_is_refused(plane: Plane, server: Standing) -> None:
    """The gateway cannot log in with the role that was created; the lease and the role are given back."""
    plane.answers["reach"] = {"problem": 'role "x" does not exist'}
    with pytest.raises(UsageError, match=r'--dsn does not lead to the Postgres .* role "x" does not exist'):
        await used(server).__aenter__()
    [order] = plane.orders("reach")
    asked = conninfo_to_dict(order["dsn"])
    assert (asked["host"], asked["port"]) == ("127.0.0.1", str(server.server["port"]))
    assert len(plane.orders("release")) == 1
    assert await ours(server) == {"testbed_mine"}


async def test_a_postgres_that_is_not_there_is_the_user_s_mistake(plane: Plane) -> None:
    """In one line."""
    assert plane
    with pytest.raises(UsageError, match="Postgres of the standing testbed cannot be used") as caught:
        await used(Standing(ENDPOINT, "postgresql://postgres@127.0.0.1:9/postgres")).__aenter__()
    assert "\n" not in caught.value.message


async def test_an_endpoint_where_nothing_stands_is_the_user_s_mistake(plane: Plane, server: Standing) -> None:
    """Whatever it is that answers there, or does not."""
    plane.answers["about"] = HarnessError("the data plane does not answer: refused")
    with pytest.raises(UsageError, match=f"no testbed stands at {ENDPOINT}"):
        await used(server).__aenter__()
    assert plane.asked[-1] == ("close", {})


async def test_another_connection_limit_is_told(plane: Plane, server: Standing) -> None:
    """What the scenario expects may depend on it; the right one is not mentioned."""
    assert plane
    told: list[str] = []
    async with used(server, told, max_connections=8):
        assert told == []
    async with used(server, told, max_connections=20):
        assert told == ["the scenario wants max_connections=20, the standing testbed has 8"]


async def test_what_could_not_be_removed_is_told(plane: Plane, server: Standing) -> None:
    """It does not make the run fail: the verdict is known."""
    told: list[str] = []
    plane.answers["release"] = {"left": ["queue x: no"]}
    async with used(server, told):
        pass
    assert told == ["not removed from the standing testbed: queue x: no"]


async def test_a_gateway_that_dies_hides_nothing(plane: Plane, server: Standing) -> None:
    """The run ends with the news of the death, not with that of a clean-up that could not be."""
    told: list[str] = []

    async def run() -> None:
        async with used(server, told) as bed:
            for route in ("renew", "end", "release"):
                plane.answers[route] = HarnessError("the data plane does not answer")
            raise await bed.engine.died()

    with pytest.raises(EngineDiedError):
        await run()
    assert told == ["not removed from the standing testbed: the data plane does not answer"]
    assert await ours(server) == {"testbed_mine"}


async def test_names_that_exist_are_known_to_the_deploy(plane: Plane, server: Standing) -> None:
    """From what the gateway says is there."""
    assert plane
    async with used(server) as bed:
        with pytest.raises(UsageError, match="queue 'mine' exists already"):
            no_network(bed.aws.client("sqs")).create_queue(QueueName="mine")


def test_a_login_of_a_dsn_keeps_its_letters() -> None:
    """A password may hold what a URL must escape."""
    server = standing_module._server(Standing(ENDPOINT, DSN))
    assert server.admin == Login("postgres", "p@ss")
