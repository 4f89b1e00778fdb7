"""What an engine is, however it runs."""

from dataclasses import dataclass
from typing import Protocol

from testbed.engine.postgres import Postgres
from testbed.errors import EngineDiedError


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


class Engine(Protocol):
    """LocalStack and Postgres, running.

    Attributes:
        localstack_url: LocalStack's own address; everybody but the gateway talks to the gateway.
        postgres: The database server.
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

    async def died(self) -> EngineDiedError:
        """Wait until a part dies; which one, how, and the end of its log. Noticed within a second."""

    async def stop(self) -> None:
        """Stop all parts at once; they are throw-away."""
