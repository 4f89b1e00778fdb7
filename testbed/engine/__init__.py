"""What runs beneath a scenario: LocalStack and Postgres, started, watched, stopped."""

from collections.abc import Callable

from testbed.engine.base import Engine, EngineInfo, EngineOrder, Front, Launcher, Part, PartName
from testbed.engine.docker_host import DockerHost, NoDockerError, may_be_there, reach
from testbed.engine.facts import EngineFacts, inspect_engine
from testbed.engine.postgres import Login, Postgres, administer, check_max_connections
from testbed.engine.process import ProcessLauncher
from testbed.engine.runspace import Child, RunSpace
from testbed.errors import TestbedError
from testbed.threads import in_daemon_thread

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
    "administer",
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
    if engine == "process" or (engine == "auto" and not may_be_there()):
        return ProcessLauncher()
    try:
        host = await reach()
        return await in_daemon_thread(lambda: _containers(host, progress))
    except TestbedError as error:
        if engine == "container":
            raise
        if not isinstance(error, NoDockerError):
            progress(f"child processes instead of containers: {error.message}")
    return ProcessLauncher()


def _containers(host: DockerHost, progress: Callable[[str], None]) -> Launcher:
    from testbed.engine.container import choose_containers  # noqa: PLC0415 - Testcontainers takes half a second

    try:
        return choose_containers(host, progress)
    except BaseException:
        host.close()
        raise
