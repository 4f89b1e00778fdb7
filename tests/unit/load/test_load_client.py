"""The client of the open model against small servers that misbehave on purpose."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from testbed.errors import HarnessError
from testbed.ledger.history import Attempt, Outcome
from testbed.load.client import LoadSummary, classify, run_load
from testbed.load.orders import Request
from testbed.trace import HEADER, digest_of, order_of, parse_trace

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Streams = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def requests(*planned: float, method: str = "POST") -> list[Request]:
    return [
        Request(id=f"o-{n}", planned=t, method=method, url_path="/orders", body=b"{}") for n, t in enumerate(planned)
    ]


async def load(plan: Sequence[Request], url: str, **options: Any) -> tuple[LoadSummary, list[Attempt]]:
    """Run the load; the attempts are sorted by id."""
    attempts: list[Attempt] = []
    settings: dict[str, Any] = {"timeout": 30.0, "max_in_flight": 100, "record": attempts.append} | options
    summary = await run_load(plan, architecture="sync", base_url=url, **settings)
    return summary, sorted(attempts, key=lambda attempt: attempt.id)


@asynccontextmanager
async def http_server(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True)  # a handler ends with its client
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.name.replace(":0", f":{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_server(serve: Streams) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextmanager
def refusing_port() -> Iterator[str]:
    """A port that is taken but doesn't listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


async def ok(_: web.Request) -> web.Response:
    return web.Response(status=202)


async def hang(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ((200, 201, 202, 299), Outcome.ACKNOWLEDGED),
        ((502, 504), Outcome.UNKNOWN),
        ((199, 300, 302, 400, 413, 429, 500, 501, 503, 505), Outcome.REFUSED),
    ],
)
def test_a_status_says_what_the_client_may_conclude(statuses: tuple[int, ...], outcome: Outcome) -> None:
    """Only 2xx acknowledges, and after 502 or 504 the function may have done its work."""
    assert {classify(status) for status in statuses} == {outcome}


async def test_no_request_waits_for_the_answer_to_another() -> None:
    """Nobody is answered before all five have arrived: a client that waits for answers would hang."""
    arrived = asyncio.Barrier(5)

    async def together(_: web.Request) -> web.Response:
        await arrived.wait()
        return web.Response()

    async with http_server(together) as url:
        summary, attempts = await load(requests(0, 0, 0.01, 0.01, 0.02), url)
    assert [attempt.outcome for attempt in attempts] == [Outcome.ACKNOWLEDGED] * 5
    assert (summary.acknowledged, summary.sent, summary.in_flight) == (5, 5, 0)


async def test_nothing_leaves_before_its_planned_time() -> None:
    """Every request is sent at or after the time it was planned for."""
    async with http_server(ok) as url:
        _, attempts = await load(requests(0, 0.02, 0.05), url)
    assert all(attempt.sent is not None and attempt.sent >= attempt.planned for attempt in attempts)


