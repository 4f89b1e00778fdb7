"""The Postgres proxy between a real psycopg and a real Postgres, on both event loops."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg
import pytest
from postgres_server import Server
from proxied import (
    PATIENCE,
    SILENCE,
    STARTUP,
    Harness,
    backends,
    events_of,
    is_reset,
    is_silent,
    query,
    raw_session,
    rows,
    until_no_session,
    wait_for_backends,
)

from testbed.chaos.call import Injection
from testbed.chaos.faults.slow_postgres import SlowPostgres
from testbed.chaos.schedule import Schedule

# What passes


def test_journals_a_session_from_its_connect_to_its_close(harness: Harness) -> None:
    """Connect, each insert with its rows, close; with the number of sessions open after it."""
    with harness.connect() as connection:
        connection.execute("INSERT INTO orders VALUES ('a', 1), ('b', 2)")
        connection.execute("SELECT * FROM orders")
        connection.execute("INSERT INTO orders VALUES (%s, %s)", ("c", 3))
        assert harness.proxy.open_sessions == 1
    harness.wait_for_event("close")
    nothing = {"sqlstate": None, "message": None, "trace": None}
    assert harness.events == [
        {"event": "connect", "open": 1, **nothing},
        {"event": "insert", "open": 1, "rows": 2, **nothing},
        {"event": "insert", "open": 1, "rows": 1, **nothing},
        {"event": "close", "open": 0, **nothing},
    ]
    assert harness.proxy.inserted == 3


def test_an_insert_without_rows_is_no_event(harness: Harness) -> None:
    """``INSERT 0 0``, as of an order that is stored already, counts nothing."""
    with harness.connect() as connection:
        connection.execute("INSERT INTO orders SELECT 'a', 1 WHERE false")
    harness.wait_for_event("close")
    assert events_of(harness) == ["connect", "close"]


def test_pipelines_pass(harness: Harness) -> None:
    """Many statements before one sync, and results fetched in the middle."""
    with harness.connect() as connection:
        with connection.pipeline():
            for index in range(200):
                connection.execute("INSERT INTO orders VALUES (%s, %s)", (str(index), index))
            found = connection.execute("SELECT sum(quantity) FROM orders").fetchone()
        assert found == (sum(range(200)),)
        connection.cursor().executemany("INSERT INTO orders VALUES (%s, %s)", [("x", 1)] * 500)
    assert harness.proxy.inserted == 700


def test_copy_passes_both_ways(harness: Harness) -> None:
    """A few megabytes in by COPY FROM, out again by COPY TO."""
    lines = [f"order-{index}\t{index}\n" for index in range(100_000)]
    with harness.connect() as connection, connection.cursor() as cursor:
        with cursor.copy("COPY orders FROM STDIN") as copy:
            for start in range(0, len(lines), 1000):
                copy.write("".join(lines[start : start + 1000]))
        with cursor.copy("COPY orders TO STDOUT") as copy:
            back = b"".join(bytes(block) for block in copy)
    assert back.decode() == "".join(lines)


def test_a_big_parameter_and_a_big_result_pass(harness: Harness) -> None:
    """Messages of many chunks: 20 MB in one Bind, back in one DataRow, then as many small rows."""
    blob = bytes(range(256)) * 80_000
    with harness.connect() as connection:
        assert connection.execute("SELECT %b::bytea", (blob,), binary=True).fetchone() == (blob,)
        numbers = connection.execute("SELECT generate_series(1, 200000)").fetchall()
    assert numbers == [(number,) for number in range(1, 200_001)]


def test_encryption_is_refused_as_by_a_server_without_it(harness: Harness) -> None:
    """Clients that prefer TLS or GSS go on without; those that require it say so."""
    with harness.connect(sslmode="prefer") as connection:
        connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="server does not support SSL"):
        harness.connect(sslmode="require")


def test_cancels_a_query_of_another_session(harness: Harness) -> None:
    """The request goes through on a connection of its own, which is no session."""
    with harness.connect() as connection:
        failed: list[Exception] = []

        def wait() -> None:
            try:
                connection.execute("SELECT pg_sleep(60)")
            except psycopg.errors.QueryCanceled as error:
                failed.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        harness.wait_until(lambda: any(call.operation == "Query" for call in list(harness.calls)))
        while waiting.is_alive():  # Postgres drops a cancel request that comes before the query has begun
            connection.cancel_safe(timeout=PATIENCE)
            waiting.join(0.05)
        assert len(failed) == 1
    harness.wait_for_event("close")
    assert events_of(harness) == ["connect", "error", "close"]


def test_nothing_waits_for_more_bytes_to_fill_a_segment(harness: Harness) -> None:
    """TCP_NODELAY is on at both sides: else small messages wait for acknowledgements."""
    with harness.connect():
        (session,) = harness.proxy._sessions
        for transport in (session._client, session._server._transport):
            assert transport is not None
            assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_client_that_does_not_read_stops_the_server(harness: Harness) -> None:
    """Back-pressure: a result of 50 MB is not piled up in the proxy, and arrives whole when it is read."""
    with closing(raw_session(harness)) as client:
        (session,) = harness.proxy._sessions
        server, paused = session._server, threading.Event()
        pause = server.pause_reading
        server.pause_reading = lambda: (pause(), paused.set())[0]  # type: ignore[func-returns-value,method-assign]
        client.sendall(query("SELECT repeat('x', 1000) FROM generate_series(1, 50000)"))
        assert paused.wait(PATIENCE)
        assert server._transport is not None
        assert not server._transport.is_reading()
        received, end = 0, b""
        while not end.endswith(b"Z\0\0\0\x05I"):
            chunk = client.recv(1 << 20)
            received, end = received + len(chunk), (end + chunk)[-6:]
        assert received > 50_000_000


# What goes wrong


def test_notices_sessions_that_postgres_refuses(harness: Harness) -> None:
    """At the limit of connections: SQLSTATE and text of the refusal, which is not counted as a session."""
    user = harness.server.dsn(harness.port, user="app")
    with psycopg.connect(harness.server.dsn(), autocommit=True) as direct:
        direct.execute("CREATE ROLE app LOGIN")
    try:
        held = [psycopg.connect(user) for _ in range(5)]
        with pytest.raises(psycopg.OperationalError, match="remaining connection slots are reserved"):
            psycopg.connect(user)
    finally:
        for connection in held:
            connection.close()
        with psycopg.connect(harness.server.dsn(), autocommit=True) as direct:
            direct.execute("DROP ROLE app")
    refused = harness.wait_for_event("refused")
    assert refused["sqlstate"] == "53300"
    assert "remaining connection slots are reserved" in refused["message"]
    assert refused["open"] == harness.proxy.peak_sessions == 5


def test_journals_errors_inside_sessions(harness: Harness) -> None:
    """The SQLSTATE says what the database refused; the session goes on."""
    with harness.connect() as connection:
        with pytest.raises(psycopg.errors.NumericValueOutOfRange):
            connection.execute("INSERT INTO orders VALUES (%s, %s)", ("a", 2**63))
        assert connection.execute("SELECT 1").fetchone() == (1,)
    error = harness.wait_for_event("error")
    assert (error["sqlstate"], error["message"]) == ("22003", "integer out of range")
    assert harness.proxy.inserted == 0


def test_a_killed_backend_ends_the_session_of_its_client(harness: Harness) -> None:
    """The client hears Postgres's own last words, and the session is no longer counted."""
    with harness.connect() as connection:
        with psycopg.connect(harness.server.dsn(), autocommit=True) as direct:
            direct.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("SELECT 1")
    harness.wait_for_event("close")
    assert [(event["event"], event["sqlstate"]) for event in harness.events[1:]] == [
        ("error", "57P01"),
        ("close", None),
    ]


