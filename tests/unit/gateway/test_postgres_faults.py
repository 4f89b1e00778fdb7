"""What faults on the wire do to a real psycopg's sessions with a real Postgres, and what both sides are left with."""

import asyncio
import socket
import struct
import time
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from postgres_server import Server
from proxied import (
    STARTUP,
    Harness,
    backends,
    events_of,
    is_reset,
    is_silent,
    query,
    raw_session,
    rows,
    wait_for_backends,
)
from psycopg.pq import TransactionStatus

from testbed.chaos.fault import CallFault
from testbed.chaos.faults.latency import Latency
from testbed.chaos.faults.lost_reply import LostReply, Unreachable
from testbed.chaos.faults.postgres_connection import PostgresBlackHole, PostgresRefused, PostgresReset
from testbed.chaos.faults.slow_postgres import PostgresBandwidth
from testbed.chaos.faults.sql_error import SqlError
from testbed.chaos.trigger import attempts, nth
from testbed.gateway.postgres.server_side import ServerSide

INSERT = "INSERT INTO orders VALUES (%s, %s)"
STATES = [
    ("40001", psycopg.errors.SerializationFailure, "could not serialize access due to concurrent update"),
    ("40P01", psycopg.errors.DeadlockDetected, "deadlock detected"),
    ("55P03", psycopg.errors.LockNotAvailable, "canceling statement due to lock timeout"),
    ("57014", psycopg.errors.QueryCanceled, "canceling statement due to statement timeout"),
]
IDLE, IN_BLOCK, FAILED = TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR


def insert(connection: psycopg.Connection[Any], order: int = 1) -> None:
    connection.execute(INSERT, (f"order-{order}", order))


def stored(server: Server) -> list[int]:
    """Quantities in the table, asked past the proxy."""
    with psycopg.connect(server.dsn()) as direct:
        return [quantity for (quantity,) in direct.execute("SELECT quantity FROM orders ORDER BY 1").fetchall()]


def status(connection: psycopg.Connection[Any]) -> TransactionStatus:
    return connection.info.transaction_status


# SQLSTATEs


@pytest.mark.parametrize(("sqlstate", "kind", "message"), STATES, ids=[state for state, *_ in STATES])
def test_a_statement_fails_with_the_state_and_is_not_executed(
    harness: Harness, sqlstate: str, kind: type[psycopg.Error], message: str
) -> None:
    """In autocommit the session is idle afterwards, and the next attempt works; the journal has the error once."""
    with harness.connect() as connection:
        harness.arm(SqlError(sqlstate=sqlstate, when=attempts(1)))
        with pytest.raises(kind) as failed:
            insert(connection)
        assert (failed.value.diag.severity, failed.value.diag.message_primary) == ("ERROR", message)
        assert (status(connection), rows(harness.server)) == (IDLE, 0)
        insert(connection)
    harness.wait_for_event("close")
    assert [(event["event"], event["sqlstate"]) for event in harness.events] == [
        ("connect", None), ("error", sqlstate), ("insert", None), ("close", None),
    ]  # fmt: skip
    assert stored(harness.server) == [1]


@pytest.mark.parametrize("statement", [("DELETE FROM orders",), (INSERT, ("a", 7))], ids=["simple", "extended"])
def test_a_failed_statement_fails_its_block_in_postgres_too(harness: Harness, statement: Any) -> None:
    """What follows in the block gets 25P02 from Postgres itself; a rollback ends it, and nothing of it is stored."""
    with harness.connect(autocommit=False) as connection:
        insert(connection)
        schedule = harness.arm(SqlError(sqlstate="40P01", when=nth(1)))
        with pytest.raises(psycopg.errors.DeadlockDetected):
            connection.execute(*statement)
        assert status(connection) is FAILED
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            insert(connection, 2)
        connection.rollback()
        assert status(connection) is IDLE
        insert(connection, 3)
        connection.commit()
        assert list(schedule.fired.values()) == [1]
    assert stored(harness.server) == [3]


