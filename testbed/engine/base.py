"""What an engine is, however it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from testbed.engine.postgres import Postgres
from testbed.engine.runspace import RunSpace
from testbed.errors import EngineDiedError

PartName = Literal["localstack", "postgres"]


@dataclass(frozen=True)
class EngineInfo:
    """What runs; goes into the verdict as it is.

    Attributes:
        mode: ``"process"`` or ``"container"``.
        emulator: ``"localstack"``.
        emulator_version: For example ``"4.14.0"``.
        postgres_version: For example ``"16.14"``.
        max_connections: Postgres's setting.
    """

    mode: str
    emulator: str
    emulator_version: str
    postgres_version: str
    max_connections: int


class Front(Protocol):
    """What stands in front of an engine: the gateway before LocalStack, the wire proxy before Postgres.

    Whoever uses a part talks to its front, whose address stays while the part's own may change.
    """

    async def attach(self, localstack_url: str, postgres: Postgres) -> None:
        """From now on the parts are there."""

    async def cut(self, part: PartName) -> None:
        """Let nothing through to the part or from it: bytes are held, as by a network that drops all packets."""

    async def mend(self, part: PartName) -> None:
        """Let bytes through again; connections that were open during the cut are reset."""


class Part(Protocol):
    """LocalStack or Postgres, and what can be done to it while traffic runs.

    What is done here on purpose is no death of the part: `Engine.died` does not report it.

    Attributes:
        name: Which part it is.
    """

    @property
    def name(self) -> PartName:
        """See above."""

    async def kill(self) -> None:
        """End it at once, without a chance to tidy up (SIGKILL to all of its processes)."""

    async def stop(self) -> None:
        """End it in order, as its administrator would; open connections are closed by it."""

    async def start(self) -> None:
        """Start it again after `kill` or `stop`, and return when it is ready.

        Postgres recovers what was committed. LocalStack keeps nothing: what was deployed is gone.
        """

    async def pause(self) -> None:
        """Freeze it: connections stay open and are accepted, but nothing answers."""

    async def resume(self) -> None:
        """Let it go on after `pause`."""

    async def disconnect(self) -> None:
        """Cut it off from the network: it runs, but no packet gets to it or from it."""

    async def reconnect(self) -> None:
        """Put it back on the network after `disconnect`, and return when it can be reached."""


class Engine(Protocol):
    """LocalStack and Postgres, running.

    Attributes:
        localstack_url: LocalStack's own address, which changes when it was started again or reconnected; everybody
            but the gateway talks to the gateway.
        postgres: The database server; its address may change likewise.
        info: What runs.
    """

    @property
    def localstack_url(self) -> str:
        """See above."""

    @property
    def postgres(self) -> Postgres:
        """See above."""

    @property
    def info(self) -> EngineInfo:
        """See above."""

    def part(self, name: PartName) -> Part:
        """One of the two, for chaos."""

    async def died(self) -> EngineDiedError:
        """Wait until a part dies; which one, how, and the end of its log. Noticed within a second."""

    async def stop(self) -> None:
        """Stop all parts at once; they are throw-away."""


@dataclass(frozen=True, kw_only=True)
class EngineOrder:
    """What an engine is started with.

    Attributes:
        max_connections: Postgres's setting; an ordinary user gets three less.
        gateway: The gateway as its clients know it, ``127.0.0.1:PORT``: LocalStack hands it out in queue URLs.
        plane_url: Where LocalStack's plugin reaches the data plane. It need not answer yet.
        plane_token: What the plugin says to the plane who it is with.
        front: Told when a part moves, is cut off, and is back.
        progress: Takes lines for people at each step that takes long.
        logs: Folder for ``localstack.log`` and ``postgres.log``.
    """

    max_connections: int
    gateway: str
    plane_url: str
    plane_token: str
    front: Front
    progress: Callable[[str], None]
    logs: Path


class Launcher(Protocol):
    """An engine that has been chosen, with all at hand that its start needs.

    Attributes:
        mode: ``"process"`` or ``"container"``.
        caller_address: The own address, beside loopback, at which parts of the engine reach the data plane; None where
            loopback will do.
        plane_host: The name or address by which the parts call that address.
    """

    @property
    def mode(self) -> str:
        """See above."""

    @property
    def caller_address(self) -> str | None:
        """See above."""

    @property
    def plane_host(self) -> str:
        """See above."""

    async def start(self, space: RunSpace, order: EngineOrder) -> Engine:
        """Start LocalStack and Postgres side by side and wait until both are ready; attach them to their front.

        Args:
            space: The run that they belong to; closing it ends them whatever happened.
            order: How.

        Raises:
            UsageError: When Postgres does not accept ``max_connections``.
            HarnessError: When a part cannot be installed or started; the other one is stopped then.
        """
