"""The connection to Postgres of one session, and what is left of a session whose bytes vanish."""

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from testbed.gateway.postgres.statements import FAILURE
from testbed.gateway.postgres.wire import (
    COMMAND_COMPLETE,
    ERROR_RESPONSE,
    FLUSH,
    PROTOCOL_VIOLATION,
    READY_FOR_QUERY,
    ProtocolError,
    ServerReader,
    WholeMessages,
    error_fields,
    message,
)
from testbed.gateway.reset import reset_on_close

if TYPE_CHECKING:
    from testbed.gateway.postgres.proxy import PostgresProxy
    from testbed.gateway.postgres.session import Session

_FLUSH: Final = message(FLUSH)


class ServerSide(asyncio.Protocol):
    """The connection to Postgres of one session.

    Attributes:
        full: Postgres takes no more bytes for now.
        accepted: Postgres has accepted the session, which is counted.
        skips: There was an error, and Postgres skips what comes until the next sync.
        status: Of the last transaction, as in ReadyForQuery: idle, in a block, in one that has failed.
    """

    def __init__(self, session: "Session", proxy: "PostgresProxy") -> None:
        self.full = False
        self.accepted = False
        self.skips = False
        self.status = b""
        self._session = session
        self._proxy = proxy
        self._reader = ServerReader()
        self._transport: asyncio.Transport | None = None
        self._unanswered = 0  # so many more times will it be ready for a query
        self._whole: WholeMessages | None = None  # where the session listens
        self._heard: list[tuple[int, bytes]] = []
        self._news = asyncio.Event()
        self._client_full = False

    @property
    def connected(self) -> bool:
        """Whether the connection exists."""
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._session.observed:
            try:
                messages = self._reader.feed(data)
            except ProtocolError as error:
                self._proxy.note("error", PROTOCOL_VIOLATION, str(error))
                self._session.reset()
                return
            for kind, body in messages:
                self._read(kind, body)
        if self._whole is None:
            self._session.answer(data)
        else:
            self._heard += self._whole.feed(data)
            self._regulate()
        self._news.set()

    def _read(self, kind: int, body: bytes) -> None:
        if kind == COMMAND_COMPLETE:
            self._proxy.command_completed(body)
        elif kind == ERROR_RESPONSE:
            self.skips = True
            if FAILURE not in body:
                sqlstate, message = error_fields(body)
                self._proxy.note("error" if self.accepted else "refused", sqlstate, message)
        elif kind == READY_FOR_QUERY:
            self.skips, self.status = False, body
            self._unanswered = max(0, self._unanswered - 1)  # the end of a COPY may have a Sync that was not counted
            if not self.accepted:
                self.accepted = True
                self._proxy.opened()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        if self._transport is None:
            return  # given up
        self._transport = None
        if self.accepted:
            self._proxy.closed()
        self._session.server_lost(exc)

    def pause_writing(self) -> None:
        """Postgres takes no more bytes for now."""
        self.full = True
        self._session.regulate()

    def resume_writing(self) -> None:
        """Postgres takes bytes again."""
        self.full = False
        self._session.regulate()

    def write(self, data: bytes) -> None:
        """Sends bytes to Postgres; drops them where the connection is gone."""
        if self._transport is not None:
            self._transport.write(data)

    def ask(self, round_trip: bytes) -> None:
        """Sends a round trip."""
        self._unanswered += not round_trip.endswith(_FLUSH)
        self.write(round_trip)

    async def quiet(self) -> None:
        """Waits until Postgres has answered all that it was sent; what is not yet synchronized may still be open."""
        while self._unanswered or not self._reader.between_messages:
            self._news.clear()
            await self._news.wait()

    def listen(self) -> None:
        """From now on Postgres is `heard`, and what it sends does not go to the client. To be called when `quiet`."""
        self._whole = WholeMessages()

    async def heard(self) -> list[tuple[int, bytes]]:
        """Type and bytes of what Postgres sends next, some whole messages."""
        self._regulate()
        while not self._heard:
            self._news.clear()
            await self._news.wait()
        messages, self._heard = self._heard, []
        return messages

    def let_through(self) -> None:
        """What Postgres sends goes to the client again."""
        if self._whole is not None:
            rest, self._whole = self._whole.rest(), None
            messages, self._heard = self._heard, []
            self._session.answer(b"".join([*(data for _, data in messages), rest]))
        self._regulate()

    def write_eof(self) -> None:
        """Tells Postgres that the client sends no more."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def pause_reading(self) -> None:
        """The client takes no more bytes for now."""
        self._client_full = True
        self._regulate()

    def resume_reading(self) -> None:
        """The client takes bytes again."""
        self._client_full = False
        self._regulate()

    def _regulate(self) -> None:
        """Reads from Postgres only while its bytes can go on."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._client_full or self._heard:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self, *, reset: bool) -> None:
        """Ends the connection."""
        if self._transport is not None:
            close_or_reset(self._transport, reset=reset)

    def give_up(self) -> asyncio.Transport | None:
        """Takes no more notice of the connection, and hands it over."""
        transport, self._transport = self._transport, None
        return transport


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    """What is left of a session whose bytes vanish.

    Attributes:
        connections: To the client and to Postgres, those that are open.
        accepted: Whether it counts as an open session.
    """

    connections: Sequence[socket.socket]
    accepted: bool

    def reset(self) -> None:
        """Breaks the connections off."""
        for connection in self.connections:
            reset_on_close(connection)
            connection.close()


def close_or_reset(transport: asyncio.Transport, *, reset: bool) -> None:
    """Closes a connection after what is still to be sent, or resets it as the other end of the session was."""
    if reset:
        reset_on_close(transport.get_extra_info("socket"))
        transport.abort()
    else:
        transport.close()


def detached(transport: asyncio.Transport) -> socket.socket:
    """The connection alone, of which the event loop knows nothing any more; what was still to be sent is dropped.

    A connection ends with the last descriptor of it: the transport closes its own without a word to the other end.
    """
    connection = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    transport.abort()
    return connection