def test_a_client_that_resets_its_connection_frees_that_of_postgres(harness: Harness) -> None:
    """A killed function leaves no session behind."""
    client = raw_session(harness)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    harness.wait_for_event("close")
    assert harness.proxy.open_sessions == 0


def test_a_half_closed_client_still_gets_its_answer(harness: Harness) -> None:
    """The end of what the client sends passes on; what was asked before is answered."""
    with closing(raw_session(harness)) as client:
        client.sendall(query("SELECT 'last words'"))
        client.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: client.recv(4096), b""))
    assert b"last words" in received


def test_a_postgres_that_cannot_be_reached_refuses(harness: Harness) -> None:
    """The client's connection breaks, and the journal says why; once Postgres is back sessions open again."""
    upstream = harness.proxy.upstream
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        harness.proxy.upstream = nobody.getsockname()
        with pytest.raises(psycopg.OperationalError):
            harness.connect()
    assert "cannot be reached" in harness.wait_for_event("refused")["message"]
    harness.proxy.upstream = upstream
    harness.connect().close()


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", struct.pack("!II", 8, 196608) + b"Q\0\0\0\1"], ids=["start-up", "message"]
)
def test_cuts_off_what_does_not_speak_the_protocol(harness: Harness, garbage: bytes) -> None:
    """Bytes that no Postgres client sends end their own connection, and no other."""
    with harness.connect() as connection, closing(socket.create_connection(("127.0.0.1", harness.port))) as client:
        client.settimeout(PATIENCE)
        client.sendall(garbage)
        with pytest.raises(ConnectionResetError):
            client.recv(4096)
        assert harness.wait_for_event("error")["sqlstate"] == "08P01"
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_connection_that_says_nothing_costs_postgres_nothing(harness: Harness) -> None:
    """A port probe opens no connection to Postgres, and leaves nothing in the journal."""
    with closing(socket.create_connection(("127.0.0.1", harness.port))) as probe:
        probe.settimeout(PATIENCE)
        probe.shutdown(socket.SHUT_WR)
        assert probe.recv(1) == b""
    assert harness.calls == []
    assert harness.events == []


