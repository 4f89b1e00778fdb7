"""Where the messages of Postgres's protocol end, and what a few of them say."""

import struct

import pytest

from testbed.gateway.postgres.wire import (
    ClientReader,
    Packet,
    PacketKind,
    ProtocolError,
    ServerReader,
    WholeMessages,
    database_of,
    error_fields,
    error_response,
    inserted_rows,
)

FLOWING, ROUND_TRIP, STARTUP = PacketKind.FLOWING, PacketKind.ROUND_TRIP, PacketKind.STARTUP


def startup(code: int = 196608, body: bytes = b"user\0app\0database\0shop\0\0") -> bytes:
    return struct.pack("!II", len(body) + 8, code) + body


def message(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def parse(name: bytes, text: bytes) -> bytes:
    return message("P", name + b"\0" + text + b"\0\0\0")


def bind(name: bytes, values: bytes) -> bytes:
    return message("B", b"\0" + name + b"\0" + values)


EXECUTE = message("D", b"P\0") + message("E", b"\0\0\0\0\0")
SYNC = message("S")


def started() -> ClientReader:
    reader = ClientReader()
    reader.feed(startup())
    return reader


def kinds(*messages: bytes) -> list[PacketKind]:
    """What the reader makes of messages after a start-up, fed one by one."""
    reader = started()
    return [packet.kind for sent in messages for packet in reader.feed(sent)]


def test_tells_the_start_up_packets_apart() -> None:
    """Both encryption requests may come before the start-up itself; the rest is messages."""
    sent = startup(80877103, b"") + startup(80877104, b"") + startup() + message("p", b"secret\0")
    assert [packet.kind for packet in ClientReader().feed(sent)] == [
        PacketKind.ENCRYPTION,
        PacketKind.ENCRYPTION,
        STARTUP,
        FLOWING,
    ]


def test_a_cancel_request_is_no_start_up() -> None:
    """It carries the key of another session."""
    assert ClientReader().feed(startup(80877102, b"12345678"))[0].kind is PacketKind.CANCEL


def test_a_round_trip_is_all_up_to_the_message_that_wants_an_answer() -> None:
    """Query, Sync, Flush and FunctionCall end one; what is before Sync waits for it."""
    extended = parse(b"", b"SELECT 1") + bind(b"", b"") + EXECUTE
    reader = started()
    assert reader.feed(extended) == []
    assert reader.feed(SYNC + message("Q", b"SELECT 2\0")) == [
        Packet(ROUND_TRIP, extended + SYNC),
        Packet(ROUND_TRIP, message("Q", b"SELECT 2\0")),
    ]
    assert kinds(extended + message("H"), message("F", b"call")) == [ROUND_TRIP, ROUND_TRIP]


def test_copy_data_flows_and_its_end_asks_nothing_new() -> None:
    """Rows are not held back, nor is the Sync that follows the end of a COPY; a later Sync is a round trip again."""
    assert kinds(message("d", b"row\n"), message("c"), SYNC, SYNC) == [FLOWING, FLOWING, FLOWING, ROUND_TRIP]


def test_a_flush_on_its_own_asks_nothing_new() -> None:
    """Psycopg sends one after the Sync that ends a pipeline."""
    assert kinds(SYNC, message("H")) == [ROUND_TRIP, FLOWING]


def test_what_flows_takes_the_unfinished_round_trip_along() -> None:
    """Order is kept: a client that gives up in the middle has its bytes passed on as they are."""
    unfinished = parse(b"", b"SELECT 1")
    assert started().feed(unfinished + message("X")) == [Packet(FLOWING, unfinished + message("X"))]


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n", struct.pack("!II", 7, 196608), b"\0" * 8])
def test_refuses_a_start_up_of_impossible_length(sent: bytes) -> None:
    """Other protocols and nonsense are told apart by their first bytes."""
    with pytest.raises(ProtocolError, match="start-up"):
        ClientReader().feed(sent)


@pytest.mark.parametrize("length", [0, 3, 0x40000000])
def test_refuses_messages_of_impossible_length(length: int) -> None:
    """On both sides; a length of three would never get the reader any further."""
    wrong = b"Q" + struct.pack("!I", length)
    with pytest.raises(ProtocolError, match="'Q'"):
        started().feed(wrong)
    with pytest.raises(ProtocolError, match="'Q'"):
        ServerReader().feed(wrong)


def test_finds_the_watched_messages_among_rows() -> None:
    """The bodies of CommandComplete, ErrorResponse and ReadyForQuery; rows, notices and their like are skipped."""
    sent = message("D", b"E" * 99) + message("C", b"SELECT 1\0") + message("N", b"note") + message("Z", b"I")
    assert ServerReader().feed(sent) == [(ord("C"), b"SELECT 1\0"), (ord("Z"), b"I")]


def test_reads_sqlstate_and_message_of_an_error() -> None:
    """By their field codes, wherever they stand; a text that is no UTF-8 is still shown."""
    body = b"SERROR\0VERROR\0C22003\0Minteger out of range\0Fint.c\0\0"
    assert error_fields(body) == ("22003", "integer out of range")
    assert error_fields(b"M\xff\0\0") == ("", "\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize(("tag", "count"), [(b"INSERT 0 12\0", 12), (b"INSERT 0 0\0", 0), (b"SELECT 5\0", 0)])
def test_counts_inserted_rows(tag: bytes, count: int) -> None:
    """Only INSERT's, in the third word."""
    assert inserted_rows(tag) == count


@pytest.mark.parametrize(
    ("body", "name"), [(b"user\0app\0database\0shop\0\0", "shop"), (b"user\0app\0\0", "app"), (b"", "")]
)
def test_finds_the_database(body: bytes, name: str) -> None:
    """By default it is named as the user is."""
    assert database_of(startup(body=body)) == name


def test_whole_messages_come_out_whole_and_the_rest_can_be_had() -> None:
    """With their headers, however they came in."""
    reader = WholeMessages()
    assert reader.feed(message("T", b"row")[:4]) == []
    assert reader.feed(message("T", b"row")[4:] + message("Z", b"I") + b"D\0") == [
        (ord("T"), message("T", b"row")),
        (ord("Z"), message("Z", b"I")),
    ]
    assert (reader.rest(), reader.rest()) == (b"D\0", b"")


def test_an_error_is_written_as_the_server_writes_it() -> None:
    """Severity twice, state and text; it can be read again."""
    written = error_response("40001", "no", fatal=True)
    assert written == message("E", b"SFATAL\0VFATAL\0C40001\0Mno\0\0")
    assert error_fields(written[5:]) == ("40001", "no")


def test_a_server_is_between_messages_or_not() -> None:
    """Whether the last one is whole, watched or skipped."""
    reader = ServerReader()
    for kind in "DC":
        for byte in message(kind, b"row")[:-1]:
            reader.feed(bytes([byte]))
            assert not reader.between_messages
        reader.feed(b"w")
        assert reader.between_messages
