"""The engine as child processes: no Docker, no Java, no Node."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.engine.base import EngineInfo
from testbed.engine.installation import choose, ensure_installed
from testbed.engine.localstack import Plane, start_localstack
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

    async def died(self) -> EngineDiedError:
        """Wait until a watched process of the run dies: a part of the engine, or one that the runner watches."""
        return await self.space.died()

    async def stop(self) -> None:
        """Stop both parts at once."""
        await asyncio.gather(*(part.stop() for part in self.parts))


async def start_process_engine(
    space: RunSpace,
    *,
    max_connections: int,
    plane: Plane,
    progress: Callable[[str], None],
    logs: Path,
) -> ProcessEngine:
    """Start LocalStack and Postgres side by side; when one fails, the other is stopped.

    Args:
        space: The run that they belong to.
        max_connections: Postgres's setting.
        plane: The data plane that LocalStack's plugin talks to.
        progress: Gets a line for people at each step of a first-time installation.
        logs: Folder for ``localstack.log`` and ``postgres.log``.

    Raises:
        UsageError: When Postgres does not accept ``max_connections``.
        HarnessError: When a part cannot be installed or started.
    """
    check_max_connections(max_connections)
    installation = await asyncio.to_thread(choose)
    own = {**space.environment, "TMPDIR": str(space.folder)}  # what the installers leave there goes with the run
    await ensure_installed(installation, progress, own)
    postgres_log, localstack_log = logs / "postgres.log", logs / "localstack.log"
    starts = (
        asyncio.create_task(start_localstack(space, installation, plane, localstack_log)),
        asyncio.create_task(start_postgres(space, max_connections=max_connections, log=postgres_log)),
    )
    try:
        (url, localstack), (postgres, server) = await asyncio.gather(*starts)
    except BaseException:  # whatever it is, the other part must not stay
        await _stop_started(starts)
        raise
    space.watch(localstack)
    space.watch(server)
    info = EngineInfo("process", "localstack", installation.version, postgres.version, max_connections)
    return ProcessEngine(url, postgres, info, space, (localstack, server))


async def _stop_started(starts: Iterable[asyncio.Task[tuple[Any, Child]]]) -> None:
    for start in starts:
        start.cancel()
    for result in await asyncio.gather(*starts, return_exceptions=True):
        if not isinstance(result, BaseException):
            _, part = result
            await part.stop()