def test_stop_cuts_what_is_still_open(harness: Harness) -> None:
    """Held packets included: nothing of the proxy is left on the loop."""
    open_session = harness.connect()
    harness.gate, harness.injection = asyncio.Event(), Injection("slow", delay=1)
    with closing(raw_session_held(harness)) as held, open_session:
        harness.run(harness.proxy.stop())
        with pytest.raises(ConnectionResetError):
            held.recv(1)
        assert harness.proxy._sessions == set()
        with pytest.raises(psycopg.OperationalError):
            open_session.execute("SELECT 1")


# Delays


def test_each_round_trip_is_held_back_once(harness: Harness) -> None:
    """Connect, a query with parameters, a pipeline, a COPY: one delay each, whatever the number of messages."""
    harness.injection = Injection("slow", delay=0.25)
    with harness.connect() as connection:
        assert len(harness.slept) == 1
        connection.execute("INSERT INTO orders VALUES (%s, %s)", ("a", 1))
        assert len(harness.slept) == 2
        with connection.pipeline():
            for index in range(3):
                connection.execute("INSERT INTO orders VALUES (%s, %s)", ("b", index))
        assert len(harness.slept) == 3
        with connection.cursor().copy("COPY orders FROM STDIN") as copy:
            copy.write("c\t3\n" * 1000)
        assert len(harness.slept) == 4
    harness.wait_for_event("close")
    assert harness.slept == [0.25] * 4
    assert [call.operation for call in harness.calls] == ["Connect", "Query", "Query", "Query"]
    assert {(call.service, call.resource, call.at) for call in harness.calls} == {("postgres", "postgres", 7.5)}


