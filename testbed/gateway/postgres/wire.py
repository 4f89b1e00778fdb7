"""The wire protocol of Postgres, as far as the proxy reads it: where messages end, and what a few of them say.

Pure: bytes in, packets out. The protocol is version 3 (PostgreSQL documentation, part Internals, chapter
"Frontend/Backend Protocol"): each message is one byte of type, four of length (its own included), and a body; only
the first packets of a client have no type.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import blake2b
from typing import Final

_HEADER: Final = struct.Struct("!BI")
_STARTUP: Final = struct.Struct("!II")
_CANCEL_REQUEST: Final = 80877102
_SSL_REQUEST: Final = 80877103
_GSS_REQUEST: Final = 80877104
_MAX_STARTUP: Final = 10_000  # as in the server
_MAX_MESSAGE: Final = 0x3FFFFFFF  # as in the server: its largest allocation

QUERY, PARSE, BIND, EXECUTE, CLOSE, SYNC, FLUSH, FUNCTION_CALL, _COPY_DONE, _COPY_FAIL = b"QPBECSHFcf"
_ROUND_TRIP_ENDS: Final = frozenset(b"QSHF")  # Query, Sync, Flush, FunctionCall: the client now wants an answer
_FLOWS: Final = frozenset(b"dcfpX")  # CopyData, CopyDone, CopyFail, password and SASL messages, Terminate

PROTOCOL_VIOLATION: Final = "08P01"
COMMAND_COMPLETE: Final = ord("C")
ERROR_RESPONSE: Final = ord("E")
READY_FOR_QUERY: Final = ord("Z")
PARSE_COMPLETE: Final = ord("1")
CLOSE_COMPLETE: Final = ord("3")
CLIENT_SPEAKS: Final = frozenset(b"RGW")
"""Authentication, CopyInResponse, CopyBothResponse: the client may have to send something for the answer to go on."""
_WATCHED: Final = frozenset({COMMAND_COMPLETE, ERROR_RESPONSE, READY_FOR_QUERY})


class ProtocolError(Exception):
    """The bytes are not those of a Postgres client or server."""


class PacketKind(Enum):
    """What a packet of a client is, for the proxy."""

    ENCRYPTION = auto()  # asks for TLS or GSS encryption
    CANCEL = auto()  # asks to cancel the query of another session
    STARTUP = auto()  # opens a session
    ROUND_TRIP = auto()  # messages up to one that makes the server answer
    FLOWING = auto()  # belongs to a round trip that has begun, or ends the session


@dataclass(frozen=True, slots=True)
class Packet:
    """Some bytes of a client that belong together: one start-up packet, or whole messages."""

    kind: PacketKind
    data: bytes


class ClientReader:
    """Cuts what one client sends into packets, however the bytes arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0  # so many bytes of the buffer are whole messages of an unfinished round trip
        self._started = False
        self._copied = False

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that ``data`` completes, in order.

        Raises:
            ProtocolError: A length is impossible.
        """
        self._buffer += data
        packets: list[Packet] = []
        while not self._started and (packet := self._startup_packet()) is not None:
            packets.append(packet)
        if self._started:
            packets += self._messages()
        return packets

    def _startup_packet(self) -> Packet | None:
        buffer = self._buffer
        if len(buffer) < _STARTUP.size:
            return None
        length, code = _STARTUP.unpack_from(buffer)
        if not _STARTUP.size <= length <= _MAX_STARTUP:
            raise ProtocolError(f"a start-up packet of {length} bytes: this is no Postgres client")
        if len(buffer) < length:
            return None
        data = bytes(buffer[:length])
        del buffer[:length]
        if code in (_SSL_REQUEST, _GSS_REQUEST):
            return Packet(PacketKind.ENCRYPTION, data)
        if code == _CANCEL_REQUEST:
            return Packet(PacketKind.CANCEL, data)
        self._started = True
        return Packet(PacketKind.STARTUP, data)

    def _messages(self) -> list[Packet]:
        buffer = self._buffer
        packets: list[Packet] = []
        start, at, size = 0, self._scanned, len(buffer)
        while size - at >= _HEADER.size:
            kind, length = _HEADER.unpack_from(buffer, at)
            _check(kind, length)
            end = at + 1 + length
            if end > size:
                break
            packet_kind = self._kind_of(kind, alone=start == at)
            at = end
            if packet_kind is not None:
                packets.append(Packet(packet_kind, bytes(buffer[start:end])))
                start = end
        del buffer[:start]
        self._scanned = at - start
        return packets

    def _kind_of(self, kind: int, *, alone: bool) -> PacketKind | None:
        """What a message of this type makes of the messages up to it; None: more has to come."""
        after_copy, self._copied = self._copied, kind in (_COPY_DONE, _COPY_FAIL)
        asks_nothing_new = alone and (kind == FLUSH or (kind == SYNC and after_copy))
        if kind in _FLOWS or asks_nothing_new:
            return PacketKind.FLOWING
        return PacketKind.ROUND_TRIP if kind in _ROUND_TRIP_ENDS else None


class ServerReader:
    """Finds the messages that the proxy watches in what the server sends, and skips the rest unread."""

    def __init__(self) -> None:
        self._skip = 0
        self._partial = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Type and body of each `COMMAND_COMPLETE`, `ERROR_RESPONSE` and `READY_FOR_QUERY` that ``data`` completes.

        Raises:
            ProtocolError: A length is impossible.
        """
        if self._skip >= len(data):
            self._skip -= len(data)
            return []
        if self._partial:
            data = self._partial + data
        found: list[tuple[int, bytes]] = []
        at, size = self._skip, len(data)
        while size - at >= _HEADER.size:
            kind, length = _HEADER.unpack_from(data, at)
            _check(kind, length)
            end = at + 1 + length
            if kind in _WATCHED:
                if end > size:
                    break
                found.append((kind, data[at + _HEADER.size : end]))
            at = end
        self._skip = max(at - size, 0)
        self._partial = data[at:]
        return found

    @property
    def between_messages(self) -> bool:
        """Whether all that came are whole messages."""
        return not self._skip and not self._partial


