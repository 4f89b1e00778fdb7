"""What may be done to a part in which state, whatever it runs in."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal

from testbed.engine.base import PartName
from testbed.errors import UsageError

State = Literal["running", "paused", "down"]
TITLES: Final[dict[PartName, str]] = {"localstack": "LocalStack", "postgres": "Postgres"}
"""The parts by name, for people."""
_ALIVE: Final[tuple[State, ...]] = ("running", "paused")


class StatefulPart(ABC):
    """A `Part` that refuses what its state does not allow, and does one thing after the other.

    How things are done is the engine's: it fills in the methods with an underscore, which are only called in a state
    that allows them. A part that is paused or disconnected can be killed and stopped; one that went down while it was
    disconnected is reconnected before it is started.

    Attributes:
        name: Which part it is.
        state: A part whose death nobody wanted still counts as what it was before.
        connected: Whether it is on the network.

    Raises:
        UsageError: From any operation, when the state does not allow it; nothing is done then.
    """

    def __init__(self, name: PartName) -> None:
        self.name: Final[PartName] = name
        self.state: State = "running"
        self.connected = True
        self._one_at_a_time = asyncio.Lock()

    async def kill(self) -> None:
        """End it at once, without a chance to tidy up."""
        async with self._allowed("killed", *_ALIVE):
            await self._kill()
            self.state = "down"

    async def stop(self) -> None:
        """End it in order."""
        async with self._allowed("stopped", *_ALIVE):
            await self._stop()
            self.state = "down"

    async def start(self) -> None:
        """Start it again, and return when it is ready."""
        async with self._allowed("started", "down", connected=True):
            await self._start()
            self.state = "running"

    async def pause(self) -> None:
        """Freeze it."""
        async with self._allowed("paused", "running"):
            await self._pause()
            self.state = "paused"

    async def resume(self) -> None:
        """Let it go on."""
        async with self._allowed("resumed", "paused"):
            await self._resume()
            self.state = "running"

    async def disconnect(self) -> None:
        """Cut it off from the network."""
        async with self._allowed("disconnected", *_ALIVE, connected=True):
            await self._disconnect()
            self.connected = False

    async def reconnect(self) -> None:
        """Put it back on the network, whatever its state."""
        async with self._allowed("reconnected", *_ALIVE, "down", connected=False):
            await self._reconnect()
            self.connected = True

    @asynccontextmanager
    async def _allowed(self, done: str, *states: State, connected: bool | None = None) -> AsyncIterator[None]:
        async with self._one_at_a_time:
            if self.state not in states or connected not in {None, self.connected}:
                network = "" if self.connected else " and disconnected"
                raise UsageError(
                    f"{TITLES[self.name]} cannot be {done}: it is {self.state}{network}",
                    "put what is done to it into an order in which each step finds what it needs",
                )
            yield

    @abstractmethod
    async def _kill(self) -> None:
        """Return when it has ended; its death must not be reported."""

    @abstractmethod
    async def _stop(self) -> None:
        """Likewise; by force after about ten seconds."""

    @abstractmethod
    async def _start(self) -> None:
        """Return when it is ready and its front knows where it is; from then on its death is reported again."""

    @abstractmethod
    async def _pause(self) -> None:
        """Return when nothing of it runs."""

    @abstractmethod
    async def _resume(self) -> None:
        """Return when it may run."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Return when nothing gets through."""

    @abstractmethod
    async def _reconnect(self) -> None:
        """Return when it can be reached; at once when it is paused or down."""
