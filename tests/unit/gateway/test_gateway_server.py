"""The gateway on HTTP: what goes through it arrives as it was sent, both ways."""

import asyncio
import base64
import gzip
import hashlib
import io
import json
import logging
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from gateway_world import World, begin_and_end, until

from testbed.gateway.message import Inbound, Reply

BIG = bytes(range(256)) * (3 * 4096)  # 3 MB: more than is read before it is passed on
SCOPE = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"
AS_LAMBDA = f"Authorization: {SCOPE.format('lambda')}"
INVOKE = "/2015-03-31/functions/f/invocations"


def raw(world: World, request_line: str, *headers: str, body: bytes = b"") -> bytes:
    """A request that closes its connection."""
    lines = [f"{request_line} HTTP/1.1", f"Host: {world.host}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def status_of(answer: bytes) -> int:
    """The status of a raw answer."""
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    "target",
    [
        "/a%2Fb/c%20d/%7Euser?x=%2B&y=a+b&z",
        "/bucket/%E2%82%AC//x/../y",
        "/a;b=c/@:,$&'()*!",
        "/?list-type=2&prefix=%25",
    ],
)
async def test_a_target_reaches_the_emulator_byte_for_byte(world: World, target: str) -> None:
    """Percent-encoding, empty segments and dots: a signature, or a key of S3, is made of them."""
    assert status_of(await world.exchange(raw(world, f"GET {target}"))) == 200
    assert world.emulator.received[0].target == target


async def test_an_absolute_target_is_understood(world: World) -> None:
    """The form in which proxies are asked (RFC 9112, 3.2.2)."""
    assert status_of(await world.exchange(raw(world, f"GET http://{world.host}/a%2Fb?c"))) == 200
    assert world.emulator.received[0].target == "/a%2Fb?c"