def test_a_savepoint_takes_the_failure_back(harness: Harness) -> None:
    """As after an error of Postgres's own: only what came since the savepoint is undone."""
    with harness.connect(autocommit=False) as connection:
        insert(connection)
        connection.execute("SAVEPOINT here")
        insert(connection, 2)
        harness.arm(SqlError(sqlstate="55P03", when=nth(1)))
        with pytest.raises(psycopg.errors.LockNotAvailable):
            insert(connection, 3)
        connection.execute("ROLLBACK TO SAVEPOINT here")
        assert status(connection) is IN_BLOCK
        insert(connection, 4)
    assert stored(harness.server) == [1, 4]


def test_a_block_that_failed_by_itself_says_so(harness: Harness) -> None:
    """Postgres refuses everything there before it looks: 25P02, whatever the fault."""
    with harness.connect(autocommit=False) as connection:
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")
        schedule = harness.arm(
            SqlError(sqlstate="40001"), SqlError(sqlstate="40001", operations=("Commit",), name="commit")
        )
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            insert(connection)
        connection.commit()  # Postgres answers ROLLBACK, without an error
        assert status(connection) is IDLE
    assert rows(harness.server) == 0
    assert schedule.fired == {"sqlerror-1": 0, "commit": 0}


def test_a_pipeline_fails_up_to_its_sync(harness: Harness) -> None:
    """None of it is stored; the session goes on after it."""

    def insert_five() -> None:
        with connection.pipeline():
            for order in range(5):
                insert(connection, order)

    with harness.connect() as connection:
        harness.arm(SqlError(sqlstate="40001", when=nth(1)))
        with pytest.raises(psycopg.errors.SerializationFailure):
            insert_five()
        assert status(connection) is IDLE
        insert(connection, 9)
    assert stored(harness.server) == [9]


def test_a_pipeline_that_was_flushed_fails_in_the_middle(harness: Harness) -> None:
    """Its first part was answered already, and is undone with the rest: there was no sync between them."""

    def insert_two() -> None:
        with connection.pipeline():
            insert(connection, 1)
            assert connection.execute("SELECT count(*) FROM orders").fetchone() == (1,)
            harness.arm(SqlError(sqlstate="40001", when=nth(1)))
            insert(connection, 2)
            connection.execute("SELECT 1").fetchone()

    with harness.connect() as connection:
        with pytest.raises(psycopg.errors.SerializationFailure):
            insert_two()
        assert (status(connection), rows(harness.server)) == (IDLE, 0)
        insert(connection, 9)
    assert stored(harness.server) == [9]


def test_a_statement_stays_prepared_where_its_execution_fails(harness: Harness) -> None:
    """The error is that of the Execute alone."""
    with harness.connect() as connection:
        connection.execute(INSERT, ("a", 1), prepare=True)
        harness.arm(SqlError(sqlstate="40001", when=nth(1)))
        with pytest.raises(psycopg.errors.SerializationFailure):
            connection.execute(INSERT, ("b", 2), prepare=True)
        connection.execute(INSERT, ("c", 3), prepare=True)
    assert stored(harness.server) == [1, 3]


def test_57p01_ends_the_session_and_rolls_its_block_back(harness: Harness) -> None:
    """FATAL, as from a server that is shut down; the backend is gone, not only the client's connection."""
    with harness.connect(autocommit=False) as connection:
        insert(connection)
        schedule = harness.arm(SqlError(sqlstate="57P01"))
        with pytest.raises(psycopg.errors.AdminShutdown) as failed:
            insert(connection, 2)
        assert failed.value.diag.severity == "FATAL"
        assert schedule.fired == {"sqlerror-1": 1}
        assert connection.closed
    wait_for_backends(harness.server, 0)
    assert rows(harness.server) == 0
    harness.wait_for_event("close")
    assert [event["sqlstate"] for event in harness.events if event["event"] == "error"] == ["57P01"]


# COMMIT


def store(connection: psycopg.Connection[Any], *, pipeline: bool) -> None:
    """Insert, and commit."""
    with connection.pipeline() if pipeline else nullcontext():
        insert(connection)
        connection.execute("SELECT 1")
        connection.commit()