def test_a_delayed_round_trip_reaches_postgres_only_afterwards(harness: Harness) -> None:
    """Held before it is executed; the ones behind it keep their order, though they are not delayed themselves."""
    with closing(raw_session(harness)) as client:
        harness.gate, harness.injection = asyncio.Event(), Injection("slow", delay=1)
        client.sendall(query("INSERT INTO orders VALUES ('a', 1)") + query("SELECT count(*) FROM orders"))
        harness.wait_until(lambda: len(harness.slept) == 1)
        assert rows(harness.server) == 0
        harness.injection = None
        harness.release()
        received = b""
        while received.count(b"Z\0\0\0\x05I") < 2:
            received += client.recv(4096)
    assert received.index(b"INSERT 0 1") < received.index(b"SELECT 1")
    assert rows(harness.server) == 1


def test_a_round_trip_on_its_way_is_not_taken_back(harness: Harness) -> None:
    """A client that dies while its insert is held back has sent it: Postgres executes it, as on a slow network."""
    client = raw_session(harness)
    harness.gate, harness.injection = asyncio.Event(), Injection("slow", delay=1)
    client.sendall(query("INSERT INTO orders VALUES ('a', 1)"))
    harness.wait_until(lambda: len(harness.slept) == 1)
    client.close()
    assert harness.proxy.held == 1
    harness.release()
    harness.wait_for_event("close")
    assert harness.proxy.held == 0
    assert rows(harness.server) == 1


def test_a_held_session_is_not_read_from(harness: Harness) -> None:
    """Back-pressure: what the client sends meanwhile waits in its own socket, not in the proxy."""
    with closing(raw_session(harness)) as client:
        (session,) = harness.proxy._sessions
        assert session._client is not None
        harness.gate, harness.injection = asyncio.Event(), Injection("slow", delay=1)
        client.sendall(query("SELECT 1"))
        harness.wait_until(lambda: len(harness.slept) == 1)
        assert not session._client.is_reading()
        harness.release()
        assert b"SELECT 1" in client.recv(4096)
        assert session._client.is_reading()


def test_one_held_session_does_not_hold_another(harness: Harness) -> None:
    """The delay is that of the round trip alone."""
    with harness.connect() as free:
        harness.gate, harness.injection = asyncio.Event(), Injection("slow", delay=1)
        with closing(raw_session_held(harness)):
            harness.injection = None
            assert free.execute("SELECT 1").fetchone() == (1,)
            harness.release()


def raw_session_held(harness: Harness) -> socket.socket:
    """A client whose start-up is held back."""
    before = len(harness.slept)
    client = socket.create_connection(("127.0.0.1", harness.port), PATIENCE)
    client.sendall(struct.pack("!II", 8, 196608))
    harness.wait_until(lambda: len(harness.slept) > before)
    return client


# Decisions


def named(harness: Harness) -> set[tuple[str, int]]:
    """Identity and attempt of the inserts' round trips: those seen once in all."""
    return {(call.identity, call.attempt) for call in harness.calls if call.operation == "Query"}


def insert(connection: psycopg.Connection[Any], order: int) -> None:
    connection.execute("INSERT INTO orders VALUES (%s, %s)", (f"order-{order}", order))


def test_a_query_has_the_same_name_however_the_orders_share_connections(harness: Harness) -> None:
    """Psycopg prepares a statement once a connection has seen it five times; an insert's name must not show that."""
    with harness.connect() as connection:
        for order in range(12):
            insert(connection, order)
    on_one = named(harness)
    harness.calls.clear()
    harness.proxy.reset()
    for order in reversed(range(12)):
        with harness.connect() as connection:
            insert(connection, order)
    on_many = named(harness)
    assert len(on_many) == 12
    assert len(on_one - on_many) == 1  # the round trip that prepares
    assert on_many <= on_one


def test_a_commit_is_named_after_what_it_commits(harness: Harness) -> None:
    """So a fault can hit the commit of one order, and the same in every run; the bare word is that of all orders."""
    with harness.connect(autocommit=False) as connection:
        for order in range(3):
            insert(connection, order)
            connection.commit()
    harness.wait_for_event("close")
    begin, insert_1, commit_1, begin_2, insert_2, commit_2, *_ = [c for c in harness.calls if c.operation != "Connect"]
    assert begin.identity == begin_2.identity
    assert (begin.attempt, begin_2.attempt) == (1, 2)
    assert len({insert_1.identity, insert_2.identity, commit_1.identity, commit_2.identity}) == 4