async def test_repeated_headers_are_kept(world: World) -> None:
    """On the way to the emulator and on the way back, in order."""

    async def cookies(_: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(body=b"ok")
        response.headers.add("Set-Cookie", "a=1")
        response.headers.add("Set-Cookie", "b=2")
        return response

    world.emulator.respond = cookies
    answer = await world.exchange(raw(world, "GET /x", "X-Many: 1", "X-Many: 2"))
    assert world.emulator.received[0].headers.getall("X-Many") == ["1", "2"]
    assert answer.count(b"Set-Cookie: ") == 2


async def test_hop_by_hop_headers_stay_on_their_hop(world: World) -> None:
    """Everything else goes on, the client's Host and User-Agent included."""
    await world.exchange(raw(world, "GET /x", "TE: trailers", "User-Agent: me", "Accept: b/c"))
    headers = world.emulator.received[0].headers
    assert (headers["Host"], headers["User-Agent"], headers["Accept"]) == (world.host, "me", "b/c")
    assert "TE" not in headers


@pytest.mark.parametrize(
    ("origin", "status"), [("http://evil.example", 403), ("null", 403), ("http://{host}", 200), ("https://{host}", 200)]
)
async def test_pages_of_others_are_refused(world: World, origin: str, status: int) -> None:
    """A browser names the page that a request comes from; without one it is no browser's (Fetch standard, Origin)."""
    answer = await world.exchange(raw(world, "POST /x", f"Origin: {origin.format(host=world.host)}"))
    assert status_of(answer) == status
    assert len(world.emulator.received) == (status == 200)


async def test_pages_of_others_cannot_reach_the_testbed_s_own_routes(world: World) -> None:
    """Nor can a page ask for permission first."""
    for method in ("POST", "OPTIONS"):
        answer = await world.exchange(raw(world, f"{method} /_testbed/status", "Origin: http://evil.example"))
        assert status_of(answer) == 403
        assert b"access-control" not in answer.lower()


async def test_a_client_that_waits_for_a_continue_gets_it(world: World) -> None:
    """The body is sent only once the gateway says so (RFC 9110, Expect); boto3 does that for S3."""
    reader, writer = await asyncio.open_connection(*world.host.split(":"))
    writer.write(
        raw(world, "PUT /b/k", f"Authorization: {SCOPE.format('s3')}", "Expect: 100-continue", "Content-Length: 2")
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert world.emulator.received == []
    writer.write(b"ok")
    assert status_of(await reader.read()) == 200
    writer.close()
    assert world.emulator.received[0].body == b"ok"
    assert "Expect" not in world.emulator.received[0].headers


async def test_boto3_moves_large_objects(world: World) -> None:
    """Up and down through S3, by the real client, checksums included."""
    s3 = world.client("s3")
    world.emulator.answers(b"")
    await asyncio.to_thread(s3.put_object, Bucket="b", Key="a key/ü", Body=io.BytesIO(BIG))
    sent = world.emulator.received[0]
    assert sent.target == "/b/a%20key/%C3%BC"
    assert sent.body == BIG
    world.emulator.answers(BIG)
    answer = await asyncio.to_thread(s3.get_object, Bucket="b", Key="k")
    assert hashlib.sha256(await asyncio.to_thread(answer["Body"].read)).digest() == hashlib.sha256(BIG).digest()


async def test_a_large_upload_is_passed_on_as_it_comes(world: World) -> None:
    """The emulator gets the beginning while the end is still to be sent."""
    began = asyncio.Event()
    received: list[int] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        async for piece in request.content.iter_any():
            received.append(len(piece))
            began.set()
        return web.Response(body=b"ok")

    world.emulator.respond, world.emulator.reads_itself = handle, True
    async with world.connection() as (reader, writer):
        writer.write(raw(world, "PUT /b/k", f"Authorization: {SCOPE.format('s3')}", f"Content-Length: {len(BIG)}"))
        writer.write(BIG[:1000])
        await began.wait()
        writer.write(BIG[1000:])
        assert status_of(await reader.read()) == 200
    assert sum(received) == len(BIG)


async def test_a_large_answer_is_passed_on_as_it_comes(world: World) -> None:
    """The client gets the beginning while the emulator still makes the end."""
    may_end = asyncio.Event()
    world.emulator.respond = begin_and_end(may_end)
    async with aiohttp.ClientSession() as session, session.get(f"http://{world.host}/logs") as answer:
        assert await answer.content.readexactly(5) == b"begin"
        may_end.set()
        assert await answer.content.read() == b"end"


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"X-Amz-Target": "AmazonSQS.SendMessage"}, "/"),
        ({"Authorization": SCOPE.format("sns"), "Content-Type": "application/x-www-form-urlencoded"}, "/"),
        ({"Authorization": SCOPE.format("sqs")}, "/"),
        ({}, "/x"),
        ({"Authorization": SCOPE.format("s3")}, "/b/k"),
    ],
)
@pytest.mark.parametrize("chunked", [True, False])
async def test_bodies_of_every_length_and_coding_arrive(
    world: World, headers: dict[str, str], path: str, *, chunked: bool
) -> None:
    """In chunks or at once, read first or streamed."""

    async def pieces(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    async with aiohttp.ClientSession(f"http://{world.host}", auto_decompress=False) as session:
        for body in (b"", b"small", BIG):
            data = pieces(body) if chunked else io.BytesIO(body)
            async with session.post(path, data=data, headers=headers) as answer:
                assert answer.status == 200
            assert world.emulator.received[-1].body == body


@pytest.mark.parametrize("chunked", [True, False])
async def test_large_bodies_reach_functions(world: World, *, chunked: bool) -> None:
    """An invoke, and a form of SNS, are understood however long they are: they are never streamed past the gateway."""

    async def pieces() -> AsyncIterator[bytes]:
        yield BIG

    headers = {"Authorization": SCOPE.format("lambda")}
    url, data = f"http://{world.host}{INVOKE}", pieces() if chunked else io.BytesIO(BIG)
    async with aiohttp.ClientSession() as session, session.post(url, data=data, headers=headers) as answer:
        assert answer.status == 200
    assert world.functions.invokes[0]["payload"] == BIG
    form = b"Action=Publish&TopicArn=arn:aws:sns:us-east-1:0:news&Message=" + b"x" * 2_000_000
    headers = {"Authorization": SCOPE.format("sns"), "Content-Type": "application/x-www-form-urlencoded"}
    await world.exchange(
        raw(world, "POST /", *map(": ".join, headers.items()), f"Content-Length: {len(form)}", body=form)
    )
    assert world.journal.of("aws")[-1]["resource"] == "news"


@pytest.mark.parametrize("chunked", [True, False])
async def test_large_bodies_reach_rest_apis(world: World, monkeypatch: pytest.MonkeyPatch, *, chunked: bool) -> None:
    """A request to a REST API carries its body, whatever its length and its coding."""
    bodies: list[bytes] = []

    async def handle(_address: object, request: Inbound, _client: str) -> Reply:
        assert request.stream is None
        bodies.append(request.body)
        return Reply(200)

    async def pieces() -> AsyncIterator[bytes]:
        yield BIG

    monkeypatch.setattr(world.gateway.rest_api_plane, "handle", handle)
    url = f"http://{world.host}/restapis/abc/live/_user_request_/orders"
    data = pieces() if chunked else io.BytesIO(BIG)
    async with aiohttp.ClientSession() as session, session.post(url, data=data) as answer:
        assert answer.status == 200
    assert bodies == [BIG]


async def test_a_compressed_body_stays_compressed(world: World) -> None:
    """Up and down: its length, its checksum and its header belong to the compressed form."""
    packed = gzip.compress(b"hello" * 100)
    world.emulator.answers(packed, **{"Content-Encoding": "gzip"})
    url, headers = f"http://{world.host}/b/k", {"Content-Encoding": "gzip"}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.put(url, data=packed, headers=headers) as answer,
    ):
        assert await answer.read() == packed
        assert answer.headers["Content-Encoding"] == "gzip"
    assert world.emulator.received[0].body == packed


