"""A database that somebody else uses up: its connections, or the table that everybody writes to."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from testbed.chaos.timed import TimedFault, World

_NONE_LEFT: Final = "connection slots"  # as in "remaining connection slots are reserved ...", 53300
_MODES: Final = (
    "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ConnectionsHogged(TimedFault):
    """Somebody else holds connections to Postgres, so that fewer are left for the functions.

    They are taken when the fault begins: what a function closes after that is free again. Where no more than ``left``
    are free then it takes none, and has not fired.

    Attributes:
        left: How many an ordinary user can still open when it begins; fewer where others hold them already.

    Raises:
        UsageError: A field makes no sense.
    """

    left: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.left < 0:
            raise self.refused(f"left={self.left} is negative")

    @asynccontextmanager
    async def happening(self, world: World) -> AsyncIterator[bool]:
        """They are held while the context is open."""
        import psycopg  # noqa: PLC0415 - the data plane reads faults too, and needs none

        async with AsyncExitStack() as held:
            admin = await held.enter_async_context(world.connect(admin=True))
            taken = 0
            for _ in range(await _free(admin) - self.left):
                try:
                    await held.enter_async_context(world.connect(admin=False))
                except psycopg.OperationalError as error:
                    if _NONE_LEFT not in str(error):
                        raise
                    break  # others were faster
                taken += 1
            yield taken > 0


@dataclass(frozen=True, kw_only=True)
class LockHeld(TimedFault):
    """A transaction of somebody else's holds a lock on a table, as a migration does: who writes there waits.

    It waits itself for transactions that hold a lock already, and so may begin late; one that has waited for
    ``seconds`` gives up, and has not fired. It ends early where Postgres goes.

    Attributes:
        table: Its name, with its schema where that is not in the search path: ``"shop.orders"``.
        mode: Postgres's lock mode (PostgreSQL documentation, Explicit Locking), for example ``"ACCESS EXCLUSIVE"``:
            who reads there waits too.

    Raises:
        UsageError: There is no such mode.
    """

    table: str
    mode: str = "EXCLUSIVE"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in _MODES:
            raise self.refused(f"mode={self.mode!r} is none of {', '.join(_MODES)}")

    @asynccontextmanager
    async def happening(self, world: World) -> AsyncIterator[bool]:
        """It is held while the context is open."""
        from psycopg import errors, sql  # noqa: PLC0415 - the data plane reads faults too, and needs none

        statement = sql.SQL("LOCK TABLE {} IN " + self.mode + " MODE").format(sql.Identifier(*self.table.split(".")))
        async with world.connect(admin=True) as admin:
            try:
                await admin.execute("BEGIN")
                await admin.execute(f"SET LOCAL lock_timeout = {max(1, round(self.seconds * 1000))}")  # milliseconds
                try:
                    await admin.execute(statement)
                except errors.LockNotAvailable:
                    yield False
                else:
                    yield True
            finally:
                await admin.close()  # that ends the transaction, also where Postgres was killed meanwhile


async def _free(admin: Any) -> int:
    """How many connections an ordinary user can still open."""
    cursor = await admin.execute(
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        " - coalesce(current_setting('reserved_connections', true)::int, 0)"  # PostgreSQL 16 and later
        " - (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend')"
    )
    (free,) = await cursor.fetchone()
    return int(free)