def test_attempts_count_until_reset(harness: Harness) -> None:
    """The same question again is the next attempt; a new run starts at the first."""
    with harness.connect() as connection:
        for _ in range(3):
            connection.execute("SELECT 1")
        assert [call.attempt for call in harness.calls if call.operation == "Query"] == [1, 2, 3]
        harness.proxy.reset()
        connection.execute("SELECT 1")
        assert harness.calls[-1].attempt == 1
        assert harness.proxy.peak_sessions == harness.proxy.open_sessions == 1


def test_slow_postgres_delays_the_same_orders_alike_at_any_concurrency(harness: Harness) -> None:
    """The jitter of each order's insert is the same whether one client sends all of them or eight do."""
    alone, together = (delays_of_forty_inserts(harness, clients) for clients in (1, 4))
    shared = alone.keys() & together.keys()
    assert len(shared) == 41  # the inserts, and the first connect
    assert {name: alone[name] for name in shared} == {name: together[name] for name in shared}
    assert len(set(alone.values())) > 30


def delays_of_forty_inserts(harness: Harness, clients: int) -> dict[str, float]:
    """Identity and attempt to delay, where so many clients share the orders."""
    delays: dict[str, float] = {}
    harness.proxy.reset()
    harness.proxy._decide = Schedule(
        [SlowPostgres(latency_ms=50, jitter_ms=40)],
        seed=9,
        listener=lambda call, injection: delays.update({f"{call.identity} {call.attempt}": injection.delay}),
    ).decide

    def work(first: int) -> None:
        with harness.connect(prepare_threshold=None) as connection:
            for order in range(first, 40, clients):
                insert(connection, order)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return delays


# Cuts


def test_a_cut_holds_what_is_sent_and_ends_in_a_reset(harness: Harness) -> None:
    """The client hears nothing, Postgres keeps the slot and never gets the insert; in the end both are reset."""
    with closing(raw_session(harness)) as client:
        harness.cut()
        client.sendall(query("INSERT INTO orders VALUES ('a', 1)"))
        assert is_silent(client)
        assert (rows(harness.server), backends(harness.server), harness.proxy.open_sessions) == (0, 1, 1)
        assert events_of(harness) == ["connect"]
        harness.mend()
        assert is_reset(client)
    wait_for_backends(harness.server, 0)
    assert rows(harness.server) == 0
    assert [(event["event"], event["open"]) for event in harness.events] == [("connect", 1), ("reset", 0)]


def test_an_answer_on_its_way_is_held_too(harness: Harness) -> None:
    """Postgres executed it; the client never learns that."""
    with closing(raw_session(harness)) as client:
        client.sendall(query("SELECT pg_sleep(0.2); INSERT INTO orders VALUES ('a', 1)"))
        harness.wait_until(lambda: any(call.operation == "Query" for call in list(harness.calls)))
        harness.cut()
        assert is_silent(client)
        assert rows(harness.server) == 1
        harness.mend()
        assert is_reset(client)
    assert harness.proxy.inserted == 0


def test_a_cut_stops_a_result_in_the_middle(harness: Harness) -> None:
    """Even what the proxy had read already: no more comes than the client's own buffers hold."""
    with closing(raw_session(harness)) as client:
        client.sendall(query("SELECT repeat('x', 1000) FROM generate_series(1, 50000)"))
        client.recv(1000)
        harness.cut()
        time.sleep(SILENCE)
        client.settimeout(SILENCE)
        received = 0
        with suppress(TimeoutError):
            while received < 20_000_000:
                received += len(client.recv(1 << 20))
        assert received < 20_000_000
        client.settimeout(PATIENCE)
        harness.mend()
        assert is_reset(client)