@pytest.mark.parametrize("pipeline", [False, True], ids=["alone", "pipeline"])
def test_a_commit_that_fails_has_rolled_back(harness: Harness, *, pipeline: bool) -> None:
    """The block is over, on both sides, without a rollback of the client's; nothing is stored."""
    with harness.connect(autocommit=False) as connection:
        harness.arm(SqlError(sqlstate="40001", operations=("Commit",), when=nth(1)))
        with pytest.raises(psycopg.errors.SerializationFailure):
            store(connection, pipeline=pipeline)
        assert (status(connection), rows(harness.server)) == (IDLE, 0)
        insert(connection, 2)
        connection.commit()
        assert stored(harness.server) == [2]
    assert not [event for event in harness.events if event["sqlstate"] not in {None, "40001"}]


@pytest.mark.parametrize("text", ["COMMIT", "END", "INSERT INTO orders VALUES ('COMMIT;', 2); commit"])
def test_a_commit_is_a_commit_however_it_is_sent(harness: Harness, text: str) -> None:
    """By its words: a statement of its own, or the last of a text."""
    with harness.connect() as connection:
        connection.execute("BEGIN")
        insert(connection)
        harness.calls.clear()
        connection.execute(text)
        assert [call.operation for call in harness.calls] == ["Commit"]
        connection.execute("INSERT INTO orders VALUES ('; commit', 3); -- ; COMMIT\nSELECT 1")
        assert harness.calls[-1].operation == "Query"


@pytest.mark.parametrize("pipeline", [False, True], ids=["alone", "pipeline"])
def test_a_lost_commit_is_stored_though_its_client_sees_a_broken_connection(
    harness: Harness, *, pipeline: bool
) -> None:
    """Committed in Postgres before the connection breaks: the client cannot know."""
    schedule = harness.arm(PostgresReset(operations=("Commit",), position="after"))
    connection = harness.connect(autocommit=False)
    with pytest.raises(psycopg.OperationalError) as lost:
        store(connection, pipeline=pipeline)
    assert (lost.value.sqlstate, schedule.fired) == (None, {"postgresreset-1": 1})
    assert rows(harness.server) == 1
    wait_for_backends(harness.server, 0)


def test_a_commit_that_is_reset_before_is_not_stored(harness: Harness) -> None:
    """The client sees what it sees when the reply is lost."""
    harness.arm(PostgresReset(operations=("Commit",)))
    connection = harness.connect(autocommit=False)
    insert(connection)
    with pytest.raises(psycopg.OperationalError):
        connection.commit()
    wait_for_backends(harness.server, 0)
    assert rows(harness.server) == 0


@pytest.mark.parametrize(("position", "count"), [("before", 0), ("after", 1)])
def test_a_statement_that_commits_by_itself_is_lost_too(harness: Harness, position: Any, count: int) -> None:
    """In autocommit the statement is the transaction."""
    harness.arm(PostgresReset(operations=("Query",), position=position))
    connection = harness.connect()
    with pytest.raises(psycopg.OperationalError):
        insert(connection)
    assert rows(harness.server) == count


def test_what_was_flushed_and_lost_is_rolled_back(harness: Harness) -> None:
    """Postgres executed it, and no sync came: the reset takes it back."""

    def insert_and_fetch() -> None:
        with connection.pipeline():
            insert(connection)
            connection.execute("SELECT 1").fetchone()

    connection = harness.connect()
    harness.arm(PostgresReset(position="after"))
    with pytest.raises(psycopg.OperationalError):
        insert_and_fetch()
    assert harness.proxy.inserted == 1
    wait_for_backends(harness.server, 0)
    assert rows(harness.server) == 0


def test_a_copy_whose_reply_is_lost_is_stored(harness: Harness) -> None:
    """Its rows pass, although its answer does not."""
    connection = harness.connect()
    harness.arm(PostgresReset(position="after"))
    with pytest.raises(psycopg.OperationalError), connection.cursor().copy("COPY orders FROM STDIN") as copy:
        copy.write("a\t1\nb\t2\n")
    assert stored(harness.server) == [1, 2]


