"""One session of a client with Postgres, packet by packet, as the faults that hit it let it pass."""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Final, cast

from testbed.chaos.faults.sql_error import SqlState
from testbed.gateway.postgres.hit import Hit
from testbed.gateway.postgres.server_side import Frozen, ServerSide, close_or_reset, detached
from testbed.gateway.postgres.statements import Statements
from testbed.gateway.postgres.wire import (
    PROTOCOL_VIOLATION,
    ClientReader,
    Packet,
    PacketKind,
    ProtocolError,
    database_of,
    digest,
    error_response,
    user_of,
)

if TYPE_CHECKING:
    from testbed.gateway.postgres.proxy import PostgresProxy

_NO_ENCRYPTION: Final = b"N"


class Session(asyncio.Protocol):
    """One client and its connection to Postgres; as a protocol, the client's side of it.

    Packets pass one after the other. While one is held back (delayed, or waiting for the connection to Postgres),
    the next ones queue, and the client is not read from. In a cut it is, so that one that gives up is noticed: it is
    new then, as older sessions are frozen, and has sent nothing that counts.

    Attributes:
        observed: Whether it is the business of faults and journal: it is not the testbed's own.
        upstream: Host and port of its Postgres, once it has called there.
        flows: Whether what flows passes although a packet is held back, see `let_flow`.
    """

    def __init__(self, proxy: "PostgresProxy") -> None:
        self.observed = True
        self.upstream: tuple[str, int] | None = None
        self._proxy = proxy
        self._reader = ClientReader()
        self._statements = Statements()
        self._packets: deque[Packet] = deque()
        self._held: asyncio.Task[None] | None = None
        self.flows = False
        self._client: asyncio.Transport | None = None
        self._server = ServerSide(self, proxy)
        self._client_done = False
        self._database = ""

    # What the event loop tells about the client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._client = cast("asyncio.Transport", transport)
        self._proxy.began(self)
        if self._proxy.is_cut:
            self._hold(self._proxy.mended())

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        try:
            self._packets.extend(self._reader.feed(data))
        except ProtocolError as error:
            self._proxy.note("error", PROTOCOL_VIOLATION, str(error))
            self.reset()
            return
        self._advance()

    def eof_received(self) -> bool:
        """The client sends no more."""
        if self._proxy.is_cut:
            return False  # it gave up: Postgres never hears of it
        self._client_done = True
        self._advance()
        return True  # the answers to what was sent still go back

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._client = None
        if self._held is not None:
            self._held.cancel()
        self._server.close(reset=exc is not None)
        self._end_if_over()

    def pause_writing(self) -> None:
        """The client takes no more bytes for now."""
        self._server.pause_reading()

    def resume_writing(self) -> None:
        """The client takes bytes again."""
        self._server.resume_reading()

    # What the server's side tells

    def answer(self, data: bytes) -> None:
        """Passes bytes of the server on."""
        if self._client is not None:
            self._client.write(data)

    def server_lost(self, exc: Exception | None) -> None:
        """Postgres has ended the session, or the connection to it broke."""
        if self._client is not None:
            close_or_reset(self._client, reset=exc is not None)
        self._end_if_over()

    def reset(self) -> None:
        """Breaks both connections off."""
        self._packets.clear()
        self._server.close(reset=True)
        if self._client is not None:
            close_or_reset(self._client, reset=True)

    def freeze(self) -> Frozen:
        """Ends the session here, while its connections stay open as they are, and neither side hears of it."""
        self._packets.clear()
        client, self._client = self._client, None
        frozen = Frozen([detached(each) for each in (client, self._server.give_up()) if each], self._server.accepted)
        self._end_if_over()
        return frozen

    def regulate(self) -> None:
        """Reads from the client only while its bytes can go on."""
        if self._client is None or self._client_done:
            return
        held = self._held is not None and not self.flows
        if (held and not self._proxy.is_cut) or self._server.full:
            self._client.pause_reading()
        else:
            self._client.resume_reading()

    # Packets, one after the other

    def _advance(self) -> None:
        while self._packets and self._may_pass(self._packets[0]):
            self._pass_on(self._packets.popleft())
        if self._client_done and self._held is None:
            self._finish()
        self.regulate()

    def _may_pass(self, packet: Packet) -> bool:
        return self._held is None or (self.flows and packet.kind is PacketKind.FLOWING)

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
        if not self.observed:
            self._server.write(data)
            return
        trip = self._statements.read(data)
        decision = self._proxy.decide(trip.operation, self._database, trip.identity)
        if decision is None:
            self._server.ask(trip.data)
        else:
            self._hold(Hit(decision, self, self._server, self._proxy).pass_on(trip))

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

    # What faults that hit a round trip need

    def let_flow(self) -> None:
        """From now on what flows passes, although a round trip is held back: its answer needs that."""
        self.flows = True
        asyncio.get_running_loop().call_soon(self._advance)

    def refuse(self, event: str, error: SqlState) -> None:
        """Ends the session with an error."""
        self._proxy.note(event, error.code, error.message)
        self._packets.clear()
        self.answer(error_response(error.code, error.message, fatal=True))
        if self._client is not None:
            self._client.close()

    # Opening, and cancelling

    async def _open(self, startup: bytes) -> None:
        self._database = database_of(startup)
        self.observed = user_of(startup) != self._proxy.admin
        decision = self._proxy.decide("Connect", self._database, digest(startup)) if self.observed else None
        hit = Hit(decision, self, self._server, self._proxy) if decision else None
        if hit is not None and not await hit.admits(startup):
            return
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
        if hit is None:
            self._server.write(startup)
        else:
            await hit.open(startup)

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
