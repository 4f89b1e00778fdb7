"""A container of a run, and what chaos can do to it."""

import asyncio
import contextlib
import re
import signal
import threading
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from docker.errors import DockerException
from testcontainers.core.container import DockerContainer
from urllib3.exceptions import HTTPError

from testbed.engine.base import Front, PartName
from testbed.engine.docker_host import explain
from testbed.engine.parts import StatefulPart
from testbed.engine.ports import LOOPBACK
from testbed.engine.runspace import tail
from testbed.errors import EngineDiedError, HarnessError, how_ended
from testbed.threads import in_daemon_thread

_STOP_SECONDS: Final = 10
_LAST_LINES_SECONDS: Final = 1.0
_SIGNAL_STATUS: Final = 128  # a container that a signal ended has the status 128 + its number
DOCKER_ERRORS: Final = (DockerException, OSError, RuntimeError, HTTPError)
"""What the Docker SDK and Testcontainers raise when Docker does not do what it is asked for."""
_T = TypeVar("_T")


async def ask_docker(task: str, work: Callable[[], _T], log: Callable[[], str] = str) -> _T:
    """Let Docker do something, in a thread that nobody has to wait for.

    Args:
        task: What it is, for people: ``"pause LocalStack"``.
        work: Does it.
        log: The last lines of a log that may tell more.

    Raises:
        HarnessError: Docker does not do it.
    """
    try:
        return await in_daemon_thread(work)
    except DOCKER_ERRORS as error:
        raise HarnessError(
            f"Docker could not {task}: {explain(error)}", "`docker info` and `docker ps -a` say more", log_tail=log()
        ) from error


class Container:
    """A container that is followed: its log is written into a file, and its end is noticed.

    Attributes:
        name: The part by name, for people: ``"LocalStack"``.
        log: The file with its output.
        stopping: Whether its end is wanted; it is no death then.
    """

    def __init__(self, name: str, container: DockerContainer, port: int, log: Path) -> None:
        self.name = name
        self.log = log
        self.stopping = False
        self._container = container
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._creation: asyncio.Task[DockerContainer] | None = None
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._networks: list[str] = []

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return not self._ended.done()

    def log_tail(self) -> str:
        """The last lines that it wrote; empty when it wrote none."""
        return tail(self.log)

    def death(self) -> EngineDiedError:
        """How it ended; only for a container that has ended."""
        return EngineDiedError(self.name, self._ended.result(), self.log_tail())

    def watch(self, report: Callable[[EngineDiedError], None]) -> None:
        """From now on its death is reported."""
        self._ended.add_done_callback(lambda _: None if self.stopping else report(self.death()))

    async def create(self) -> None:
        """Create and start it.

        Raises:
            HarnessError: Docker does not.
        """
        self._creation = asyncio.create_task(self._ask("start", self._container.start))
        await asyncio.shield(self._creation)
        self._follow()

    async def created(self) -> None:
        """Wait until a creation that was begun has come to its end, a cancelled one too."""
        if self._creation:
            await asyncio.gather(self._creation, return_exceptions=True)

    async def start(self) -> None:
        """Start it again after it ended."""
        await self._ask("start", self._wrapped.start)
        self.stopping = False
        self._ended = self._loop.create_future()
        self._follow()

    async def kill(self) -> None:
        """SIGKILL to all of its processes, paused or not."""
        self.stopping = True
        await self._ask("kill", self._wrapped.kill)
        await self._ended

    async def stop(self) -> None:
        """As ``docker stop``: its stop signal, and SIGKILL ten seconds later."""
        self.stopping = True
        await self._ask("stop", lambda: self._wrapped.stop(timeout=_STOP_SECONDS))
        await self._ended

    async def pause(self) -> None:
        """Freeze it."""
        await self._ask("pause", self._wrapped.pause)

    async def resume(self) -> None:
        """Let it go on."""
        await self._ask("resume", self._wrapped.unpause)

    async def disconnect(self) -> None:
        """Take it off its network."""

        def take_off() -> None:
            self._wrapped.reload()
            self._networks = list(self._wrapped.attrs["NetworkSettings"]["Networks"])
            for network in self._networks:
                self._wrapped.client.networks.get(network).disconnect(self._wrapped)

        await self._ask("disconnect", take_off)

    async def reconnect(self) -> None:
        """Put it back on its network; its address may be another one then."""

        def put_back() -> None:
            for network in self._networks:
                self._wrapped.client.networks.get(network).connect(self._wrapped)

        await self._ask("reconnect", put_back)

    async def address(self) -> tuple[str, int]:
        """Host and port at which it is reached now.

        Raises:
            HarnessError: It has ended, or Docker does not say.
        """

        def look() -> tuple[str, int]:
            host = self._container.get_container_host_ip()
            port = self._container._get_exposed_port(self._port)  # noqa: SLF001 - the public one refuses a paused one
            return (LOOPBACK if host == "localhost" else host), port

        try:
            return await self._ask("find", look)
        except HarnessError:
            await asyncio.wait((self._ended,), timeout=2 * _LAST_LINES_SECONDS)
            if self.running:
                raise
            death = self.death()  # what has ended has no port any more
            raise HarnessError(f"{death.message} while it started", log_tail=death.log_tail) from None

    def close(self) -> None:
        """Close the connections to Docker."""
        self._container.get_docker_client().client.close()

    @property
    def _wrapped(self) -> Any:
        return self._container.get_wrapped_container()

    async def _ask(self, what: str, work: Callable[[], _T]) -> _T:
        return await ask_docker(f"{what} {self.name}", work, self.log_tail)

    def _follow(self) -> None:
        threading.Thread(
            target=self._wait_in_thread, args=(self._ended,), name=f"wait for {self.name}", daemon=True
        ).start()

    def _wait_in_thread(self, ended: asyncio.Future[str]) -> None:
        writing = threading.Thread(target=self._write_log, name=f"log of {self.name}", daemon=True)
        writing.start()
        try:
            how = _how(self._wrapped.wait()["StatusCode"])
            writing.join(_LAST_LINES_SECONDS)
            with contextlib.suppress(*DOCKER_ERRORS):  # it is removed already
                self._wrapped.reload()
                if self._wrapped.attrs["State"].get("OOMKilled"):
                    how += ", as its memory ran out"
        except DOCKER_ERRORS as error:
            how = f"is lost, as the Docker engine does not answer any more: {explain(error)}"
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(ended.set_result, how)

    def _write_log(self) -> None:
        # Whatever breaks here breaks the wait beside it, which tells.
        with contextlib.suppress(*DOCKER_ERRORS), self.log.open("ab", buffering=0) as output:
            self._wrapped.reload()
            since = _seconds(self._wrapped.attrs["State"]["StartedAt"])
            for chunk in self._wrapped.logs(stream=True, follow=True, since=since):
                output.write(chunk)