@pytest.mark.parametrize(
    ("fault", "count"),
    [
        (LostReply(service="postgres", operations=("Query",), hang_seconds=5), 1),
        (Unreachable(service="postgres", operations=("Query",), kind="hang", hang_seconds=5), 0),
    ],
    ids=["after", "before"],
)
def test_the_faults_of_every_service_act_here_too(harness: Harness, fault: CallFault, count: int) -> None:
    """Silence, then a reset; executed or not."""
    connection = harness.connect()
    harness.arm(fault)
    with pytest.raises(psycopg.OperationalError):
        insert(connection)
    assert (rows(harness.server), harness.slept) == (count, [5])


# Connections


@pytest.mark.parametrize(
    ("sqlstate", "message"),
    [("53300", "remaining connection slots are reserved"), ("57P03", "the database system is starting up")],
)
def test_a_refused_connection_gets_postgres_s_own_words(harness: Harness, sqlstate: Any, message: str) -> None:
    """Postgres never sees it; the journal has the refusal as if it were Postgres's."""
    harness.arm(PostgresRefused(sqlstate=sqlstate, when=nth(1)))
    with pytest.raises(psycopg.OperationalError, match=message):
        harness.connect()
    assert harness.wait_for_event("refused")["sqlstate"] == sqlstate
    assert harness.proxy.peak_sessions == 0
    harness.connect().close()


def test_the_state_of_a_refusal_is_on_the_wire(harness: Harness) -> None:
    """FATAL and 53300, then the end of the connection: libpq does not tell a program the state of a failed connect."""
    harness.arm(PostgresRefused(sqlstate="53300"))
    with closing(socket.create_connection(("127.0.0.1", harness.port), 20)) as client:
        client.sendall(STARTUP)
        received = b"".join(iter(lambda: client.recv(4096), b""))
    assert received.startswith(b"E" + struct.pack("!I", len(received) - 1) + b"SFATAL\0VFATAL\0C53300\0M")


@pytest.mark.parametrize("fault", [PostgresRefused(), PostgresReset(operations=("Connect",), position="after")])
def test_a_connection_that_is_reset_leaves_nothing_behind(harness: Harness, fault: CallFault) -> None:
    """Refused before Postgres sees it, or broken off once Postgres has accepted it."""
    harness.arm(fault)
    with closing(socket.create_connection(("127.0.0.1", harness.port), 20)) as client:
        client.sendall(STARTUP)
        answered = client.recv(1) if "after" in repr(fault) else b""  # that it is authenticated
        assert answered in {b"", b"R"}
        with pytest.raises(ConnectionResetError):
            list(iter(lambda: client.recv(4096), b""))
    wait_for_backends(harness.server, 0)
    assert harness.proxy.open_sessions == 0


def test_in_a_black_hole_all_vanishes_until_the_reset(harness: Harness) -> None:
    """The client hears nothing, Postgres keeps the session and its block and never gets the insert."""
    with closing(raw_session(harness)) as client:
        client.sendall(query("BEGIN; LOCK TABLE orders"))
        while b"Z\0\0\0\x05T" not in client.recv(4096):
            pass
        schedule = harness.arm(PostgresBlackHole(seconds=0.6))
        client.sendall(query("INSERT INTO orders VALUES ('a', 1)"))
        harness.wait_until(lambda: harness.calls[-1].operation == "Query" and len(harness.calls) == 3)
        client.sendall(query("ROLLBACK"))
        assert is_silent(client)
        assert schedule.fired == {"postgresblackhole-1": 1}
        assert (backends(harness.server), harness.proxy.open_sessions) == (1, 1)
        assert is_reset(client)
    wait_for_backends(harness.server, 0)
    harness.wait_for_event("reset")
    assert (rows(harness.server), harness.proxy.open_sessions) == (0, 0)
    assert len(harness.calls) == 3


def test_a_client_that_gives_up_in_a_black_hole_leaves_its_slot_taken(harness: Harness) -> None:
    """Until the hole closes; a new run closes all."""
    harness.arm(PostgresBlackHole(seconds=600, operations=("Query",)))
    client = raw_session(harness)
    client.sendall(query("SELECT 1"))
    assert is_silent(client)
    client.close()
    assert (backends(harness.server), harness.proxy.open_sessions) == (1, 1)
    harness.loop_does(harness.proxy.reset)
    wait_for_backends(harness.server, 0)
    assert harness.proxy.open_sessions == 0