async def test_head_tells_the_length_and_sends_nothing(world: World) -> None:
    """S3 answers HeadObject so."""
    world.emulator.answers(b"x" * 12345)
    answer = await world.exchange(raw(world, "HEAD /b/k"))
    assert b"Content-Length: 12345" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_end_where_they_should(world: World, status: int) -> None:
    """The next answer on the same connection is understood."""
    world.emulator.answers(b"", status)
    async with aiohttp.ClientSession(f"http://{world.host}") as session:
        for _ in range(2):
            async with session.delete("/b/k") as answer:
                assert (answer.status, await answer.read()) == (status, b"")


async def test_a_length_that_a_function_claims_is_not_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty body with a ``Content-Length`` of 5 must not leave the client waiting for five bytes."""

    async def lying(_request: Inbound, _client: str) -> Reply:
        reply = Reply(200)
        reply.headers["Content-Length"] = "5"
        return reply

    monkeypatch.setattr(world.gateway, "handle", lying)
    async with aiohttp.ClientSession() as session, session.get(f"http://{world.host}/x") as answer:
        assert await answer.read() == b""


async def test_connections_are_kept_for_an_hour(world: World) -> None:
    """LocalStack keeps connections to the gateway and never sends an invoke twice: none may close under it."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{world.host}/x") as answer:
        await answer.read()
        (connection,) = world.server._runner.server.connections  # type: ignore[union-attr]  # it has been set up
        assert connection.keepalive_timeout >= 3600


async def test_large_heads_are_taken(world: World) -> None:
    """Lambda takes a megabyte of them (AWS Lambda API reference, Invoke, RequestTooLargeException)."""
    document = json.dumps({"custom": "x" * 450_000})
    context = base64.b64encode(document.encode()).decode()
    headers = (f"Authorization: {SCOPE.format('lambda')}", f"X-Amz-Client-Context: {context}", "Content-Length: 0")
    assert status_of(await world.exchange(raw(world, f"POST {INVOKE}", *headers))) == 200
    assert world.functions.invokes[0]["client_context"] == document
    answer = await world.exchange(raw(world, f"GET /x?{'q' * 300_000}", *(f"X-{n}: y" for n in range(500))))
    assert status_of(answer) == 200


async def test_a_client_that_goes_away_does_not_end_its_function(world: World) -> None:
    """The function finishes, its hop is written down, and no task is left behind."""
    world.functions.may_answer.clear()
    before = asyncio.all_tasks()
    async with world.connection() as (_, writer):
        writer.write(raw(world, f"POST {INVOKE}", AS_LAMBDA, "Content-Length: 2", body=b"{}"))
        await world.functions.began.wait()
        serving = asyncio.all_tasks() - before
        (connection,) = world.server._runner.server.connections  # type: ignore[union-attr]  # it has been set up
        writer.transport.abort()
        await until(lambda: connection.transport is None)
    world.functions.may_answer.set()
    await asyncio.wait(serving, timeout=10)
    assert world.functions.finished.is_set()
    assert [line["status"] for line in world.journal.of("aws")] == [200]
    assert asyncio.all_tasks() == before


async def test_a_client_that_goes_away_ends_the_download(world: World) -> None:
    """The connection to the emulator is given back at once, not when memory is cleaned up."""
    gone = asyncio.Event()

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(BIG)
        finally:
            gone.set()

    world.emulator.respond = endless
    session = aiohttp.ClientSession()
    answer = await session.get(f"http://{world.host}/x")
    await answer.content.readexactly(1000)
    answer.close()
    await session.close()
    await asyncio.wait_for(gone.wait(), 10)


async def test_an_upload_that_breaks_off_is_nobody_s_invoke(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Half a payload is not executed, and is no error of the gateway's."""
    before = asyncio.all_tasks()
    async with world.connection() as (_, writer):
        writer.write(raw(world, f"POST {INVOKE}", AS_LAMBDA, "Content-Length: 9", body=b"{}"))
        await writer.drain()
        await until(lambda: world.server._runner.server.requests_count)  # type: ignore[union-attr]  # it has been set up
        serving = asyncio.all_tasks() - before
        writer.transport.abort()
    await asyncio.wait(serving, timeout=10)
    assert world.functions.invokes == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_fault_of_the_gateway_is_an_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A 500 that names it, and a line in the log; the connection is not dropped."""

    async def broken(_request: Inbound, _client: str) -> Reply:
        raise KeyError("surprise")

    monkeypatch.setattr(world.gateway, "handle", broken)
    answer = await world.exchange(raw(world, "GET /x"))
    assert status_of(answer) == 500
    assert "KeyError: 'surprise'" in json.loads(answer.partition(b"\r\n\r\n")[2])["message"]
    assert "Traceback" in caplog.text


async def test_own_routes_do_not_reach_the_emulator(world: World) -> None:
    """Whatever lies below the prefix is the testbed's, with its whole body."""
    answer = await world.exchange(raw(world, "POST /_testbed/begin?x", f"Content-Length: {len(BIG)}", body=BIG))
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"path": "/_testbed/begin", "size": len(BIG)}
    assert world.emulator.received == []
