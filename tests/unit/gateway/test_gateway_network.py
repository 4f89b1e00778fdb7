"""The network between gateway and emulator: it can be cut and mended, and the emulator can move."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web
from gateway_world import TOKEN, World, begin_and_end, until
from multidict import CIMultiDict

from testbed.compute.aws import AwsCallError
from testbed.compute.pollers.fleet import PollerFleet
from testbed.gateway.caller import AwsClient
from testbed.gateway.message import Inbound
from testbed.semantics.profiles import aws as aws_profile

SILENCE = 0.2  # seconds for which nothing happens
FROM_EMULATOR = {"x-testbed-caller": "emulator", "x-testbed-token": TOKEN}
AS_LAMBDA = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=t/20260101/us-east-1/lambda/aws4_request, Signature=0",
}
INVOKE = "/2015-03-31/functions/f/invocations"


async def is_silent(*waiting: asyncio.Task[object]) -> bool:
    """Whether nobody hears anything for a while."""
    done, _ = await asyncio.wait(waiting, timeout=SILENCE)
    return not done


def got(world: World, path: str = "/x") -> asyncio.Task[tuple[int, bytes]]:
    """A request on its way; its status and body."""

    async def get() -> tuple[int, bytes]:
        async with aiohttp.ClientSession() as session, session.get(f"http://{world.host}{path}") as answer:
            return answer.status, await answer.read()

    return asyncio.create_task(get())


async def test_what_is_asked_in_a_cut_goes_through_at_its_end(world: World) -> None:
    """It hangs meanwhile, and the emulator does not know of it; afterwards all is well."""
    world.way_to_emulator.cut()
    asked = got(world)
    assert await is_silent(asked)
    assert world.emulator.received == []
    world.way_to_emulator.mend()
    assert await asked == (200, b"{}")
    assert await got(world) == (200, b"{}")


@pytest.mark.parametrize("answers", ["in the cut", "after it"])
async def test_what_was_asked_before_a_cut_is_never_answered(world: World, answers: str) -> None:
    """The emulator does what it was asked and answers, whenever it does; the client is told of a failure at the end."""
    may_answer, answered = asyncio.Event(), asyncio.Event()

    async def respond(_: web.BaseRequest) -> web.StreamResponse:
        await may_answer.wait()
        answered.set()
        return web.Response(body=b"done")

    world.emulator.respond = respond
    asked = got(world)
    await until(lambda: world.emulator.received)
    world.way_to_emulator.cut()
    if answers == "in the cut":
        may_answer.set()
        await answered.wait()
    assert await is_silent(asked)
    world.way_to_emulator.mend()
    status, body = await asked
    assert (status, b"LocalStack does not answer" in body) == (503, True)
    may_answer.set()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_is_asked_by_who_gives_up_in_a_cut_is_never_sent(world: World, method: str) -> None:
    """Its first byte never got through; others that wait are sent."""
    world.way_to_emulator.cut()
    patient = got(world, "/patient")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SILENCE)) as session:
        with pytest.raises(TimeoutError):
            await session.request(method, f"http://{world.host}/gives-up", data=b"x" if method == "POST" else None)
    connections = world.server._runner.server.connections  # type: ignore[union-attr]  # it has been set up
    await until(lambda: sum(each.transport is not None for each in connections) == 1)
    world.way_to_emulator.mend()
    assert (await patient)[0] == 200
    assert (await got(world))[0] == 200
    assert [each.target for each in world.emulator.received] == ["/patient", "/x"]


async def test_an_answer_that_is_being_streamed_stops_and_breaks_at_the_end(world: World) -> None:
    """What the emulator sends in the cut is lost."""
    may_go_on = asyncio.Event()
    world.emulator.respond = begin_and_end(may_go_on)
    async with aiohttp.ClientSession() as session, session.get(f"http://{world.host}/logs") as answer:
        assert await answer.content.readexactly(5) == b"begin"
        world.way_to_emulator.cut()
        may_go_on.set()
        more = asyncio.create_task(answer.content.read())
        assert await is_silent(more)
        world.way_to_emulator.mend()
        with pytest.raises(aiohttp.ClientPayloadError):
            await more


async def test_an_upload_is_not_finished_in_a_cut(world: World) -> None:
    """The emulator never gets its end, so it does not count."""
    may_end, began = asyncio.Event(), asyncio.Event()
    ends: list[str] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            async for _ in request.content.iter_any():
                began.set()
            ends.append("whole")
        except (web.RequestPayloadError, ConnectionError):
            ends.append("broken off")
        return web.Response(body=b"ok")

    async def pieces() -> AsyncIterator[bytes]:
        yield b"begin"
        await may_end.wait()
        yield b"end"

    world.emulator.respond, world.emulator.reads_itself = handle, True
    async with aiohttp.ClientSession(f"http://{world.host}") as session:
        upload = asyncio.create_task(session.put("/b/k", data=pieces()))
        await began.wait()
        world.way_to_emulator.cut()
        may_end.set()
        assert await is_silent(upload)
        world.way_to_emulator.mend()
        answer = await upload
        assert answer.status == 503
        answer.release()
    await until(lambda: ends)
    assert ends == ["broken off"]


async def test_an_answer_that_breaks_off_is_a_failed_call_inside_the_plane(world: World) -> None:
    """Pollers take it as such and try again, whatever the length of the answer."""

    async def breaking(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"Messages": [')
        assert request.transport is not None
        request.transport.abort()
        return response

    world.emulator.respond = breaking
    client = AwsClient(world.gateway.aws, world.host)
    with pytest.raises(AwsCallError) as caught:
        await client.call("sqs", "ReceiveMessage", {"QueueUrl": "http://h/0/q"}, caller="mapping:m")
    assert caught.value.status == 0


async def test_a_cut_that_is_one_already_and_the_end_of_none_do_nothing(world: World) -> None:
    """Whoever waits, waits; nobody is cut off twice."""
    way = world.way_to_emulator
    way.mend()
    way.cut()
    asked = got(world)
    assert await is_silent(asked)
    way.cut()
    assert (way.cuts, await is_silent(asked)) == (1, True)
    way.mend()
    assert (await asked)[0] == 200


async def test_the_testbed_s_own_routes_answer_in_a_cut(world: World) -> None:
    """They do not pass that network."""
    world.way_to_emulator.cut()
    assert (await asyncio.wait_for(got(world, "/_testbed/status"), 5))[0] == 200


# The other direction


async def post(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> int:
    """The status of an invoke."""
    async with session.post(url, headers=headers, data=b"{}") as answer:
        return answer.status


@pytest.mark.parametrize("by", ["the port for clients", "the port for containers"])
async def test_the_emulator_is_not_heard_in_a_cut(world: World, by: str) -> None:
    """Nothing is done; at the end its connection breaks. It may ask again then."""
    headers = AS_LAMBDA | (FROM_EMULATOR if by == "the port for clients" else {"x-testbed-token": TOKEN})
    url = f"http://{world.host if by == 'the port for clients' else world.callers}{INVOKE}"
    async with aiohttp.ClientSession() as session:
        world.way_to_emulator.cut()
        asked = asyncio.create_task(post(session, url, headers))
        assert await is_silent(asked)
        world.way_to_emulator.mend()
        with pytest.raises(aiohttp.ClientConnectionError):
            await asked
        assert world.functions.invokes == []
        assert await post(session, url, headers) == 200


@pytest.mark.parametrize("ends", ["in the cut", "after it"])
async def test_the_emulator_is_not_answered_over_a_cut(world: World, ends: str) -> None:
    """What was begun is carried out; the connection on which it was asked does not survive."""
    world.functions.may_answer.clear()
    async with aiohttp.ClientSession() as session:
        asked = asyncio.create_task(post(session, f"http://{world.host}{INVOKE}", AS_LAMBDA | FROM_EMULATOR))
        await world.functions.began.wait()
        world.way_to_emulator.cut()
        if ends == "in the cut":
            world.functions.may_answer.set()
            await world.functions.finished.wait()
        assert await is_silent(asked)
        world.way_to_emulator.mend()
        world.functions.may_answer.set()
        with pytest.raises(aiohttp.ClientConnectionError):
            await asked
    assert world.functions.finished.is_set()


@pytest.mark.parametrize("token", [{}, {"x-testbed-token": "guess"}])
async def test_who_only_says_to_be_the_emulator_is_a_client(world: World, token: dict[str, str]) -> None:
    """Its invokes do not pass the network that is cut."""
    world.way_to_emulator.cut()
    headers = AS_LAMBDA | {"x-testbed-caller": "emulator"} | token
    async with aiohttp.ClientSession() as session:
        assert await asyncio.wait_for(post(session, f"http://{world.host}{INVOKE}", headers), 5) == 200


# An emulator that moves


async def test_an_emulator_that_moves_is_found_where_it_is(world: World) -> None:
    """What was under way to its former address fails at once; what comes next goes to the new one."""
    began = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as former:
        here = world.way_to_emulator.url

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(1000):
                began.set()
            writer.close()

        server = await asyncio.start_server(silent, sock=former)
        world.way_to_emulator.move(f"http://127.0.0.1:{former.getsockname()[1]}")
        asked = got(world)
        await began.wait()
        world.way_to_emulator.move(here)
        assert (await asked)[0] == 503
        assert await got(world) == (200, b"{}")
        server.close()
        await server.wait_closed()


async def test_an_emulator_that_is_where_it_was_keeps_what_it_was_asked(world: World) -> None:
    """It is told that Postgres has moved in the same words."""
    may_answer = asyncio.Event()

    async def respond(_: web.BaseRequest) -> web.StreamResponse:
        await may_answer.wait()
        return web.Response(body=b"done")

    world.emulator.respond = respond
    asked = got(world)
    await until(lambda: world.emulator.received)
    world.way_to_emulator.move(world.way_to_emulator.url)
    may_answer.set()
    assert await asked == (200, b"done")


async def test_an_emulator_that_moves_in_a_cut_is_found_at_its_end(world: World) -> None:
    """A container that comes back to the network may have another port."""
    way = world.way_to_emulator
    here = way.url
    way.move("http://127.0.0.1:9")
    way.cut()
    asked = asyncio.create_task(way.forward(Inbound("GET", "/x", CIMultiDict())))
    assert await is_silent(asked)
    way.move(here)
    assert await is_silent(asked)
    way.mend()
    assert (await asked).status == 200


# Who may ask


@pytest.mark.parametrize("path", ["/x", INVOKE, "/_testbed/status", "/_testbed/health"])
@pytest.mark.parametrize("token", [None, "", "guess", TOKEN + "x"])
async def test_the_port_for_containers_answers_nobody_without_the_token(
    world: World, path: str, token: str | None
) -> None:
    """Others may reach it: whatever they ask and say, nothing is done."""
    headers = AS_LAMBDA | {"x-testbed-caller": "emulator"} | ({} if token is None else {"x-testbed-token": token})
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{world.callers}{path}", headers=headers) as answer,
    ):
        assert answer.status == 403
        assert "token" in (await answer.json())["message"]
    assert (world.functions.invokes, world.emulator.received) == ([], [])


async def test_the_port_for_containers_answers_all_to_who_has_the_token(world: World) -> None:
    """Invokes, the testbed's own routes, and what goes to the emulator; by whatever name it is called."""
    headers = AS_LAMBDA | {"x-testbed-token": TOKEN, "Host": "plane.example"}
    async with aiohttp.ClientSession() as session:
        for path in (INVOKE, "/_testbed/status", "/x"):
            assert await post(session, f"http://{world.callers}{path}", headers) == 200
    assert len(world.functions.invokes) == len(world.emulator.received) == 1


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:4566", 200),
        ("[::1]:4566", 200),
        ("localhost", 200),
        ("LocalHost:4566", 200),
        ("testbed:4566", 200),
        ("orders.localhost:4566", 200),
        ("host.docker.internal:4566", 200),
        ("sqs.us-east-1.localhost.localstack.cloud:4566", 200),
        ("localhost.localstack.cloud", 200),
        ("bucket.s3.us-east-1.amazonaws.com", 200),
        ("sync-127.0.0.1:4566", 200),
        ("000000000000.127.0.0.1:4566", 200),
        ("abc.execute-api.localhost.localstack.cloud:4566", 403),  # no such API; the emulator was asked
        ("evil.example:4566", 403),
        ("localhost.evil.example", 403),
        ("evillocalhost.localstack.cloud.example", 403),
        ("notamazonaws.com", 403),
        ("127.0.0.1.nip.io", 403),
        ("[evil.example", 403),
    ],
)
async def test_names_that_lead_here_by_a_trick_are_refused(world: World, host: str, status: int) -> None:
    """A page of somebody else whose name was made to lead here would be of the same origin (DNS rebinding)."""
    answer = await world.exchange(f"GET /x/y HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert int(answer.split(b" ", 2)[1]) == status
    assert (b"are refused" in answer) == (status == 403 and "execute-api" not in host)
    assert bool(world.emulator.received) == (status == 200 or "execute-api" in host)


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
async def test_pictures_on_pages_of_others_are_refused(world: World, site: str, status: int) -> None:
    """They come without an origin, but a browser says so (Fetch Metadata, Sec-Fetch-Site)."""
    request = f"GET /x HTTP/1.1\r\nHost: {world.host}\r\nConnection: close\r\nSec-Fetch-Site: {site}\r\n\r\n"
    assert int((await world.exchange(request.encode())).split(b" ", 2)[1]) == status
    assert bool(world.emulator.received) == (status == 200)


# Pollers


QUEUE = "http://127.0.0.1/000000000000/orders"
MAPPING = {
    "UUID": "m-1",
    "EventSourceArn": "arn:aws:sqs:us-east-1:000000000000:orders",
    "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
    "State": "Enabled",
    "BatchSize": 1,
}


class Queue:
    """A queue as the emulator has it."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.deleted: list[str] = []
        self.receiving = 0

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer what the poller of a queue asks; a receive waits for half a second at most."""
        operation = request.headers["X-Amz-Target"].rpartition(".")[2]
        document = json.loads(await request.read())
        if operation == "ReceiveMessage":
            return web.json_response(await self._receive())
        if operation == "DeleteMessageBatch":
            self.deleted += [entry["ReceiptHandle"] for entry in document["Entries"]]
            return web.json_response({"Successful": [], "Failed": []})
        return web.json_response({"QueueUrl": QUEUE, "Attributes": {"VisibilityTimeout": "30"}})

    async def _receive(self) -> dict[str, object]:
        self.receiving += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await until_slowly(lambda: self.messages)
        self.receiving -= 1
        if not self.messages:
            return {}
        name = self.messages.pop()
        message = {"MessageId": name, "ReceiptHandle": name, "Body": name, "MD5OfBody": name, "Attributes": {}}
        return {"Messages": [message]}


async def until_slowly(condition: Callable[[], object]) -> None:
    """Wait without using the processor up."""
    while not condition():  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.005)


