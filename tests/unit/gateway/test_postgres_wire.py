"""Where the messages of Postgres's protocol end, and what round trips are called."""

import struct

import pytest

from testbed.gateway.postgres_statements import Statements
from testbed.gateway.postgres_wire import (
    ClientReader,
    Packet,
    PacketKind,
    ProtocolError,
    ServerReader,
    database_of,
    error_fields,
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


def test_the_name_of_a_round_trip_does_not_show_how_it_was_prepared() -> None:
    """Parsed with it, parsed before under a name, or under another name: the same question."""
    at_once = Statements().read(parse(b"", b"INSERT $1") + bind(b"", b"order-1") + EXECUTE + SYNC).identity
    session = Statements()
    session.read(parse(b"_pg3_7", b"INSERT $1") + SYNC)
    assert session.read(bind(b"_pg3_7", b"order-1") + EXECUTE + SYNC).identity == at_once


def test_the_name_of_a_round_trip_shows_text_and_values() -> None:
    """Another statement, another value, one more statement in the pipeline: another question."""
    first = parse(b"", b"INSERT $1") + bind(b"", b"order-1") + EXECUTE
    others = [
        first + SYNC,
        parse(b"", b"DELETE $1") + bind(b"", b"order-1") + EXECUTE + SYNC,
        parse(b"", b"INSERT $1") + bind(b"", b"order-2") + EXECUTE + SYNC,
        first + first + SYNC,
        message("Q", b"INSERT order-1\0"),
        parse(b"", b"INSERT $1") + SYNC,
    ]
    assert len({Statements().read(other).identity for other in others}) == len(others)


@pytest.mark.parametrize("text", [b"COMMIT", b"commit;", b" ROLLBACK", b"END"])
def test_the_end_of_a_transaction_is_named_after_what_it_ends(text: bytes) -> None:
    """Two orders' commits have two names; the same order's commit has the same in every session."""

    def commit_after(order: bytes) -> str:
        session = Statements()
        session.read(message("Q", b"BEGIN\0"))
        session.read(parse(b"", b"INSERT $1") + bind(b"", order) + EXECUTE + SYNC)
        return session.read(message("Q", text + b"\0")).identity

    assert commit_after(b"order-1") == commit_after(b"order-1") != commit_after(b"order-2")