def test_a_connection_can_vanish_before_it_is_one(harness: Harness) -> None:
    """Postgres never hears of it."""
    harness.arm(PostgresBlackHole(seconds=600))
    with closing(socket.create_connection(("127.0.0.1", harness.port), 20)) as client:
        client.sendall(STARTUP)
        assert is_silent(client)
        assert backends(harness.server) == 0
        harness.run(harness.proxy.stop())
        assert is_reset(client)


# Time


def test_bandwidth_counts_the_bytes_of_both_ways(harness: Harness) -> None:
    """A question of 100 kB takes a second at 100 kB/s, its answer of 50 kB half of one, whatever it arrives in."""
    with harness.connect() as connection:
        harness.arm(PostgresBandwidth(bytes_per_second=100_000))
        (answer,) = connection.execute("SELECT repeat('x', 50000), %s::text IS NULL", ("y" * 100_000,)).fetchall()
        assert answer == ("x" * 50_000, False)
    asked, *answered = harness.slept
    assert asked == pytest.approx(1, abs=0.01)
    assert sum(answered) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("bytes_per_second", "fires"), [(1e9, False), (20_000, True)])
def test_bandwidth_fires_where_it_costs_a_millisecond(
    harness: Harness, bytes_per_second: float, *, fires: bool
) -> None:
    """Of question and answer together; a limit that nobody notices has slowed nothing."""
    with harness.connect() as connection:
        schedule = harness.arm(PostgresBandwidth(bytes_per_second=bytes_per_second))
        connection.execute("SELECT 1")
        assert schedule.fired == {"postgresbandwidth-1": fires}


def test_a_fault_behind_another_has_not_fired(harness: Harness) -> None:
    """A statement that fails is not sent slowly, and its connection stays."""
    slow, gone = PostgresBandwidth(bytes_per_second=1), PostgresBlackHole(seconds=600)
    with harness.connect() as connection:
        schedule = harness.arm(slow, SqlError(sqlstate="40001"), gone, PostgresReset(position="after"))
        with pytest.raises(psycopg.errors.SerializationFailure):
            connection.execute("SELECT 1")
        assert list(schedule.fired.values()) == [0, 1, 0, 0]
        schedule = harness.arm(PostgresReset(position="after"), gone)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        assert list(schedule.fired.values()) == [1, 0]


def test_bandwidth_holds_for_pipelines_and_copies(harness: Harness) -> None:
    """Nothing of them is lost or mixed up."""
    with harness.connect() as connection:
        harness.arm(PostgresBandwidth(bytes_per_second=1e6))
        with connection.pipeline():
            insert(connection, 1)
            assert connection.execute("SELECT quantity FROM orders").fetchone() == (1,)
            insert(connection, 2)
        with connection.cursor().copy("COPY orders FROM STDIN") as copy:
            copy.write("a\t3\n")
        assert connection.execute("SELECT sum(quantity) FROM orders").fetchone() == (6,)
    assert stored(harness.server) == [1, 2, 3]


def test_an_answer_can_be_late(harness: Harness) -> None:
    """What it answers was executed long before."""
    with closing(raw_session(harness)) as client:
        harness.gate = asyncio.Event()
        harness.arm(Latency(service="postgres", latency_ms=700, position="after"))
        client.sendall(query("INSERT INTO orders VALUES ('a', 1)") + query("SELECT 'next'"))
        harness.wait_until(lambda: harness.slept == [0.7])
        assert rows(harness.server) == 1
        assert is_silent(client)
        harness.release()
        received = b""
        while b"next" not in received:
            received += client.recv(4096)
        assert b"INSERT 0 1" in received


def test_a_session_that_ends_while_an_answer_is_late_ends_after_it(harness: Harness) -> None:
    """What was answered is answered; Postgres's last words follow."""
    with closing(raw_session(harness)) as client:
        harness.gate = asyncio.Event()
        harness.arm(Latency(service="postgres", latency_ms=700, position="after"))
        client.sendall(query("SELECT 'late'"))
        harness.wait_until(lambda: harness.slept == [0.7])
        with psycopg.connect(harness.server.dsn(), autocommit=True) as direct:
            direct.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        harness.release()
        received = all_from(client)
        assert 0 < received.index(b"late") < received.index(b"C57P01")


