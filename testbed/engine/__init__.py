"""What runs beneath a scenario: LocalStack and Postgres, started, watched, stopped."""

from collections.abc import Callable
from pathlib import Path

from testbed.engine.base import Engine, EngineInfo
from testbed.engine.facts import EngineFacts, inspect_engine
from testbed.engine.localstack import Plane
from testbed.engine.postgres import Postgres, check_max_connections
from testbed.engine.process import start_process_engine
from testbed.engine.runspace import Child, RunSpace

__all__ = [
    "Child",
    "Engine",
    "EngineFacts",
    "EngineInfo",
    "Postgres",
    "RunSpace",
    "check_max_connections",
    "inspect_engine",
    "start_engine",
]


async def start_engine(
    space: RunSpace,
    *,
    max_connections: int,
    gateway_url: str,
    plane_token: str,
    progress: Callable[[str], None],
    keep_logs_in: Path | None = None,
) -> Engine:
    """Start LocalStack and Postgres side by side and wait until both are ready.

    Args:
        space: The run that they belong to; closing it ends them whatever happened.
        max_connections: Postgres's setting; an ordinary user gets three less.
        gateway_url: The testbed's endpoint, ``http://127.0.0.1:PORT``. It need not answer yet.
        plane_token: What LocalStack's plugin says to the data plane who it is with.
        progress: Gets a line for people at each step of a first-time installation.
        keep_logs_in: Folder for ``localstack.log`` and ``postgres.log``; None leaves them in the run's own
            folder, which is removed.

    Raises:
        UsageError: When Postgres does not accept ``max_connections``.
        HarnessError: When a part cannot be installed or started; the other one is stopped then.
    """
    return await start_process_engine(
        space,
        max_connections=max_connections,
        plane=Plane(gateway_url, plane_token),
        progress=progress,
        logs=keep_logs_in or space.folder,
    )
