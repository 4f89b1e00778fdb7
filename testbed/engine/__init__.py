"""What runs beneath a scenario: LocalStack and Postgres, started, watched, stopped."""

from collections.abc import Callable

from testbed.engine.base import Engine, EngineInfo, EngineOrder, Front, Launcher, Part, PartName
from testbed.engine.facts import EngineFacts, inspect_engine
from testbed.engine.postgres import Login, Postgres, check_max_connections
from testbed.engine.process import ProcessLauncher
from testbed.engine.runspace import Child, RunSpace
from testbed.errors import UsageError

__all__ = [
    "Child",
    "Engine",
    "EngineFacts",
    "EngineInfo",
    "EngineOrder",
    "Front",
    "Launcher",
    "Login",
    "Part",
    "PartName",
    "Postgres",
    "RunSpace",
    "check_max_connections",
    "choose_launcher",
    "inspect_engine",
]


async def choose_launcher(engine: str, progress: Callable[[str], None]) -> Launcher:
    """The engine that will run.

    Args:
        engine: ``"process"``, ``"container"``, or ``"auto"``: containers where a Docker engine answers that has the
            images or can get them, else child processes.
        progress: Takes lines for people: images that are pulled, and why it became another engine.

    Raises:
        UsageError: Containers were asked for, and the image needs a token that is not there.
        HarnessError: Containers were asked for, and no Docker engine answers or an image cannot be had.
    """
    del progress
    if engine == "container":
        raise UsageError("the container engine is not part of this version", "leave --engine out, or use process")
    return ProcessLauncher()