def test_the_opening_of_a_session_can_be_slow(harness: Harness) -> None:
    """Both ways, once."""
    harness.arm(PostgresBandwidth(bytes_per_second=1_000, operations=("Connect",)))
    with harness.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert sum(harness.slept) > 0.3
    assert events_of(harness)[0] == "connect"


# Clients that do not wait for answers


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def parse(text: str) -> bytes:
    return message(b"P", b"\0" + text.encode() + bytes(3))


READY = b"Z\0\0\0\x05I"
SYNC, FLUSH = message(b"S"), message(b"H")
BIND_AND_EXECUTE = message(b"B", bytes(8)) + message(b"E", bytes(5))


def all_from(client: socket.socket, until: bytes = b"\0impossible") -> bytes:
    """What comes until the connection breaks, or these bytes did."""
    received = b""
    with suppress(ConnectionResetError):
        while until not in received and (chunk := client.recv(4096)):
            received += chunk
    return received


def test_only_the_reply_that_is_hit_is_lost(harness: Harness) -> None:
    """That before it, which Postgres is still busy with, gets through."""
    with closing(raw_session(harness)) as client:
        harness.arm(PostgresReset(position="after", when=nth(2)))
        client.sendall(query("SELECT pg_sleep(0.2), 'first'") + query("INSERT INTO orders VALUES ('a', 1)"))
        received = all_from(client)
        assert b"first" in received
        assert b"INSERT" not in received
    assert rows(harness.server) == 1


@pytest.mark.parametrize("sqlstate", ["40001", "57P01"])
def test_only_the_statement_that_is_hit_fails(harness: Harness, sqlstate: str) -> None:
    """That before it fails by itself, and says so."""
    with closing(raw_session(harness)) as client:
        harness.arm(SqlError(sqlstate=sqlstate, when=nth(2)))
        client.sendall(query("SELECT nowhere FROM pg_sleep(0.2)") + query("INSERT INTO orders VALUES ('a', 1)"))
        received = all_from(client, until=f"C{sqlstate}".encode())
        assert received.index(b"C42703") < received.index(f"C{sqlstate}".encode())
    assert rows(harness.server) == 0


def test_an_answer_that_never_comes_is_not_lost(harness: Harness) -> None:
    """After an error Postgres skips what is flushed: there is nothing to lose, and the session goes on."""
    with closing(raw_session(harness)) as client:
        client.sendall(parse("SELECT nowhere") + FLUSH)
        all_from(client, until=b"C42703")
        schedule = harness.arm(PostgresReset(position="after", when=nth(1)))
        client.sendall(BIND_AND_EXECUTE + FLUSH)
        client.sendall(SYNC)
        assert READY in all_from(client, until=READY)
        assert schedule.fired == {"postgresreset-1": 0}


def test_the_statement_without_a_name_is_still_there(harness: Harness) -> None:
    """A client may bind it again after its execution has failed, as with an error of Postgres's own."""
    with closing(raw_session(harness)) as client:
        client.sendall(parse("SELECT 'still here'") + SYNC)
        all_from(client, until=READY)
        harness.arm(SqlError(sqlstate="40001", when=nth(1)))
        client.sendall(BIND_AND_EXECUTE + SYNC)
        assert b"C40001" in all_from(client, until=READY)
        client.sendall(BIND_AND_EXECUTE + SYNC)
        assert b"still here" in all_from(client, until=READY)


def test_a_slow_line_stops_the_server(harness: Harness) -> None:
    """Back-pressure: of a large result no more is read than what is on its way."""
    with closing(raw_session(harness)) as client:
        (session,) = harness.proxy._sessions
        harness.gate = asyncio.Event()
        harness.arm(PostgresBandwidth(bytes_per_second=1e9))
        client.sendall(query("SELECT repeat('x', 1000) FROM generate_series(1, 20000)"))
        harness.wait_until(lambda: len(harness.slept) == 1)
        first, harness.gate = harness.gate, asyncio.Event()  # the next one waits again, however fast it comes
        harness.loop.call_soon_threadsafe(first.set)
        harness.wait_until(lambda: len(harness.slept) == 2)
        assert session._server._transport is not None
        deadline = time.monotonic() + 20
        while session._server._transport.is_reading():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        harness.release()
        harness.gate = None
        received = 0
        while received < 20_000_000:
            received += len(client.recv(1 << 20))


