"""A database that somebody else uses up: its connections, or the table that everybody writes to."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from testbed.chaos.timed import TimedFault, World


@dataclass(frozen=True, kw_only=True)
class ConnectionsHogged(TimedFault):
    """Somebody else holds connections to Postgres, so that fewer are left for the functions.

    Attributes:
        left: How many an ordinary user can still open; fewer where others hold them already.

    Raises:
        UsageError: A field makes no sense.
    """

    left: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.left < 0:
            raise self.refused(f"left={self.left} is negative")

    def happening(self, world: World) -> AbstractAsyncContextManager[None]:
        """They are held while the context is open."""
        return self._happening(world)

    @asynccontextmanager
    async def _happening(self, world: World) -> AsyncIterator[None]:
        async with AsyncExitStack() as held:
            admin = await held.enter_async_context(world.connect(admin=True))
            for _ in range(await _free(admin) - self.left):
                await held.enter_async_context(world.connect(admin=False))
            yield


@dataclass(frozen=True, kw_only=True)
class LockHeld(TimedFault):
    """A transaction of somebody else's holds a lock on a table, as a migration does: who writes there waits.

    Attributes:
        table: Its name.
        mode: Postgres's lock mode (PostgreSQL documentation, Explicit Locking).

    Raises:
        UsageError: A field makes no sense.
    """

    table: str
    mode: str = "EXCLUSIVE"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mode.replace(" ", "").isalpha():
            raise self.refused(f"mode={self.mode!r} is no lock mode")

    def happening(self, world: World) -> AbstractAsyncContextManager[None]:
        """It is held while the context is open."""
        return self._happening(world)

    @asynccontextmanager
    async def _happening(self, world: World) -> AsyncIterator[None]:
        from psycopg import sql  # noqa: PLC0415 - the data plane reads faults too, and needs none

        async with world.connect(admin=True) as admin:
            statement = sql.SQL("LOCK TABLE {} IN " + self.mode + " MODE").format(sql.Identifier(self.table))
            async with admin.transaction():
                await admin.execute(statement)
                yield


async def _free(admin: Any) -> int:
    """How many connections an ordinary user can still open."""
    cursor = await admin.execute(
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        " - current_setting('reserved_connections', true)::int"
        " - (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend')"
    )
    (free,) = await cursor.fetchone()
    return int(free)