def test_a_session_that_breaks_in_a_cut_stays_as_it_is(harness: Harness) -> None:
    """Postgres ends it; news of that does not get through either, and it counts until the end of the cut."""
    with closing(raw_session(harness)) as client:
        harness.cut()
        with psycopg.connect(harness.server.dsn(), autocommit=True) as direct:
            direct.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        wait_for_backends(harness.server, 0)
        assert is_silent(client)
        assert harness.proxy.open_sessions == 1
        harness.mend()
        assert is_reset(client)
    assert events_of(harness) == ["connect", "reset"]


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
def test_postgres_does_not_see_that_a_client_gives_up_in_a_cut(harness: Harness, *, reset: bool) -> None:
    """Its slot stays taken until the cut ends."""
    client = raw_session(harness)
    harness.cut()
    if reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    time.sleep(SILENCE)
    assert (backends(harness.server), harness.proxy.open_sessions) == (1, 1)
    harness.mend()
    wait_for_backends(harness.server, 0)


def test_who_connects_in_a_cut_waits_for_its_end(harness: Harness) -> None:
    """As with a network that drops all packets, and a client that sends its first one again; encryption included."""
    connected: list[float] = []

    def connect() -> None:
        with harness.connect(sslmode="prefer") as connection:
            connected.append(time.monotonic())
            connection.execute("INSERT INTO orders VALUES ('a', 1)")

    harness.cut()
    waiting = threading.Thread(target=connect)
    waiting.start()
    time.sleep(SILENCE)
    assert (connected, harness.calls, backends(harness.server)) == ([], [], 0)
    mended = time.monotonic()
    harness.mend()
    waiting.join(PATIENCE)
    assert connected[0] >= mended
    assert rows(harness.server) == 1


def test_who_gave_up_connecting_in_a_cut_never_reaches_postgres(harness: Harness) -> None:
    """Neither then nor at the end: no call, no session, no line."""
    harness.cut()
    with closing(socket.create_connection(("127.0.0.1", harness.port), PATIENCE)) as client:
        client.sendall(STARTUP)
        assert is_silent(client)
    harness.run(until_no_session(harness))
    harness.mend()
    harness.connect().close()
    harness.wait_for_event("close")
    assert [call.operation for call in harness.calls] == ["Connect"]
    assert events_of(harness) == ["connect", "close"]


def test_what_is_held_back_when_the_cut_begins_is_lost(harness: Harness) -> None:
    """A delayed round trip, and a session that is being opened: both are reset at the end, and reach nobody."""
    with closing(raw_session(harness)) as client:
        harness.gate, harness.injection = asyncio.Event(), Injection("slow", delay=1)
        client.sendall(query("INSERT INTO orders VALUES ('a', 1)"))
        harness.wait_until(lambda: len(harness.slept) == 1)
        with closing(raw_session_held(harness)) as opening:
            harness.cut()
            harness.release()
            assert is_silent(client)
            assert is_silent(opening)
            harness.mend()
            assert is_reset(client)
            assert is_reset(opening)
    wait_for_backends(harness.server, 0)
    assert rows(harness.server) == 0


def test_a_cut_that_is_one_already_and_the_end_of_none_do_nothing(harness: Harness) -> None:
    """Sessions go on, and frozen ones are reset once."""
    with closing(raw_session(harness)) as client:
        harness.mend()
        client.sendall(query("SELECT 1"))
        assert b"SELECT 1" in client.recv(4096)
        harness.cut()
        harness.cut()
        assert is_silent(client)
        harness.mend()
        assert is_reset(client)
    assert events_of(harness) == ["connect", "reset"]


def test_stop_in_a_cut_leaves_nothing_open(harness: Harness) -> None:
    """Frozen sessions, and those that wait."""
    with closing(raw_session(harness)) as client:
        harness.cut()
        with closing(socket.create_connection(("127.0.0.1", harness.port), PATIENCE)) as waiting:
            waiting.sendall(STARTUP)
            assert is_silent(waiting)
            harness.run(harness.proxy.stop())
            assert is_reset(waiting)
        assert is_reset(client)
    wait_for_backends(harness.server, 0)


