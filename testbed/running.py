"""A testbed that is up: engine and data plane, ready to be deployed to."""

import asyncio
import json
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from testbed.engine import Child, Engine, EngineOrder, PartName, Postgres, RunSpace, choose_launcher
from testbed.errors import EngineDiedError, HarnessError, UsageError
from testbed.gateway.client import SETTINGS_VARIABLE, PlaneClient
from testbed.scenario import Aws, Db

_LOOPBACK: Final = "127.0.0.1"
_PLANE: Final = "the data plane"
_T = TypeVar("_T")


@dataclass(frozen=True)
class RunningTestbed:
    """Engine and data plane of one run.

    Attributes:
        aws: boto3 clients for the gateway.
        engine: LocalStack and Postgres.
        plane: Control of the data plane.
        logs: Folder with the logs of all parts, function logs included.
    """

    aws: Aws
    engine: Engine
    plane: PlaneClient
    logs: Path
    _front: "_ProxyPort"

    async def create_database(self, name: str) -> Db:
        """A fresh database, whose functions' DSN goes through the wire proxy; the server calls it `database_name`."""
        await self.engine.postgres.create_database(self.database_name(name))
        return self.database(self.database_name(name))

    def database_name(self, name: str) -> str:
        """What the server calls the database that is to be ``name``."""
        return name

    def database(self, name: str) -> Db:
        """The database of this name."""
        proxied = replace(self.engine.postgres, host=_LOOPBACK, port=self._front.proxy_port)
        options = "?sslmode=disable"
        return Db(proxied.dsn(name) + options, proxied.dsn(name, proxied.admin) + options)

    async def died(self) -> EngineDiedError:
        """Wait until a part dies: a process of the run, or the fork server, which only the plane sees."""
        dying = [asyncio.create_task(self.engine.died()), asyncio.create_task(self.plane.death())]
        try:
            done, _ = await asyncio.wait(dying, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            await _cancelled(*dying)


@asynccontextmanager
async def running_testbed(
    *,
    max_connections: int,
    logs: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
    port: int = 0,
    engine: str = "auto",
    token: str | None = None,
) -> AsyncIterator[RunningTestbed]:
    """Start everything, and stop everything at the end, whatever happens in between.

    Args:
        max_connections: Postgres's setting.
        logs: Folder for the logs of all parts, function logs included; None keeps them until the end only.
        progress: Takes lines for people at a first-time installation.
        port: The gateway's port on loopback; 0 takes a free one.
        engine: ``"auto"``, ``"process"`` or ``"container"``, as `choose_launcher` takes it.
        token: What the control routes ask for; None makes one up.

    Raises:
        UsageError: The port is taken, Postgres does not take ``max_connections``, or what `choose_launcher` says.
        HarnessError: A part cannot be installed or started.
    """
    launcher = await choose_launcher(engine, progress)
    with ExitStack() as opened:
        listening = opened.enter_context(_listening(_LOOPBACK, port))
        gateway = f"{_LOOPBACK}:{listening.getsockname()[1]}"
        callers = None
        if launcher.caller_address:
            callers = opened.enter_context(_listening(launcher.caller_address, 0))
        plane_port = (callers or listening).getsockname()[1]
        token = token or secrets.token_urlsafe(24)
        async with RunSpace() as space:
            logs = logs or _folder(space, "logs")
            sockets = [each for each in (listening, callers) if each]
            settings = {"host": gateway, "token": token, "mode": launcher.mode}
            child = _spawn_plane(space, sockets, settings, logs)
            space.watch(child)
            plane = PlaneClient(f"http://{gateway}", token)
            front = _Front(plane)
            order = EngineOrder(
                max_connections=max_connections,
                gateway=gateway,
                plane_url=f"http://{launcher.plane_host}:{plane_port}",
                plane_token=token,
                front=front,
                progress=progress,
                logs=logs,
            )
            try:
                started = await _started(space, launcher.start(space, order))
                yield RunningTestbed(Aws(f"http://{gateway}"), started, plane, logs, front)
            finally:
                await plane.close()


class _ProxyPort(Protocol):
    """Knows where on loopback functions find Postgres."""

    @property
    def proxy_port(self) -> int:
        """The wire proxy's port."""


class _Front:
    """The gateway before LocalStack, and the wire proxy before Postgres.

    Attributes:
        proxy_port: The wire proxy's port on loopback, once a Postgres is attached.
    """

    def __init__(self, plane: PlaneClient) -> None:
        self.proxy_port = 0
        self._plane = plane

    async def attach(self, localstack_url: str, postgres: Postgres) -> None:
        """From now on the parts are there."""
        answer = await self._plane.call(
            "connect",
            emulator_url=localstack_url,
            host=postgres.host,
            port=postgres.port,
            admin=postgres.admin.user,
        )
        self.proxy_port = answer["port"]

    async def cut(self, part: PartName) -> None:
        """Let nothing through to the part or from it."""
        await self._plane.call("cut", part=part)

    async def mend(self, part: PartName) -> None:
        """Let bytes through again."""
        await self._plane.call("mend", part=part)


def _listening(address: str, port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
    except OSError as error:
        listening.close()
        raise UsageError(f"port {port} cannot be used: {error.strerror}", "choose another one with --port") from error
    listening.listen(4096)
    return listening


def _spawn_plane(space: RunSpace, sockets: Sequence[socket.socket], settings: Mapping[str, str], logs: Path) -> Child:
    inherited = [each.fileno() for each in sockets]
    told = {
        **settings,
        "folder": str(_folder(space, "plane")),
        "logs": str(logs.resolve()),
        "run": next(iter(space.environment.values())),
        "sockets": inherited,
    }
    return space.spawn(
        [sys.executable, "-P", "-m", "testbed.gateway"],
        name=_PLANE,
        env={**os.environ, SETTINGS_VARIABLE: json.dumps(told)},
        log=logs / "plane.log",
        pass_fds=inherited,
    )


def _folder(space: RunSpace, name: str) -> Path:
    folder = space.folder / name
    folder.mkdir()
    return folder


async def _started(space: RunSpace, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of ``work``, unless a part dies first."""
    try:
        return await unless_dead(space.died(), work, patience=0)
    except EngineDiedError as death:
        raise HarnessError(
            f"{death.message} while the testbed started",
            "run the command again; `testbed doctor` shows what it runs on",
            log_tail=death.log_tail,
        ) from death


async def unless_dead(
    died: Coroutine[Any, Any, EngineDiedError], work: Coroutine[Any, Any, _T], *, patience: float
) -> _T:
    """The result of ``work``, unless a part dies first: then its death is what is raised.

    Args:
        died: Ends when a part dies.
        work: What is wanted.
        patience: Seconds that a failure of ``work`` waits for the news of a death: it often shows first as a failure
            of whoever used the part.

    Raises:
        EngineDiedError: As ``died`` returns it.
    """
    working, dying = asyncio.create_task(work), asyncio.create_task(died)
    try:
        await asyncio.wait((working, dying), return_when=asyncio.FIRST_COMPLETED)
        if working.done() and working.exception() is not None and not dying.done():
            await asyncio.wait((dying,), timeout=patience)
        if dying.done():
            raise dying.result()
        return working.result()
    finally:
        await _cancelled(working, dying)


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