def _check(kind: int, length: int) -> None:
    if not 4 <= length <= _MAX_MESSAGE:  # noqa: PLR2004 (the length counts its own four bytes)
        raise ProtocolError(f"a message of type {chr(kind)!r} and {length} bytes: this is no Postgres protocol")


class WholeMessages:
    """Cuts what the server sends into messages, to be fed from the start of one on."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Type and bytes, header included, of each message that ``data`` completes."""
        self._buffer += data
        found = [(kind, bytes(self._buffer[start:end])) for kind, start, end in messages_of(self._buffer)]
        del self._buffer[: sum(len(message) for _, message in found)]
        return found

    def rest(self) -> bytes:
        """The beginning of a message that is not complete, handed over."""
        rest, self._buffer = bytes(self._buffer), bytearray()
        return rest


def messages_of(data: bytes | bytearray) -> Iterator[tuple[int, int, int]]:
    """Type, start and end of each whole message in ``data``."""
    at, size = 0, len(data)
    while size - at >= _HEADER.size:
        kind, length = _HEADER.unpack_from(data, at)
        end = at + 1 + length
        if end > size:
            return
        yield kind, at, end
        at = end


def message(kind: int, body: bytes = b"") -> bytes:
    """A message of this type."""
    return _HEADER.pack(kind, len(body) + 4) + body


def error_response(sqlstate: str, text: str, *, fatal: bool = False) -> bytes:
    """An ErrorResponse, as the server would send it."""
    severity = "FATAL" if fatal else "ERROR"
    fields = (
        f"{code}{value}".encode() for code, value in (("S", severity), ("V", severity), ("C", sqlstate), ("M", text))
    )
    return message(ERROR_RESPONSE, b"\0".join(fields) + b"\0\0")


def digest(data: bytes) -> str:
    """A short stable name for some bytes."""
    return blake2b(data, digest_size=8).hexdigest()


def database_of(startup: bytes) -> str:
    """The database that a start-up packet asks for; by default it has the name of the user."""
    return _parameters(startup).get("database") or user_of(startup)


def user_of(startup: bytes) -> str:
    """The user that a start-up packet names."""
    return _parameters(startup).get("user", "")


def _parameters(startup: bytes) -> dict[str, str]:
    words = startup[_STARTUP.size :].decode(errors="replace").split("\0")
    return dict(zip(words[::2], words[1::2], strict=False))


def inserted_rows(tag: bytes) -> int:
    """How many rows the command of a CommandComplete inserted: 2 for ``INSERT 0 2``, 0 for other commands."""
    return int(tag.rstrip(b"\0").rsplit(b" ", 1)[1]) if tag.startswith(b"INSERT ") else 0


def error_fields(body: bytes) -> tuple[str, str]:
    """SQLSTATE and message of an ErrorResponse."""
    fields = {field[:1]: field[1:].decode(errors="replace") for field in body.split(b"\0")}
    return fields.get(b"C", ""), fields.get(b"M", "")
