"""A testbed that stands, as `testbed up` or docker-compose.yml keep it: several runs use it, one after the other.

A run shares it with whatever is deployed there by hand. It uses databases and a role of its own names, and the gateway
removes what was deployed during the run when it is over. What stands is not the run's to kill.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from testbed.engine import EngineInfo, Login, PartName, Postgres, administer
from testbed.errors import EngineDiedError, HarnessError, TestbedError, UsageError
from testbed.gateway.client import PlaneClient
from testbed.gateway.inventory import KINDS, Known
from testbed.run_folder import unwritable
from testbed.running import RunningTestbed
from testbed.scenario import Aws, Db

DEFAULT_TOKEN: Final = "testbed"  # noqa: S105 - the one in docker-compose.yml, which is published on loopback only
_LOOPBACK: Final = "127.0.0.1"
_NAME: Final = "the standing testbed"
_ROLE: Final = "testbed_"
_ROLES: Final = "^testbed_[0-9a-f]{12}$"
_RENEW_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 2.0
_SILENCES: Final = 2  # in a row: this process may have been busy itself
_CONNECT_SECONDS: Final = 5
_NO_TLS: Final = "?sslmode=disable"
_START_IT: Final = (
    "start one with `testbed up` or docker compose up, and see that the address is the one that it prints"
)


@dataclass(frozen=True)
class Standing:
    """Where a testbed stands.

    Attributes:
        endpoint: The gateway, ``http://HOST:PORT``.
        dsn: Its Postgres as superuser, as this machine reaches it.
        token: What the gateway was started with.

    Raises:
        UsageError: ``endpoint`` or ``dsn`` is none.
    """

    endpoint: str
    dsn: str = field(repr=False)
    token: str = field(default=DEFAULT_TOKEN, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint)
        if parts.scheme != "http" or not parts.hostname or parts.username or parts.path.strip("/"):
            raise UsageError(f"{self.endpoint!r} is no endpoint of a testbed", "it looks like http://127.0.0.1:4566")
        if not self.server.keys() >= {"host", "user"}:
            raise UsageError(
                "the DSN names no host or no user",
                "it looks like postgresql://postgres:PASSWORD@127.0.0.1:5432/postgres",
            )

    @cached_property
    def server(self) -> Mapping[str, Any]:
        """The parts of the DSN: ``host``, ``port``, ``user``, ``password``, ``dbname``."""
        try:
            return conninfo_to_dict(self.dsn)
        except psycopg.ProgrammingError as error:
            raise UsageError(f"the DSN cannot be read: {_first_line(error)}", "write it as a URL") from error


@dataclass(frozen=True)
class StandingEngine:
    """The engine of a testbed that stands, for a run that may use but not touch it.

    Attributes:
        localstack_url: The gateway: LocalStack itself can be out of reach. No fault is armed when the ledger reads.
        postgres: The server as ``--dsn`` says; its ordinary user is the run's own.
        info: What runs.
    """

    localstack_url: str
    postgres: Postgres
    info: EngineInfo
    _heartbeat: "asyncio.Task[EngineDiedError]"

    def part(self, name: PartName) -> NoReturn:
        """None.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            f"{name} of a standing testbed cannot be stopped, paused or cut off",
            "leave --endpoint out: then the run has an engine of its own",
        )

    async def died(self) -> EngineDiedError:
        """Wait until the gateway, LocalStack or Postgres is gone; noticed within a second or two."""
        return await asyncio.shield(self._heartbeat)

    async def stop(self) -> None:
        """Nothing: it was there before the run."""


@dataclass(frozen=True)
class StandingTestbed(RunningTestbed):
    """The same for a scenario as one that was started for it."""

    def database_name(self, name: str) -> str:
        """One that only this run has."""
        return f"{self.engine.postgres.app.user}_{name}"

    def database(self, name: str) -> Db:
        """The database of this name: functions reach it beside the gateway, this process by ``--dsn``."""
        admin = self.engine.postgres
        return Db(super().database(name).dsn, admin.dsn(name, admin.admin) + _NO_TLS)