async def test_pollers_outlive_a_cut(world: World) -> None:
    """What was in hand is deleted at its end, new messages are read within a second, and nothing has piled up."""
    queue = Queue()
    world.emulator.respond, world.emulator.reads_itself = queue.respond, True
    client = AwsClient(world.gateway.aws, world.host)
    fleet = PollerFleet(client, world.gateway, world.journal.record, aws_profile, time.time)
    await fleet.reconcile([MAPPING])
    queue.messages = ["before"]
    await until_slowly(lambda: queue.deleted == ["before"])
    world.functions.began.clear()
    world.functions.may_answer.clear()
    queue.messages = ["in hand"]
    await world.functions.began.wait()
    world.way_to_emulator.cut()
    world.functions.may_answer.set()
    await asyncio.sleep(1)  # the receives that were under way have ended at the emulator
    assert (queue.deleted, queue.receiving) == (["before"], 0)
    queue.messages = ["after"]
    world.way_to_emulator.mend()
    async with asyncio.timeout(1):
        await until_slowly(lambda: sorted(queue.deleted) == ["after", "before", "in hand"])
    assert queue.receiving <= aws_profile.sqs.starting_pollers
    assert fleet.status()[0].uuid == "m-1"
    await fleet.stop(grace=0.0)
    assert [line for line in world.journal.of("mapping") if line["event"] == "error"] == []
