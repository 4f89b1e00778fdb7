"""The engine as child processes: no Docker, no Java, no Node."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from testbed.engine.base import EngineInfo, EngineOrder, Part, PartName
from testbed.engine.installation import choose, ensure_installed
from testbed.engine.localstack import Plane, start_localstack
from testbed.engine.ports import LOOPBACK
from testbed.engine.postgres import Postgres, check_max_connections, start_postgres
from testbed.engine.runspace import Child, RunSpace
from testbed.errors import EngineDiedError


@dataclass(frozen=True)
class ProcessEngine:
    """LocalStack and Postgres as processes of a run."""

    localstack_url: str
    postgres: Postgres
    info: EngineInfo
    space: RunSpace
    parts: tuple[Child, Child]

    def part(self, name: PartName) -> Part:
        """One of the two, for chaos."""
        raise NotImplementedError(name)

    async def died(self) -> EngineDiedError:
        """Wait until a watched process of the run dies: a part of the engine, or one that the runner watches."""
        return await self.space.died()

    async def stop(self) -> None:
        """Stop both parts at once."""
        await asyncio.gather(*(part.stop() for part in self.parts))


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
        starts = (
            asyncio.create_task(start_localstack(space, installation, plane, order.logs / "localstack.log")),
            asyncio.create_task(
                start_postgres(space, max_connections=order.max_connections, log=order.logs / "postgres.log")
            ),
        )
        try:
            (url, localstack), (postgres, server) = await asyncio.gather(*starts)
            await order.front.attach(url, postgres)
        except BaseException:  # whatever it is, the other part must not stay
            await _stop_started(starts)
            raise
        space.watch(localstack)
        space.watch(server)
        info = EngineInfo(self.mode, "localstack", installation.version, postgres.version, order.max_connections)
        return ProcessEngine(url, postgres, info, space, (localstack, server))


async def _stop_started(starts: Iterable[asyncio.Task[tuple[Any, Child]]]) -> None:
    for start in starts:
        start.cancel()
    for result in await asyncio.gather(*starts, return_exceptions=True):
        if not isinstance(result, BaseException):
            _, part = result
            await part.stop()