@pytest.mark.parametrize("fault", [SqlError(sqlstate="40001"), PostgresReset(position="after")], ids=["error", "lost"])
@pytest.mark.parametrize("waits", [False, True])
def test_in_a_pipeline_that_has_failed_nothing_is_left_to_hit(
    harness: Harness, fault: CallFault, *, waits: bool
) -> None:
    """Postgres skips all up to the sync, whatever a fault would do to it, and is ready again then."""
    with closing(raw_session(harness)) as client:
        client.sendall(parse("SELECT nowhere") + BIND_AND_EXECUTE + FLUSH)
        if waits:
            assert b"C42703" in all_from(client, until=b"C42703")
        harness.arm(replace(fault, when=nth(1)))
        client.sendall(parse("SELECT 1") + BIND_AND_EXECUTE + FLUSH + (SYNC if waits else b""))
        received = all_from(client, until=READY if waits else b"C42703")
        assert (READY in received) is waits
        assert b"40001" not in received


class Ears:
    """A session that keeps what its client would get."""

    observed = True

    def __init__(self) -> None:
        self.got = b""

    def answer(self, data: bytes) -> None:
        self.got += data


async def test_what_was_begun_to_be_heard_gets_through_whole(harness: Harness) -> None:
    """However the network cuts it: whole messages that nobody took, and the start of one."""
    ears = Ears()
    side = ServerSide(ears, harness.proxy)  # type: ignore[arg-type]
    side.listen()
    side.data_received(b"C\0\0\0\x05\0Z\0\0\0\x05I" + b"N\0\0")
    assert await side.heard() == [(ord("C"), b"C\0\0\0\x05\0"), (ord("Z"), READY)]
    side.data_received(b"\0\x05!N\0\0\0\x05?S\0")
    assert ears.got == b""
    side.let_through()
    side.data_received(b"\0\0\x04")
    assert ears.got == b"N\0\0\0\x05!N\0\0\0\x05?S\0\0\0\x04"
    harness.proxy.open_sessions = 0


# Decisions


def test_begin_and_rollback_are_operations_of_their_own(harness: Harness) -> None:
    """They are the same for every order: a fault of queries must not depend on which comes first."""
    with harness.connect(autocommit=False) as connection:
        insert(connection)
        connection.rollback()
    assert [call.operation for call in harness.calls] == ["Connect", "Begin", "Query", "Rollback"]


def test_the_same_orders_fail_at_any_concurrency(harness: Harness) -> None:
    """By the names of their statements, whoever comes first."""
    hit: list[set[int]] = []
    for clients in (1, 4):
        harness.loop_does(harness.proxy.reset)
        harness.arm(SqlError(sqlstate="40001", probability=0.4), seed=3)
        failed: set[int] = set()
        connections = [harness.connect(prepare_threshold=None) for _ in range(clients)]
        for order in sorted(range(30), key=lambda order: (order * 7) % clients):
            try:
                insert(connections[order % clients], order)
            except psycopg.errors.SerializationFailure:
                failed.add(order)
        for connection in connections:
            connection.close()
        hit.append(failed)
    assert hit[0] == hit[1]
    assert 5 < len(hit[0]) < 20


def test_no_session_waits_for_another_that_suffers(harness: Harness) -> None:
    """The silence is that of one connection."""
    harness.arm(PostgresBlackHole(seconds=600, operations=("Query",), when=nth(1)))
    with closing(raw_session(harness)) as silent, harness.connect() as free:
        silent.sendall(query("SELECT 1"))
        assert is_silent(silent)
        began = time.monotonic()
        insert(free)
        assert time.monotonic() - began < 5
    assert rows(harness.server) == 1
