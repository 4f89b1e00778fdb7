"""A proxy in front of Postgres that reads the protocol: round trips suffer faults, and it sees what became of them.

It also is the network before Postgres, which can be cut: see `PostgresProxy.cut`.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from testbed.chaos.call import Call, Decision
from testbed.gateway.postgres.server_side import Frozen
from testbed.gateway.postgres.session import Session
from testbed.gateway.postgres.wire import inserted_rows


class PostgresProxy:
    """Passes sessions on to Postgres as the faults that hit them have it, and journals what happens in them.

    Where no fault says otherwise bytes are never changed, and their order within a session is kept. Encryption is
    refused, as by a server without it. A client that is gone while its round trip is held back does not take that back:
    it was on its way already.
    Sessions of ``admin`` are the testbed's own: they pass without delay, and are neither journaled nor counted.

    Attributes:
        upstream: Host and port of Postgres; see `move`.
        admin: Name of the superuser.
        port: Where the proxy listens on loopback, once it does.
        open_sessions: Sessions that Postgres has accepted and not yet closed: each holds one of its connections.
        peak_sessions: The most of them at a time since the last `reset`.
        inserted: Rows that INSERT commands reported since then. A transaction that is rolled back later was counted.
        held: Round trips that faults hold back now and will let through, whatever has become of the client.
    """

    def __init__(
        self,
        upstream: tuple[str, int],
        decide: Callable[[Call], Decision | None],
        record: Callable[..., None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        *,
        admin: str,
    ) -> None:
        """Prepares the proxy; `start` opens it.

        Args:
            upstream: Host and port of Postgres.
            decide: What happens to a call; `Schedule.decide`.
            record: Takes events: ``record("postgres", event=..., sqlstate=..., message=..., trace=None, open=...)``,
                and ``rows`` for an insert.
            clock: Seconds since the start of the traffic.
            sleep: Waits so many seconds.
            admin: Name of the superuser.
        """
        self.upstream = upstream
        self.admin = admin
        self.port = 0
        self.open_sessions = 0
        self.peak_sessions = 0
        self.inserted = 0
        self.held = 0
        self.sleep = sleep
        self._decide = decide
        self._record = record
        self._clock = clock
        self._seen: Counter[str] = Counter()
        self._sessions: set[Session] = set()
        self._all_ended = asyncio.Event()
        self._mended = asyncio.Event()
        self._mended.set()
        self._cut: list[Frozen] = []
        self._black_holes: dict[Frozen, asyncio.TimerHandle] = {}
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listens on a free port of the loopback interface, or where it is told, and returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Session(self), host, port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def stop(self) -> None:
        """Stops listening and cuts the sessions that are left."""
        if self._server is not None:
            self._server.close()
        self.mend()
        self._end_black_holes()
        for session in tuple(self._sessions):
            session.reset()
        if self._sessions:
            await self._all_ended.wait()

    def move(self, upstream: tuple[str, int], admin: str) -> None:
        """Postgres is here now; sessions with another address are reset, as nobody is there any more."""
        for session in tuple(self._sessions):
            if session.upstream not in (None, upstream):
                session.reset()
        self.upstream, self.admin = upstream, admin

    @property
    def is_cut(self) -> bool:
        """Whether nothing passes; see `cut`."""
        return not self._mended.is_set()

    def cut(self) -> None:
        """Lets no byte through from now on, until `mend`; does nothing where it is so already.

        Sessions freeze: their connections stay open on both sides, whatever the other side does. So Postgres keeps
        their slots, even those of clients that give up. Clients that connect now are accepted and get no answer.
        """
        if self.is_cut:
            return
        self._mended.clear()
        self._cut = [session.freeze() for session in tuple(self._sessions)]

    def mend(self) -> None:
        """Ends a cut: frozen sessions are reset on both sides; who connected meanwhile, and still waits, goes on."""
        self._mended.set()
        frozen, self._cut = self._cut, []
        for session in frozen:
            self._thaw(session)

    def swallow(self, session: Session, seconds: float) -> None:
        """Freezes one session, as `cut` does with all, for so many seconds."""
        frozen = session.freeze()
        self._black_holes[frozen] = asyncio.get_running_loop().call_later(seconds, self._come_back, frozen)

    def _end_black_holes(self) -> None:
        for frozen in tuple(self._black_holes):
            self._come_back(frozen)

    def _come_back(self, frozen: Frozen) -> None:
        self._black_holes.pop(frozen).cancel()
        self._thaw(frozen)

    def _thaw(self, frozen: Frozen) -> None:
        frozen.reset()
        if frozen.accepted:
            self.open_sessions -= 1
            self.note("reset", message="the connection to Postgres was cut")

    @contextmanager
    def holding(self, executes: bool) -> Iterator[None]:
        """A round trip is held back while the context is open; it counts where it ``executes`` then."""
        self.held += executes
        try:
            yield
        finally:
            self.held -= executes

    async def mended(self) -> None:
        """Waits for the end of a cut."""
        await self._mended.wait()

    def reset(self) -> None:
        """Begins anew for the next run: attempts, inserted rows and the peak.

        Open sessions stay open; those that are silent since `swallow` end.
        """
        self._end_black_holes()
        self._seen.clear()
        self.inserted = 0
        self.peak_sessions = self.open_sessions

    def decide(self, operation: str, database: str, identity: str) -> Decision | None:
        """What happens to a round trip; counts it as one more attempt of its identity."""
        self._seen[identity] += 1
        return self._decide(
            Call("postgres", operation, database, "client", identity, self._seen[identity], self._clock())
        )

    def began(self, session: Session) -> None:
        """A client has connected to the proxy."""
        self._sessions.add(session)
        self._all_ended.clear()

    def ended(self, session: Session) -> None:
        """Both ends of the session are closed."""
        self._sessions.discard(session)
        if not self._sessions:
            self._all_ended.set()

    def opened(self) -> None:
        """Postgres has accepted a session."""
        self.open_sessions += 1
        self.peak_sessions = max(self.peak_sessions, self.open_sessions)
        self.note("connect")

    def closed(self) -> None:
        """A session that Postgres had accepted is over."""
        self.open_sessions -= 1
        self.note("close")

    def note(self, event: str, sqlstate: str | None = None, message: str | None = None, **more: object) -> None:
        """Journals an event."""
        self._record(
            "postgres", event=event, sqlstate=sqlstate, message=message, trace=None, open=self.open_sessions, **more
        )

    def command_completed(self, tag: bytes) -> None:
        """A command of some session succeeded."""
        rows = inserted_rows(tag)
        if rows:
            self.inserted += rows
            self.note("insert", rows=rows)
