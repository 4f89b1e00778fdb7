"""The Postgres proxy between a real client and a real Postgres, on an event loop in a thread of its own."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from postgres_server import Server

from testbed.chaos.call import Call, Decision, Injection
from testbed.chaos.fault import Fault
from testbed.chaos.schedule import Schedule
from testbed.gateway.postgres.proxy import PostgresProxy

T = TypeVar("T")
WORDS = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0"
STARTUP = struct.pack("!I", len(WORDS) + 4) + WORDS
PATIENCE = 20.0  # seconds until a test gives up on what should happen at once


class Harness:
    """A proxy on an event loop in a thread of its own, as in the data plane: clients never share its loop."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.loop = loop
        self.events: list[dict[str, Any]] = []
        self.calls: list[Call] = []
        self.slept: list[float] = []
        self.injection: Injection | None = None
        self.schedule: Schedule | None = None
        self.gate: asyncio.Event | None = None  # where set, a held packet waits for it
        self._changed = threading.Condition()
        self.proxy = PostgresProxy(
            (server.host, server.port), self._decide, self._record, lambda: 7.5, self._sleep, admin="boss"
        )
        self.port = self.run(self.proxy.start())

    def run(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self.loop).result(PATIENCE)

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.dsn(self.port), **{"autocommit": True, **options})

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits for something that an event, a decision or a held packet brings about."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), (self.events, self.calls)

    def wait_for_event(self, name: str) -> dict[str, Any]:
        self.wait_until(lambda: any(event["event"] == name for event in list(self.events)))
        return next(event for event in self.events if event["event"] == name)

    def cut(self) -> None:
        """Cuts Postgres off."""
        self.loop_does(self.proxy.cut)

    def mend(self) -> None:
        """Ends the cut."""
        self.loop_does(self.proxy.mend)

    def loop_does(self, work: Callable[[], None]) -> None:
        async def done() -> None:
            work()

        self.run(done())

    def release(self) -> None:
        assert self.gate is not None
        self.loop.call_soon_threadsafe(self.gate.set)

    def arm(self, *faults: Fault, seed: int = 1) -> Schedule:
        """Let faults act from now on."""
        self.schedule = Schedule(faults, seed)
        return self.schedule

    def _decide(self, call: Call) -> Decision | None:
        self._note(self.calls, call)
        if self.schedule:
            return self.schedule.decide(call)
        return Decision((self.injection,)) if self.injection else None

    def _record(self, hop: str, **fields: Any) -> None:
        assert hop == "postgres"
        self._note(self.events, fields)

    async def _sleep(self, seconds: float) -> None:
        self._note(self.slept, seconds)
        if self.gate is not None:
            await self.gate.wait()

    def _note(self, where: list[T], what: T) -> None:
        with self._changed:
            where.append(what)
            self._changed.notify_all()


@contextmanager
def running(loop: asyncio.AbstractEventLoop) -> Iterator[asyncio.AbstractEventLoop]:
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


async def tasks_left() -> set[asyncio.Task[Any]]:
    """What still runs on the loop beside this question."""
    this = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not this and task.get_coro().__name__ != "awaited"}


def rows(server: Server) -> int:
    """Rows in the table, asked past the proxy."""
    with psycopg.connect(server.dsn()) as direct:
        (count,) = direct.execute("SELECT count(*) FROM orders").fetchone() or (None,)
        assert isinstance(count, int)
        return count


def query(text: str) -> bytes:
    """A simple query on the wire."""
    return b"Q" + struct.pack("!I", len(text) + 5) + text.encode() + b"\0"


def raw_session(harness: Harness) -> socket.socket:
    """A client without a driver, logged in."""
    client = socket.create_connection(("127.0.0.1", harness.port), PATIENCE)
    client.sendall(STARTUP)
    received = b""
    while b"Z\0\0\0\x05I" not in received:
        received += client.recv(4096)
    return client


def events_of(harness: Harness) -> list[str]:
    return [event["event"] for event in harness.events]


SILENCE = 0.3  # seconds for which nothing happens


def is_silent(client: socket.socket) -> bool:
    """Whether nothing comes: no byte, no end, no reset."""
    client.settimeout(SILENCE)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(PATIENCE)
    return False


def is_reset(client: socket.socket) -> bool:
    """Whether the connection breaks off, without a byte before."""
    try:
        client.recv(1)
    except ConnectionResetError:
        return True
    return False


def backends(server: Server) -> int:
    """Sessions of clients that Postgres has, but the one that asks."""
    with psycopg.connect(server.dsn()) as direct:
        (count,) = direct.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone() or (None,)
        assert isinstance(count, int)
        return count


def wait_for_backends(server: Server, count: int) -> None:
    """Postgres has so many sessions, soon."""
    deadline = time.monotonic() + PATIENCE
    while backends(server) != count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def until_no_session(harness: Harness) -> None:
    """The proxy has noticed that its clients are gone."""
    while harness.proxy._sessions:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)


def empty_orders(server: Server) -> None:
    """An empty table ``orders``."""
    with psycopg.connect(server.dsn(), autocommit=True) as direct:
        direct.execute("DROP TABLE IF EXISTS orders")
        direct.execute("CREATE TABLE orders (id text, quantity int)")