@dataclass(frozen=True, slots=True)
class Around:
    """What a part has around it.

    Attributes:
        front: What stands in front of the parts.
        attach: Tells the front where both parts are.
        report: Takes the death of a part.
    """

    front: Front
    attach: Callable[[], Awaitable[None]]
    report: Callable[[EngineDiedError], None]


class ContainerPart(StatefulPart):
    """A part that is a container.

    Attributes:
        container: Its container.
    """

    def __init__(self, name: PartName, container: Container, around: Around) -> None:
        super().__init__(name)
        self.container = container
        self._around = around

    @abstractmethod
    async def find(self) -> None:
        """Ask Docker where it is now."""

    @abstractmethod
    async def ready(self) -> None:
        """Return when it does its work at that address.

        Raises:
            HarnessError: It ended, or takes too long.
        """

    async def create(self) -> None:
        """Its first start; return when it is ready."""
        await self.container.create()
        await self.find()
        await self.ready()

    def watch(self) -> None:
        """From now on its death is reported."""
        self.container.watch(self._around.report)

    async def _kill(self) -> None:
        await self.container.kill()

    async def _stop(self) -> None:
        await self.container.stop()

    async def _start(self) -> None:
        await self.container.start()
        await self.find()
        await self.ready()
        await self._around.attach()
        self.watch()

    async def _pause(self) -> None:
        await self.container.pause()

    async def _resume(self) -> None:
        await self.container.resume()

    async def _disconnect(self) -> None:
        await self._around.front.cut(self.name)  # before, so that no connection is reset by the port that goes away
        await self.container.disconnect()

    async def _reconnect(self) -> None:
        await self.container.reconnect()
        if self.state != "down":
            await self.find()
            if self.state == "running":
                await self.ready()
            await self._around.attach()
        await self._around.front.mend(self.name)


def _how(status: int) -> str:
    number = status - _SIGNAL_STATUS
    return how_ended(-number if number in signal.valid_signals() else status)


def _seconds(timestamp: str) -> float:
    """Seconds since 1970 of a time as Docker writes it, with nanoseconds and an offset or Z."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", timestamp)).timestamp()
