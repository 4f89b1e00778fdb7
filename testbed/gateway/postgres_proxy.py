"""A proxy in front of Postgres that reads the protocol: it holds round trips back, and sees what became of them.

It also is the network before Postgres, which can be cut: see `PostgresProxy.cut`.
"""

import asyncio
import os
import socket
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Final, cast

from testbed.chaos.call import Call, Decision
from testbed.gateway.postgres_wire import (
    COMMAND_COMPLETE,
    ERROR_RESPONSE,
    READY_FOR_QUERY,
    ClientReader,
    Identities,
    Packet,
    PacketKind,
    ProtocolError,
    ServerReader,
    database_of,
    digest,
    error_fields,
    inserted_rows,
    user_of,
)
from testbed.gateway.reset import reset_on_close

_NO_ENCRYPTION: Final = b"N"
_PROTOCOL_VIOLATION: Final = "08P01"


class PostgresProxy:
    """Passes sessions on to Postgres, holds their round trips back as told, and journals what happens in them.

    Bytes are never changed, and their order within a session is kept. Encryption is refused, as by a server without
    it. A client that is gone while its round trip is held back does not take that back: it was on its way already.
    Sessions of ``admin`` are the testbed's own: they pass without delay, and are neither journaled nor counted.

    Attributes:
        upstream: Host and port of Postgres; see `move`.
        admin: Name of the superuser.
        port: Where the proxy listens on loopback, once it does.
        open_sessions: Sessions that Postgres has accepted and not yet closed: each holds one of its connections.
        peak_sessions: The most of them at a time since the last `reset`.
        inserted: Rows that INSERT commands reported since then. A transaction that is rolled back later was counted.
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
            decide: What happens to a call; `Schedule.decide`. Of a decision only the delay counts here.
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
        self.sleep = sleep
        self._decide = decide
        self._record = record
        self._clock = clock
        self._seen: Counter[str] = Counter()
        self._sessions: set[_Session] = set()
        self._all_ended = asyncio.Event()
        self._mended = asyncio.Event()
        self._mended.set()
        self._frozen: list[_Frozen] = []
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listens on a free port of the loopback interface, or where it is told, and returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), host, port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def stop(self) -> None:
        """Stops listening and cuts the sessions that are left."""
        if self._server is not None:
            self._server.close()
        self.mend()
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
        self._frozen = [session.freeze() for session in tuple(self._sessions)]

    def mend(self) -> None:
        """Ends a cut: frozen sessions are reset on both sides; who connected meanwhile, and still waits, goes on."""
        self._mended.set()
        frozen, self._frozen = self._frozen, []
        for session in frozen:
            for connection in session.connections:
                reset_on_close(connection)
                connection.close()
            if session.accepted:
                self.open_sessions -= 1
                self.note("reset", message="the connection to Postgres was cut")

    async def mended(self) -> None:
        """Waits for the end of a cut."""
        await self._mended.wait()

    def reset(self) -> None:
        """Begins anew for the next run: attempts, inserted rows and the peak; open sessions stay open."""
        self._seen.clear()
        self.inserted = 0
        self.peak_sessions = self.open_sessions

    def delay_of(self, operation: str, database: str, identity: str) -> float:
        """Seconds to hold back a round trip; counts it as one more attempt of its identity."""
        self._seen[identity] += 1
        call = Call("postgres", operation, database, "client", identity, self._seen[identity], self._clock())
        decision = self._decide(call)
        return 0.0 if decision is None else decision.delay

    def began(self, session: "_Session") -> None:
        """A client has connected to the proxy."""
        self._sessions.add(session)
        self._all_ended.clear()

    def ended(self, session: "_Session") -> None:
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


@dataclass(frozen=True, slots=True)
class _Frozen:
    """What is left of a session in a cut.

    Attributes:
        connections: To the client and to Postgres, those that are open.
        accepted: Whether it counts as an open session.
    """

    connections: Sequence[socket.socket]
    accepted: bool


class _Session(asyncio.Protocol):
    """One client and its connection to Postgres; as a protocol, the client's side of it.

    Packets pass one after the other. While one is held back (delayed, or waiting for the connection to Postgres),
    the next ones queue, and the client is not read from. In a cut it is, so that one that gives up is noticed: it is
    new then, as older sessions are frozen, and has sent nothing that counts.

    Attributes:
        observed: Whether it is the business of faults and journal: it is not the testbed's own.
        upstream: Host and port of its Postgres, once it has called there.
    """

    def __init__(self, proxy: PostgresProxy) -> None:
        self.observed = True
        self.upstream: tuple[str, int] | None = None
        self._proxy = proxy
        self._reader = ClientReader()
        self._identities = Identities()
        self._packets: deque[Packet] = deque()
        self._held: asyncio.Task[None] | None = None
        self._client: asyncio.Transport | None = None
        self._server = _ServerSide(self, proxy)
        self._client_done = False
        self._database = ""

    # What the event loop tells about the client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client = cast("asyncio.Transport", transport)
        self._proxy.began(self)
        if self._proxy.is_cut:
            self._hold(self._proxy.mended())

    def data_received(self, data: bytes) -> None:
        try:
            self._packets.extend(self._reader.feed(data))
        except ProtocolError as error:
            self._proxy.note("error", _PROTOCOL_VIOLATION, str(error))
            self.reset()
            return
        self._advance()

    def eof_received(self) -> bool:
        if self._proxy.is_cut:
            return False  # it gave up: Postgres never hears of it
        self._client_done = True
        self._advance()
        return True  # the answers to what was sent still go back

    def connection_lost(self, exc: Exception | None) -> None:
        self._client = None
        if self._held is not None:
            self._held.cancel()
        self._server.close(reset=exc is not None)
        self._end_if_over()

    def pause_writing(self) -> None:
        self._server.pause_reading()

    def resume_writing(self) -> None:
        self._server.resume_reading()

    # What the server's side tells

    def answer(self, data: bytes) -> None:
        """Passes bytes of the server on."""
        if self._client is not None:
            self._client.write(data)

    def server_lost(self, exc: Exception | None) -> None:
        """Postgres has ended the session, or the connection to it broke."""
        if self._client is not None:
            _close(self._client, reset=exc is not None)
        self._end_if_over()

    def reset(self) -> None:
        """Breaks both connections off."""
        self._server.close(reset=True)
        if self._client is not None:
            _close(self._client, reset=True)

    def freeze(self) -> _Frozen:
        """Ends the session here, while its connections stay open as they are, and neither side hears of it."""
        client, self._client = self._client, None
        frozen = _Frozen([_detached(each) for each in (client, self._server.give_up()) if each], self._server.accepted)
        self._end_if_over()
        return frozen

    def regulate(self) -> None:
        """Reads from the client only while its bytes can go on."""
        if self._client is None or self._client_done:
            return
        if (self._held is not None and not self._proxy.is_cut) or self._server.full:
            self._client.pause_reading()
        else:
            self._client.resume_reading()

    # Packets, one after the other

    def _advance(self) -> None:
        while self._packets and self._held is None:
            self._pass_on(self._packets.popleft())
        if self._client_done and self._held is None:
            self._finish()
        self.regulate()

    def _pass_on(self, packet: Packet) -> None:
        match packet.kind:
            case PacketKind.FLOWING:
                self._server.write(packet.data)
            case PacketKind.ROUND_TRIP:
                self._pass_round_trip(packet.data)
            case PacketKind.STARTUP:
                self._hold(self._open(packet.data))
            case PacketKind.ENCRYPTION:
                self.answer(_NO_ENCRYPTION)
            case PacketKind.CANCEL:
                self._hold(self._cancel(packet.data))

    def _pass_round_trip(self, data: bytes) -> None:
        delay = self._proxy.delay_of("Query", self._database, self._identities.of(data)) if self.observed else 0.0
        if delay > 0:
            self._hold(self._write_later(delay, data))
        else:
            self._server.write(data)

    def _finish(self) -> None:
        """The client has sent all it will send."""
        if self._server.connected:
            self._server.write_eof()
        elif self._client is not None:
            self._client.close()

    def _hold(self, work: Coroutine[None, None, None]) -> None:
        """Lets no packet overtake ``work``."""

        async def held() -> None:
            await work
            self._held = None
            self._advance()

        self._held = asyncio.get_running_loop().create_task(held())
        self._held.add_done_callback(lambda _: work.close())  # it may have been cancelled before it began

    async def _write_later(self, delay: float, data: bytes) -> None:
        await self._proxy.sleep(delay)
        self._server.write(data)

    async def _open(self, startup: bytes) -> None:
        self._database = database_of(startup)
        self.observed = user_of(startup) != self._proxy.admin
        if self.observed and (delay := self._proxy.delay_of("Connect", self._database, digest(startup))) > 0:
            await self._proxy.sleep(delay)
        self.upstream = self._proxy.upstream
        try:
            await asyncio.get_running_loop().create_connection(lambda: self._server, *self.upstream)
        except OSError as error:
            if self.observed:
                self._proxy.note("refused", message=f"Postgres cannot be reached: {error}")
            self.reset()
        except asyncio.CancelledError:
            self._server.give_up()  # the loop closes what it has opened; uvloop does not tell, if that just happened
            self._end_if_over()
            raise
        self._server.write(startup)

    async def _cancel(self, request: bytes) -> None:
        """Passes a cancel request on; the client takes the end of its connection for the server's having seen it."""
        try:
            reader, writer = await asyncio.open_connection(*self._proxy.upstream)
            try:
                writer.write(request)
                await reader.read()
            finally:
                writer.close()
        except OSError:
            self.reset()  # so the client knows that it did not work
        else:
            self._finish()

    def _end_if_over(self) -> None:
        if self._client is None and not self._server.connected:
            self._proxy.ended(self)