class StandingPlane(PlaneClient):
    """A plane that keeps the journal until it is fetched: it may run where this run's folder is not."""

    _journal: Path | None = None

    async def call(self, route: str, **order: Any) -> dict[str, Any]:
        """Call one route; ``end`` fetches the journal to where ``begin`` wanted it.

        Raises:
            UsageError, HarnessError: As `PlaneClient.call`; the journal is not complete.
        """
        if route == "begin":
            self._journal = Path(order.pop("journal"))
        answer = await super().call(route, **order)
        if route == "end" and self._journal:
            path, self._journal = self._journal, None  # once, even if it breaks off
            try:
                await self.fetch_journal(path)
            except OSError as error:
                raise unwritable(error, path) from error
        return answer


class GuardedAws(Aws):
    """AWS for a ``deploy`` that must not take what was there before for its own.

    Args:
        endpoint_url: The gateway.
        known: What was there before.
    """

    def __init__(self, endpoint_url: str, known: Known) -> None:
        super().__init__(endpoint_url)
        self._names = {kind: {_last_part(one) for one in ids} for kind, ids in known.items()}

    def client(self, service: str) -> Any:
        """A boto3 client whose create operations refuse names that exist.

        Several of them answer happily otherwise, and the run would work with what it finds there: AWS's
        ``CreateQueue``, ``CreateTopic`` and ``PutRule`` are idempotent.
        """
        client = super().client(service)
        for kind in KINDS:
            if kind.service == service and kind.create:
                client.meta.events.register(f"before-parameter-build.*.{kind.create}", self._check(kind))
        return client

    def _check(self, kind: Any) -> Callable[..., None]:
        def check(params: Mapping[str, Any], **_: Any) -> None:
            name = params.get(kind.create_parameter)
            if name in self._names.get(kind.name, ()):
                raise UsageError(
                    f"{kind.name} {name!r} exists already on the standing testbed",
                    "delete it there, or leave --endpoint out: then the run has a testbed of its own",
                )

        return check


def _last_part(one: str) -> str:
    """The name in a URL, an ARN or a name; log groups have slashes in their names, and are known by the whole too."""
    return one if one.startswith("/") else one.rpartition("/")[2].rpartition(":")[2]


@asynccontextmanager
async def standing_testbed(
    standing: Standing, *, max_connections: int, tell: Callable[[str], None]
) -> AsyncIterator[StandingTestbed]:
    """Use a testbed that stands, alone; at the end, however it comes, everything is there as it was before.

    Args:
        standing: Where.
        max_connections: What the scenario wants of Postgres.
        tell: Takes lines for people.

    Raises:
        UsageError: There is no testbed, its token is another one, ``--dsn`` leads to another Postgres than the
            gateway's, or another run is using it.
        HarnessError: It does not work.
    """
    plane = StandingPlane(standing.endpoint, standing.token)
    try:
        about = await _about(plane, standing.endpoint)
        postgres = _server(standing)
        info = await _info(about, postgres)
        run = postgres.app.user
        async with _leased(plane, run, tell) as known, _role(postgres, tell):
            await _check_reached(plane, postgres, about["postgres_port"])
            if info.max_connections != max_connections:
                there = info.max_connections
                tell(f"the scenario wants max_connections={max_connections}, the standing testbed has {there}")
            heartbeat = asyncio.create_task(_heartbeat(plane, run, standing.endpoint))
            engine = StandingEngine(standing.endpoint, postgres, info, heartbeat)
            aws = GuardedAws(standing.endpoint, known)
            front = _Proxy(about["postgres_port"])
            try:
                yield StandingTestbed(aws, engine, plane, Path(about["logs"]), front)
            finally:
                heartbeat.cancel()
                with suppress(TestbedError):  # a second message would hide what ended the run
                    await plane.call("end")
    finally:
        await plane.close()


@dataclass(frozen=True)
class _Proxy:
    """Where functions find Postgres."""

    proxy_port: int


async def _about(plane: PlaneClient, endpoint: str) -> dict[str, Any]:
    try:
        return await plane.call("about")
    except HarnessError as error:
        raise UsageError(f"no testbed stands at {endpoint}: {error.message}", _START_IT) from error


def _server(standing: Standing) -> Postgres:
    """The Postgres of ``--dsn``, with a role of the run that is still to be created."""
    server = standing.server
    port = int(server.get("port") or 5432)
    admin = Login(server["user"], server.get("password") or "")
    app = Login(_ROLE + secrets.token_hex(6), secrets.token_urlsafe(12))
    return Postgres(server["host"], port, "", admin=admin, app=app)


