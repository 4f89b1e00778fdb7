"""What round trips are called, which operations they are, and how they are made to fail."""

import struct
from itertools import pairwise

import pytest

from testbed.gateway.postgres.statements import FAILURE, Ending, RoundTrip, Statements
from testbed.gateway.postgres.wire import messages_of


def message(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def query(text: bytes) -> bytes:
    return message("Q", text + b"\0")


def parse(name: bytes, text: bytes) -> bytes:
    return message("P", name + b"\0" + text + b"\0\0\0")


def bind(name: bytes, values: bytes) -> bytes:
    return message("B", b"\0" + name + b"\0" + values)


EXECUTE = message("D", b"P\0") + message("E", b"\0\0\0\0\0")
SYNC = message("S")
FLUSH = message("H")


def asked(text: bytes) -> bytes:
    """A statement of the extended protocol."""
    return parse(b"", text) + bind(b"", b"") + EXECUTE


def kinds(data: bytes) -> str:
    return "".join(chr(kind) for kind, _, _ in messages_of(data))


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
        query(b"INSERT order-1"),
        parse(b"", b"INSERT $1") + SYNC,
    ]
    assert len({Statements().read(other).identity for other in others}) == len(others)


@pytest.mark.parametrize("text", [b"COMMIT", b"commit;", b" ROLLBACK", b"END"])
def test_the_end_of_a_transaction_is_named_after_what_it_ends(text: bytes) -> None:
    """Two orders' commits have two names; the same order's commit has the same in every session."""

    def commit_after(order: bytes) -> str:
        session = Statements()
        session.read(query(b"BEGIN"))
        session.read(parse(b"", b"INSERT $1") + bind(b"", order) + EXECUTE + SYNC)
        return session.read(query(text)).identity

    assert commit_after(b"order-1") == commit_after(b"order-1") != commit_after(b"order-2")


@pytest.mark.parametrize(
    ("text", "operation"),
    [
        (b"BEGIN", "Begin"),
        (b"start transaction isolation level serializable", "Begin"),
        (b" commit;", "Commit"),
        (b"END", "Commit"),
        (b"/* why */ -- not\n COMMIT", "Commit"),
        (b"INSERT INTO t VALUES (1); COMMIT", "Commit"),
        (b"COMMIT; SELECT 1", "Commit"),
        (b"ROLLBACK", "Rollback"),
        (b"abort", "Rollback"),
        (b"BEGIN; SELECT 1", "Query"),
        (b"SELECT CASE WHEN true THEN 1 END", "Query"),
        (b"INSERT INTO t VALUES ('; commit'); SELECT 1", "Query"),
        (b'SELECT 1 AS "; commit"; SELECT 1', "Query"),
        (b"SELECT 1; -- ; commit", "Query"),
        (b"SELECT 1; /* ; commit */ SELECT 2", "Query"),
        (b"DO $x$ BEGIN PERFORM 1; COMMIT; END $x$; SELECT 1", "Query"),
        (b"", "Query"),
    ],
)
def test_the_operation_of_a_text(text: bytes, operation: str) -> None:
    """Each statement's first word tells; what is quoted, or a comment, is none."""
    assert Statements().read(query(text)).operation == operation


def test_the_operation_of_a_pipeline() -> None:
    """A COMMIT in it makes it one; also one that was prepared before."""
    session = Statements()
    session.read(parse(b"end", b"COMMIT") + SYNC)
    assert session.read(asked(b"BEGIN") + SYNC).operation == "Begin"
    assert session.read(asked(b"BEGIN") + asked(b"INSERT") + SYNC).operation == "Query"
    assert session.read(asked(b"INSERT") + bind(b"end", b"") + EXECUTE + FLUSH).operation == "Commit"
    assert session.read(message("F", b"call")).operation == session.read(SYNC).operation == "Query"


def test_a_pipeline_fails_at_its_first_statement() -> None:
    """Up to its Execute it stays as it is; a Parse that fails stands there, and what follows is skipped by Postgres."""
    first, second = asked(b"INSERT 1"), asked(b"INSERT 2")
    failing = Statements().read(first + second + SYNC).failing()
    assert kinds(failing) == "PBDPPBDES"
    assert FAILURE in failing
    assert failing.endswith(second + SYNC)


def test_a_commit_fails_where_it_stands_and_is_rolled_back_first() -> None:
    """What came before it is executed."""
    before, commit = asked(b"BEGIN") + asked(b"INSERT"), asked(b"COMMIT")
    failing = Statements().read(before + commit + SYNC).failing()
    assert failing.startswith(before)
    assert kinds(failing) == "PBDEPBDE" + "PBD" + "PBEC" + "P" + "S"
    assert kinds(Statements().read(query(b"COMMIT")).failing()) == "Q"
    assert b"ROLLBACK; " in Statements().read(query(b"COMMIT")).failing()


def test_what_has_no_statement_fails_at_once() -> None:
    """A round trip that only prepares: nothing is prepared; it keeps its end."""
    assert kinds(Statements().read(parse(b"a", b"SELECT 1") + message("D", b"Sa\0") + SYNC).failing()) == "PS"


def ends(trip: RoundTrip, answer: str) -> list[tuple[bool, bool]]:
    """For each message of an answer whether the client gets it, and whether the answer is over then."""
    ending = Ending(trip)
    return [(ending.take(ord(kind)), ending.is_over) for kind in answer]


def test_an_answer_ends_when_postgres_is_ready_again() -> None:
    """Not with an error, after which more comes."""
    assert ends(Statements().read(query(b"SELECT 1")), "TDCEZ")[-2:] == [(True, False), (True, True)]


def test_an_answer_up_to_a_flush_ends_with_something_that_was_added() -> None:
    """It is closed where nothing was open, behind what the client itself closes; the client does not get that."""
    trip = Statements().read(asked(b"SELECT 1") + message("C", b"Sold\0") + FLUSH)
    assert kinds(trip.with_end()) == "PBDECCH"
    assert ends(trip, "12TDC33")[-2:] == [(True, False), (False, True)]
    assert ends(trip, "12E")[-1] == (True, True)
    synced = Statements().read(asked(b"SELECT 1") + SYNC)
    assert synced.with_end() == synced.data


def test_the_answer_of_the_rollback_is_not_for_the_client() -> None:
    """What came before it is."""
    trip = Statements().read(asked(b"INSERT") + asked(b"COMMIT") + SYNC)
    answer = [(ord(kind), kind.encode()) for kind in "12nC" + "12n" + "12NC3"]
    assert b"".join(data for _, data in trip.without_rollback(answer)) == b"12nC12n"
    assert Statements().read(query(b"COMMIT")).without_rollback(answer) == []


def test_messages_follow_each_other() -> None:
    """Only whole ones."""
    data = asked(b"SELECT 1") + SYNC
    found = list(messages_of(data + b"Q\0\0"))
    assert all(end == start for (_, _, end), (_, start, _) in pairwise(found))
    assert found[-1][2] == len(data)