class _ServerSide(asyncio.Protocol):
    """The connection to Postgres of one session.

    Attributes:
        full: Postgres takes no more bytes for now.
        accepted: Postgres has accepted the session, which is counted.
    """

    def __init__(self, session: _Session, proxy: PostgresProxy) -> None:
        self.full = False
        self.accepted = False
        self._session = session
        self._proxy = proxy
        self._reader = ServerReader()
        self._transport: asyncio.Transport | None = None

    @property
    def connected(self) -> bool:
        """Whether the connection exists."""
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._session.observed:
            try:
                messages = self._reader.feed(data)
            except ProtocolError as error:
                self._proxy.note("error", _PROTOCOL_VIOLATION, str(error))
                self._session.reset()
                return
            for kind, body in messages:
                self._read(kind, body)
        self._session.answer(data)

    def _read(self, kind: int, body: bytes) -> None:
        if kind == COMMAND_COMPLETE:
            self._proxy.command_completed(body)
        elif kind == ERROR_RESPONSE:
            sqlstate, message = error_fields(body)
            self._proxy.note("error" if self.accepted else "refused", sqlstate, message)
        elif kind == READY_FOR_QUERY and not self.accepted:
            self.accepted = True
            self._proxy.opened()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is None:
            return  # given up
        self._transport = None
        if self.accepted:
            self._proxy.closed()
        self._session.server_lost(exc)

    def pause_writing(self) -> None:
        self.full = True
        self._session.regulate()

    def resume_writing(self) -> None:
        self.full = False
        self._session.regulate()

    def write(self, data: bytes) -> None:
        """Sends bytes to Postgres; drops them where the connection is gone."""
        if self._transport is not None:
            self._transport.write(data)

    def write_eof(self) -> None:
        """Tells Postgres that the client sends no more."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def pause_reading(self) -> None:
        """The client takes no more bytes for now."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """The client takes bytes again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self, *, reset: bool) -> None:
        """Ends the connection."""
        if self._transport is not None:
            _close(self._transport, reset=reset)

    def give_up(self) -> asyncio.Transport | None:
        """Takes no more notice of the connection, and hands it over."""
        transport, self._transport = self._transport, None
        return transport


def _close(transport: asyncio.Transport, *, reset: bool) -> None:
    """Closes a connection after what is still to be sent, or resets it as the other end of the session was."""
    if reset:
        reset_on_close(transport.get_extra_info("socket"))
        transport.abort()
    else:
        transport.close()


def _detached(transport: asyncio.Transport) -> socket.socket:
    """The connection alone, of which the event loop knows nothing any more; what was still to be sent is dropped.

    A connection ends with the last descriptor of it: the transport closes its own without a word to the other end.
    """
    connection = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    transport.abort()
    return connection