async def _administer(postgres: Postgres) -> psycopg.AsyncConnection:
    try:
        return await administer(postgres, connect_timeout=_CONNECT_SECONDS)
    except psycopg.OperationalError as error:
        raise UsageError(
            f"Postgres of the standing testbed cannot be used: {_first_line(error)}", "see --dsn"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


async def _info(about: Mapping[str, Any], postgres: Postgres) -> EngineInfo:
    async with await _administer(postgres) as connection:
        cursor = await connection.execute(
            "SELECT current_setting('server_version'), current_setting('max_connections')::int"
        )
        [(version, max_connections)] = await cursor.fetchall()
    return EngineInfo(about["mode"], "localstack", about["emulator_version"], version.split()[0], max_connections)


@asynccontextmanager
async def _leased(plane: PlaneClient, run: str, tell: Callable[[str], None]) -> AsyncIterator[Known]:
    """Have the testbed alone; at the end the gateway removes what was deployed meanwhile."""
    lease = await plane.call("lease", run=run)
    if not lease["granted"]:
        raise UsageError(
            "another run is using the standing testbed",
            "wait until it is over; one that was killed is forgotten ten seconds later",
        )
    try:
        yield lease["known"]
    finally:
        try:
            left = (await plane.call("release", run=run))["left"]
        except TestbedError as error:
            left = [error.message]
        for each in left:
            tell(f"not removed from the standing testbed: {each}")


@asynccontextmanager
async def _role(postgres: Postgres, tell: Callable[[str], None]) -> AsyncIterator[None]:
    """Have the run's own role, and at the end neither it nor its databases, nor those of runs that were killed."""
    async with await _administer(postgres) as connection:
        cursor = await connection.execute("SELECT rolname FROM pg_roles WHERE rolname ~ %s", [_ROLES])
        for (leftover,) in await cursor.fetchall():
            await _drop(connection, leftover)
        try:
            await connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(postgres.app.user), sql.Literal(postgres.app.password)
                )
            )
        except psycopg.errors.InsufficientPrivilege as error:
            raise UsageError(
                f"the user of --dsn may not create databases: {_first_line(error)}", "give the superuser's address"
            ) from error
    try:
        yield
    finally:
        try:
            async with await _administer(postgres) as connection:
                await _drop(connection, postgres.app.user)
        except (UsageError, psycopg.Error) as error:
            role = postgres.app.user
            tell(f"not removed from the standing testbed: role {role} and its databases: {_first_line(error)}")


async def _drop(connection: psycopg.AsyncConnection, role: str) -> None:
    """Drop a role that a run has created, and the databases that it owns."""
    cursor = await connection.execute(
        "SELECT datname FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba WHERE rolname = %s", [role]
    )
    for (database,) in await cursor.fetchall():
        await connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
    await connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


async def _check_reached(plane: PlaneClient, postgres: Postgres, port: int) -> None:
    """See that functions will find the role that was created by ``--dsn``.

    Raises:
        UsageError: They would not: it is another Postgres.
    """
    seen_by_functions = replace(postgres, host=_LOOPBACK, port=port)
    problem = (await plane.call("reach", dsn=seen_by_functions.dsn("postgres") + _NO_TLS))["problem"]
    if problem:
        raise UsageError(
            f"--dsn does not lead to the Postgres of the standing testbed, whose own answer is: {problem}",
            "give the one that it was started with; `testbed up` prints it",
        )


async def _heartbeat(plane: PlaneClient, run: str, endpoint: str) -> EngineDiedError:
    """Renew the lease until something is gone, and say what."""
    silences = 0
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await plane.call("renew", run=run)
        except TimeoutError:
            silences += 1
            if silences < _SILENCES:
                continue
            return EngineDiedError(_NAME, f"at {endpoint} does not answer any more")
        except TestbedError as error:
            return EngineDiedError(_NAME, f"at {endpoint} is gone: {error.message}")
        silences = 0
        if not answer["held"]:
            return EngineDiedError(
                _NAME, "does not know this run any more: it was started anew, or waited too long for it"
            )
        if answer["lost_part"]:
            return EngineDiedError(answer["lost_part"], "of the standing testbed is gone")