# The testbed's own sessions, and a Postgres that moves


@contextmanager
def superuser(server: Server, name: str) -> Iterator[None]:
    """One more superuser."""
    with psycopg.connect(server.dsn(), autocommit=True) as direct:
        direct.execute(f"CREATE ROLE {name} SUPERUSER LOGIN")  # type: ignore[arg-type]  # of a test
        yield
        direct.execute(f"DROP ROLE {name}")  # type: ignore[arg-type]  # of a test


def test_sessions_of_the_superuser_pass_unobserved(harness: Harness) -> None:
    """No decision, no delay, no line, no count; whatever they do, even fail."""
    harness.injection = Injection("slow", delay=1)
    with superuser(harness.server, "boss"):
        with psycopg.connect(harness.server.dsn(harness.port, "boss"), autocommit=True) as connection:
            connection.execute("INSERT INTO orders VALUES ('a', 1)")
            with pytest.raises(psycopg.errors.UndefinedTable):
                connection.execute("SELECT * FROM nowhere")
            assert backends(harness.server) == 2
            assert harness.proxy.open_sessions == harness.proxy.peak_sessions == harness.proxy.inserted == 0
        harness.run(until_no_session(harness))
        wait_for_backends(harness.server, 1)
    assert (harness.calls, harness.slept, harness.events) == ([], [], [])
    with pytest.raises(psycopg.OperationalError, match='role "boss" does not exist'):
        psycopg.connect(harness.server.dsn(harness.port, "boss"))
    assert harness.events == []


def test_sessions_of_the_superuser_are_held_in_a_cut(harness: Harness) -> None:
    """And reset without a line."""
    with superuser(harness.server, "boss"):
        connection = psycopg.connect(harness.server.dsn(harness.port, "boss"), autocommit=True)
        harness.cut()
        failed: list[Exception] = []

        def insert_into() -> None:
            try:
                connection.execute("INSERT INTO orders VALUES ('a', 1)")
            except psycopg.OperationalError as error:
                failed.append(error)

        waiting = threading.Thread(target=insert_into)
        waiting.start()
        time.sleep(SILENCE)
        assert (failed, rows(harness.server)) == ([], 0)
        harness.mend()
        waiting.join(PATIENCE)
        assert len(failed) == 1
        wait_for_backends(harness.server, 1)
    assert harness.events == []


def test_sessions_survive_a_move_to_where_postgres_is(harness: Harness) -> None:
    """Only those with another address are reset; new ones go to the new address."""
    with closing(raw_session(harness)) as client:
        here = harness.proxy.upstream
        harness.loop_does(lambda: harness.proxy.move(here, "boss"))
        client.sendall(query("SELECT 1"))
        assert b"SELECT 1" in client.recv(4096)
        harness.loop_does(lambda: harness.proxy.move(("127.0.0.2", here[1]), "boss"))
        assert is_reset(client)
        harness.wait_for_event("close")
    with pytest.raises(psycopg.OperationalError):
        harness.connect()
    harness.loop_does(lambda: harness.proxy.move(here, "postgres"))
    harness.events.clear()
    harness.connect().close()
    assert harness.events == []


def test_a_postgres_that_moves_in_a_cut_is_where_the_waiting_go(harness: Harness) -> None:
    """A container that comes back to the network may have another port."""
    here = harness.proxy.upstream
    harness.loop_does(lambda: harness.proxy.move(("127.0.0.2", here[1]), "boss"))
    harness.cut()
    with closing(socket.create_connection(("127.0.0.1", harness.port), PATIENCE)) as client:
        client.sendall(STARTUP)
        assert is_silent(client)
        harness.loop_does(lambda: harness.proxy.move(here, "boss"))
        assert is_silent(client)
        harness.mend()
        assert client.recv(1) == b"R"