async def test_the_request_arrives_as_it_was_planned() -> None:
    """Method, path, headers, body, and a trace id that the attempt names as well."""
    seen: list[dict[str, Any]] = []

    async def look(request: web.Request) -> web.Response:
        seen.append(
            {
                "line": f"{request.method} {request.path_qs}",
                "type": request.headers["Content-Type"],
                "body": await request.read(),
                "trace": parse_trace(request.headers[HEADER]),
            }
        )
        return web.Response()

    order = Request(
        id="o-7",
        planned=0.012,
        method="PUT",
        url_path="/orders/7?x=1",
        headers={"Content-Type": "application/json"},
        body=b'{"id": "o-7"}',
        poison="wrong type",
        number=8,
    )
    async with http_server(look) as url:
        _, [attempt] = await load([order], url + "/")
    assert seen == [
        {
            "line": "PUT /orders/7?x=1",
            "type": "application/json",
            "body": b'{"id": "o-7"}',
            "trace": (attempt.trace, 0.012),
        }
    ]
    assert (attempt.architecture, attempt.id, attempt.planned, attempt.poison) == ("sync", "o-7", 0.012, "wrong type")
    assert order_of(attempt.trace or "") == (8, digest_of("o-7"))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (json.dumps({"error": "too_many_connections"}), "too_many_connections"),
        (json.dumps({"error": 7}), None),
        (json.dumps({"message": "Internal server error"}), None),
        (json.dumps({"error": "no \0 and no \ud800"}), r"no \x00 and no \ud800"),
        (json.dumps(["error"]), None),
        ("[" * 100_000, None),
        ("<html>", None),
        ("", None),
    ],
)
async def test_a_refusal_keeps_the_error_that_the_body_names(body: str, error: str | None) -> None:
    """The text of ``error`` in a JSON object, and nothing guessed from other bodies."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=503, text=body)

    async with http_server(refuse) as url:
        _, [attempt] = await load(requests(0), url)
    assert (attempt.outcome, attempt.status, attempt.error) == (Outcome.REFUSED, 503, error)


async def test_a_client_that_gives_up_does_not_know() -> None:
    """After its time-out the request may still be carried out."""
    async with http_server(hang) as url:
        _, [attempt] = await load(requests(0), url, timeout=0.05)
    assert (attempt.outcome, attempt.status, attempt.error) == (Outcome.UNKNOWN, None, "TimeoutError")
    assert attempt.finished is not None


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "ServerDisconnectedError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "ClientPayloadError"),
        (b"nonsense\r\n\r\n", "ClientResponseError"),
    ],
)
async def test_a_lost_answer_is_unknown(answer: bytes, error: str) -> None:
    """The request was received; whether it was carried out nobody told."""

    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with raw_server(lose) as url:
        _, [attempt] = await load(requests(0), url)
    assert (attempt.outcome, attempt.status, attempt.error) == (Outcome.UNKNOWN, None, error)


async def test_a_refused_connection_is_unsent() -> None:
    """Nothing left the client, so there is nothing to wonder about, and no times."""
    with refusing_port() as url:
        summary, [attempt] = await load(requests(0), url)
    assert (attempt.outcome, attempt.sent, attempt.finished) == (Outcome.UNSENT, None, None)
    assert attempt.error == "ClientConnectorError"
    assert (summary.unsent, summary.sent) == (1, 0)


async def test_requests_beyond_the_cap_in_flight_are_counted_as_unsent() -> None:
    """With room for two, the third is recorded at once while the two wait; later ones find room again."""
    third_recorded = asyncio.Event()
    attempts: dict[str, Attempt] = {}

    async def wait(_: web.Request) -> web.Response:
        await third_recorded.wait()
        return web.Response()

    def record(attempt: Attempt) -> None:
        attempts[attempt.id] = attempt
        if attempt.outcome is Outcome.UNSENT:
            third_recorded.set()

    async with http_server(wait) as url:
        summary, _ = await load(requests(0, 0, 0), url, max_in_flight=2, record=record)
    assert [attempts[f"o-{n}"].outcome.value for n in range(3)] == ["acknowledged", "acknowledged", "unsent"]
    assert attempts["o-2"].error == "too many requests in flight"
    assert (summary.planned, summary.sent, summary.unsent) == (3, 2, 1)


async def test_a_broken_connection_is_not_tried_again_in_secret() -> None:
    """A kept-alive connection that breaks on its second GET: two requests arrive for two attempts, not three."""
    arrived: list[bytes] = []

    async def break_at_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # the client went away between two requests
            while True:
                arrived.append(await reader.readuntil(b"\r\n\r\n"))
                if len(arrived) == 2:
                    break
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        writer.close()

    plan = [replace(request, body=b"") for request in requests(0, 0.2, method="GET")]
    async with raw_server(break_at_the_second) as url:
        _, attempts = await load(plan, url)
    assert len(arrived) == 2
    assert [attempt.outcome for attempt in attempts] == [Outcome.ACKNOWLEDGED, Outcome.UNKNOWN]


async def test_a_redirect_is_not_followed() -> None:
    """One request, one attempt: a redirect is an answer that is not 2xx."""
    paths: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with http_server(redirect) as url:
        _, [attempt] = await load(requests(0), url)
    assert (paths, attempt.outcome, attempt.status) == (["/orders"], Outcome.REFUSED, 307)


async def test_being_late_is_measured_and_counts_as_latency() -> None:
    """Second 0 was five seconds ago: the lag says it, and the time of the answer counts from the plan."""
    async with http_server(ok) as url:
        summary, [attempt] = await load(requests(0), url, start=time.monotonic() - 5)
    assert summary.max_lag >= 5
    assert attempt.sent is not None
    assert attempt.finished is not None
    assert attempt.finished >= attempt.sent >= 5


async def test_what_is_in_flight_when_the_load_is_cancelled_is_unknown() -> None:
    """Ctrl-C: the two that have left are recorded, the one planned for much later is not."""
    both_arrived = asyncio.Event()
    arrived: list[str] = []
    attempts: list[Attempt] = []

    async def hold(request: web.Request) -> web.Response:
        arrived.append(request.path)
        if len(arrived) == 2:
            both_arrived.set()
        return await hang(request)

    async with http_server(hold) as url:
        task = asyncio.create_task(load(requests(0, 0, 3600), url, record=attempts.append))
        await both_arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert sorted((a.id, a.outcome.value, a.error) for a in attempts) == [
        ("o-0", "unknown", "CancelledError"),
        ("o-1", "unknown", "CancelledError"),
    ]
    assert all(attempt.finished is not None for attempt in attempts)


async def test_a_history_that_cannot_be_written_ends_the_load_at_once() -> None:
    """What is not recorded can't be accounted for: the writer's own error comes out, no group, no waiting."""

    def full(_: Attempt) -> None:
        raise HarnessError("no space left on device")

    async with http_server(ok) as url:
        with pytest.raises(HarnessError, match="no space left"):
            await load(requests(0, 0, 3600), url, record=full)


async def test_progress_is_told_after_every_attempt() -> None:
    """The live line sees the counts grow."""
    seen: list[tuple[int, int]] = []
    with refusing_port() as url:
        await load(requests(0, 0, 0), url, progress=lambda s: seen.append((s.planned, s.unsent)))
    assert seen == [(3, 1), (3, 2), (3, 3)]


async def test_a_large_body_arrives_whole() -> None:
    """And with its length, of which aiohttp has nothing to warn."""
    received = []

    async def take(request: web.Request) -> web.Response:
        received.append((request.content_length, len(await request.read())))
        return web.Response(status=202)

    app = web.Application(client_max_size=2**22)
    app.router.add_post("/orders", take)
    async with TestServer(app) as server:
        (order,) = requests(0.0)
        await load([replace(order, body=b"x" * 1_100_000)], str(server.make_url("")).rstrip("/"))
    assert received == [(1_100_000, 1_100_000)]


async def test_an_empty_plan_is_done() -> None:
    """No traffic is no error."""
    summary, attempts = await load([], "http://127.0.0.1:9")
    assert (summary, attempts) == (LoadSummary(planned=0), [])
