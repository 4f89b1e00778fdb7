"""The engine as child processes: no Docker, no Java, no Node."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Generic, Protocol, TypeVar

from testbed.engine.base import EngineInfo, EngineOrder, Front, Part, PartName
from testbed.engine.installation import choose, ensure_installed
from testbed.engine.localstack import LocalStackServer, Plane
from testbed.engine.parts import StatefulPart
from testbed.engine.ports import LOOPBACK
from testbed.engine.postgres import Postgres, PostgresServer, check_max_connections
from testbed.engine.runspace import Child, RunSpace
from testbed.errors import EngineDiedError

_STOP_SECONDS: Final = 10.0  # as long as `docker stop` waits
_Address_co = TypeVar("_Address_co", covariant=True)


class Server(Protocol[_Address_co]):
    """What starts a part, as often as it is wanted.

    Attributes:
        stop_signal: Asks the part to end in order.
    """

    @property
    def stop_signal(self) -> signal.Signals:
        """See above."""

    async def start(self) -> tuple[_Address_co, Child]:
        """Start it and wait until it is ready; where it is, and its process."""


class ProcessPart(StatefulPart, Generic[_Address_co]):
    """A part that is a process of the run.

    It cannot be taken off the loopback network. Its front holds all bytes instead.

    Attributes:
        address: Where it is, or was last.
        child: Its process, or its last one.
    """

    def __init__(
        self,
        name: PartName,
        server: Server[_Address_co],
        started: tuple[_Address_co, Child],
        *,
        space: RunSpace,
        front: Front,
        attach: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(name)
        self.address, self.child = started
        self._server = server
        self._space = space
        self._front = front
        self._attach = attach

    async def _kill(self) -> None:
        await self.child.kill()

    async def _stop(self) -> None:
        await self.child.stop(self._server.stop_signal, seconds=_STOP_SECONDS)

    async def _start(self) -> None:
        self.address, self.child = await self._server.start()
        self._space.watch(self.child)
        async with self.child.stopped_on_error():
            await self._attach()

    async def _pause(self) -> None:
        await self.child.pause()

    async def _resume(self) -> None:
        self.child.resume()

    async def _disconnect(self) -> None:
        await self._front.cut(self.name)

    async def _reconnect(self) -> None:
        await self._front.mend(self.name)


class ProcessEngine:
    """LocalStack and Postgres as processes of a run.

    Attributes:
        info: What runs.
    """

    def __init__(
        self,
        info: EngineInfo,
        space: RunSpace,
        front: Front,
        localstack: tuple[LocalStackServer, tuple[str, Child]],
        postgres: tuple[PostgresServer, tuple[Postgres, Child]],
    ) -> None:
        self.info = info
        self._space = space
        self._front = front
        self._localstack = ProcessPart("localstack", *localstack, space=space, front=front, attach=self.attach)
        self._postgres = ProcessPart("postgres", *postgres, space=space, front=front, attach=self.attach)

    @property
    def localstack_url(self) -> str:
        """LocalStack's own address."""
        return self._localstack.address

    @property
    def postgres(self) -> Postgres:
        """The database server."""
        return self._postgres.address

    def part(self, name: PartName) -> Part:
        """One of the two, for chaos."""
        return self._localstack if name == "localstack" else self._postgres

    async def attach(self) -> None:
        """Tell the front where both parts are."""
        await self._front.attach(self.localstack_url, self.postgres)

    async def died(self) -> EngineDiedError:
        """Wait until a watched process of the run dies: a part of the engine, or one that the runner watches."""
        return await self._space.died()

    async def stop(self) -> None:
        """Stop both parts at once."""
        await asyncio.gather(self._localstack.child.stop(), self._postgres.child.stop())


class ProcessLauncher:
    """Starts the engine as child processes.

    Attributes:
        mode: ``"process"``.
        caller_address: None: loopback will do.
        plane_host: Loopback.
    """

    mode = "process"
    caller_address = None
    plane_host = LOOPBACK

    async def start(self, space: RunSpace, order: EngineOrder) -> ProcessEngine:
        """See `Launcher`; LocalStack is installed first where it is not yet."""
        check_max_connections(order.max_connections)
        installation = await asyncio.to_thread(choose)
        own = {**space.environment, "TMPDIR": str(space.folder)}  # what the installers leave there goes with the run
        await ensure_installed(installation, order.progress, own)
        plane = Plane(order.plane_url, order.plane_token, order.gateway)
        localstack = LocalStackServer(space, installation, plane, order.logs / "localstack.log")
        postgres = PostgresServer(space, order.max_connections, order.logs / "postgres.log")
        starts = asyncio.create_task(localstack.start()), asyncio.create_task(postgres.start())
        try:
            emulator, database = await asyncio.gather(*starts)
            version = database[0].version
            info = EngineInfo(self.mode, "localstack", installation.version, version, order.max_connections)
            engine = ProcessEngine(info, space, order.front, (localstack, emulator), (postgres, database))
            await engine.attach()
        except BaseException:  # whatever it is, the other part must not stay
            await _stop_started(starts)
            raise
        for _, child in (emulator, database):
            space.watch(child)
        return engine


async def _stop_started(starts: Iterable[asyncio.Task[tuple[Any, Child]]]) -> None:
    for start in starts:
        start.cancel()
    for result in await asyncio.gather(*starts, return_exceptions=True):
        if not isinstance(result, BaseException):
            _, part = result
            await part.stop()
