"""Connections that are hogged and locks that are held, in a real Postgres."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from typing import Any, NoReturn

import psycopg
import pytest
from postgres_server import Server, postgres

from testbed.chaos.faults.database_busy import ConnectionsHogged, LockHeld
from testbed.errors import UsageError

ORDINARY = 5  # connections that the server has for ordinary users


class Database:
    """A world with a database alone."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.opened = 0
        self.taken_from = ORDINARY + 1  # from this connection on, somebody else is faster

    def part(self, name: str) -> NoReturn:
        raise AssertionError(name)

    async def aws(self, service: str, operation: str, **parameters: Any) -> NoReturn:
        raise AssertionError(service, operation, parameters)

    def connect(self, *, admin: bool) -> AbstractAsyncContextManager[Any]:
        return self._connect("postgres" if admin else "app")

    @asynccontextmanager
    async def _connect(self, user: str) -> AsyncIterator[Any]:
        self.opened += user == "app"
        with ExitStack() as others:
            if self.opened == self.taken_from and user == "app":
                self.taken_from = 0
                for _ in range(free(self.server)):
                    others.enter_context(psycopg.connect(self.server.dsn(user="app")))
            async with await psycopg.AsyncConnection.connect(self.server.dsn(user=user), autocommit=True) as connection:
                yield connection


@pytest.fixture
def database(postgres_server: Server) -> Iterator[Database]:
    """With an ordinary user ``app`` and a table ``orders``; afterwards no connection may be left."""
    with psycopg.connect(postgres_server.dsn(), autocommit=True) as direct:
        direct.execute("DROP TABLE IF EXISTS orders")
        direct.execute("CREATE TABLE orders (id text, quantity int)")
        direct.execute("CREATE ROLE app LOGIN")
        direct.execute("GRANT ALL ON orders TO app")
    yield Database(postgres_server)
    all_closed(postgres_server)
    with psycopg.connect(postgres_server.dsn(), autocommit=True) as direct:
        direct.execute("DROP OWNED BY app")
        direct.execute("DROP ROLE app")


def all_closed(server: Server) -> None:
    """Wait until Postgres has ended the sessions of the ordinary user, a moment after they were closed."""
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"
    deadline = time.monotonic() + 5
    with psycopg.connect(server.dsn(), autocommit=True) as direct:
        while direct.execute(sessions).fetchone() != (0,):
            assert time.monotonic() < deadline, "a connection is left"
            time.sleep(0.01)


def free(server: Server) -> int:
    """How many connections an ordinary user gets now."""
    with ExitStack() as held:
        for opened in range(ORDINARY + 1):
            try:
                held.enter_context(psycopg.connect(server.dsn(user="app")))
            except psycopg.OperationalError as error:
                assert "remaining connection slots are reserved" in str(error)  # noqa: PT017 - any other is a failure
                return opened
    raise AssertionError("there is no limit")


def can_write(server: Server, statement: str = "INSERT INTO orders VALUES ('a', 1)") -> bool:
    """Whether an ordinary user need not wait."""
    with psycopg.connect(server.dsn(user="app"), autocommit=True) as connection:
        connection.execute("SET lock_timeout = '100ms'")
        try:
            connection.execute(statement)
        except psycopg.errors.LockNotAvailable:
            return False
        return True


@pytest.mark.parametrize("left", [0, 2])
async def test_as_many_connections_are_left_as_it_says(database: Database, left: int) -> None:
    """The administrator still gets in, and all are free again afterwards."""
    async with ConnectionsHogged(at=0, seconds=1, left=left).happening(database) as happens:
        assert (free(database.server), happens) == (left, True)
        psycopg.connect(database.server.dsn()).close()
    all_closed(database.server)
    assert free(database.server) == ORDINARY


async def test_connections_of_others_are_not_taken_away(database: Database) -> None:
    """Where fewer are free than it would leave it takes none."""
    with ExitStack() as others:
        for _ in range(3):
            others.enter_context(psycopg.connect(database.server.dsn(user="app")))
        async with ConnectionsHogged(at=0, seconds=1, left=4).happening(database) as happens:
            assert (database.opened, happens) == (0, False)


async def test_somebody_who_is_faster_is_no_error(database: Database) -> None:
    """A function that connects while they are taken has its connection, and the fault happens all the same."""
    database.taken_from = 3
    async with ConnectionsHogged(at=0, seconds=1).happening(database) as happens:
        assert (database.opened, happens) == (3, True)


async def test_where_others_take_all_nothing_was_hogged(database: Database) -> None:
    """The connections are gone, but it is not the fault that has them."""
    database.taken_from = 1
    async with ConnectionsHogged(at=0, seconds=1).happening(database) as happens:
        assert (database.opened, happens) == (1, False)


async def test_who_writes_to_a_locked_table_waits(database: Database) -> None:
    """Reading goes on; once the lock is gone all does."""
    async with LockHeld(at=0, seconds=1, table="orders").happening(database) as happens:
        assert happens
        assert not can_write(database.server)
        assert can_write(database.server, "SELECT * FROM orders")
    assert can_write(database.server)


async def test_a_stronger_lock_keeps_readers_off_too(database: Database) -> None:
    """In a mode of Postgres's, on a table of a schema."""
    async with LockHeld(at=0, seconds=1, table="public.orders", mode="ACCESS EXCLUSIVE").happening(database):
        assert not can_write(database.server, "SELECT * FROM orders")


async def test_a_lock_that_it_does_not_get_was_not_held(database: Database) -> None:
    """Somebody else has the table all the time; it gives up when its own is over."""
    with psycopg.connect(database.server.dsn()) as other:
        other.execute("LOCK TABLE orders")
        async with LockHeld(at=0, seconds=0.05, table="orders").happening(database) as happens:
            assert not happens
    assert can_write(database.server)


async def test_a_lock_ends_early_where_postgres_goes() -> None:
    """A kill in the middle is no error of the lock's: nothing of it is left."""
    with postgres(max_connections=8) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as direct:
            direct.execute("CREATE TABLE orders (id text)")
            direct.execute("CREATE ROLE app LOGIN")
        async with (
            ConnectionsHogged(at=0, seconds=1).happening(Database(server)),
            LockHeld(at=0, seconds=1, table="orders").happening(Database(server)),
        ):
            with psycopg.connect(server.dsn(), autocommit=True) as direct:
                direct.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


def test_refuses_what_makes_no_sense() -> None:
    """A mode that Postgres does not have, a negative number."""
    with pytest.raises(UsageError, match="EXCLUSIVELY"):
        LockHeld(at=0, seconds=1, table="orders", mode="EXCLUSIVELY")
    with pytest.raises(UsageError, match="left=-1"):
        ConnectionsHogged(at=0, seconds=1, left=-1)
