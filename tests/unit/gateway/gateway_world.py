"""A gateway on a real port between real HTTP clients and an emulator and functions that answer as they are told."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import boto3
from aiohttp import web
from botocore.config import Config
from multidict import CIMultiDict

from testbed.chaos.fault import Fault
from testbed.chaos.schedule import Schedule
from testbed.compute.result import InvokeResult
from testbed.gateway.caller import AwsClient
from testbed.gateway.classify import Target
from testbed.gateway.core import Gateway
from testbed.gateway.emulator import Emulator
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.server import GatewayServer
from testbed.gateway.wire import json_reply

Respond = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
TOKEN = "s3cret"  # noqa: S105 - of a test
ORDER_TRACE = "Root=1-000003e8-0000000000000000000000aa"  # planned one second after the start of the traffic


@dataclass(frozen=True)
class Received:
    """A request as it reached the emulator."""

    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes


class FakeEmulator:
    """An HTTP server that keeps every request and answers with ``respond``, which may read the body itself."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.respond: Respond = _nothing
        self.reads_itself = False

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Keep the request and answer it."""
        if self.reads_itself:
            return await self.respond(request)
        body = await request.content.read()
        self.received.append(Received(request.method, request.raw_path, CIMultiDict(request.headers), body))
        return await self.respond(request)

    def answers(self, body: bytes = b"{}", status: int = 200, **headers: str) -> None:
        """Let every answer be this one."""

        async def respond(_: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=status, body=body, headers=headers)

        self.respond = respond


async def _nothing(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=b"{}")


def begin_and_end(may_end: asyncio.Event) -> Respond:
    """An answer whose second half, ``end``, comes once it may."""

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begin")
        await may_end.wait()
        await response.write(b"end")
        return response

    return respond


class FakeFunctions:
    """Functions that answer ``result`` once they may."""

    def __init__(self) -> None:
        self.invokes: list[dict[str, Any]] = []
        self.result = InvokeResult(200, b'{"ok": true}', None, None, None, request_id="request-1")
        self.began = asyncio.Event()
        self.finished = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def invoke(self, function: str, payload: bytes, **more: Any) -> InvokeResult:
        """Run the function; whatever a fault does to its environment finds one."""
        for effect in more.get("effects", ()):
            effect.happened()
        self.invokes.append({"function": function, "payload": payload, **more})
        self.began.set()
        await self.may_answer.wait()
        self.finished.set()
        return self.result


class Recorder:
    """A journal as a list."""

    def __init__(self) -> None:
        self.hops: list[dict[str, Any]] = []

    def record(self, hop: str, **fields: object) -> None:
        """Append one line."""
        self.hops.append({"hop": hop, **fields})

    def of(self, hop: str) -> list[dict[str, Any]]:
        """The lines of one hop."""
        return [line for line in self.hops if line["hop"] == hop]


class FakeControl:
    """Stands for the testbed's own routes."""

    async def handle(self, request: Inbound) -> Reply:
        """Tell what was asked."""
        return json_reply(200, {"path": request.path, "size": len(request.body)})


@dataclass
class World:
    """A gateway and everything around it.

    Attributes:
        host: Host and port of the gateway.
        callers: The same for containers.
        now: The clock: seconds since the start of the traffic.
    """

    host: str
    callers: str
    emulator: FakeEmulator
    way_to_emulator: Emulator
    now: float = 5.0
    functions: FakeFunctions = field(default_factory=FakeFunctions)
    journal: Recorder = field(default_factory=Recorder)

    def __post_init__(self) -> None:
        quiet = AwsClient(self._past_the_gateway, self.host)
        self.gateway = Gateway(self.way_to_emulator, self.functions, self.journal, lambda: self.now, quiet)  # type: ignore[arg-type]  # a list is journal enough
        self.server = GatewayServer(self.gateway, FakeControl(), TOKEN)

    def arm(self, *faults: Fault, seed: int = 1) -> None:
        """Let ``faults`` act."""
        self.gateway.arm(Schedule(faults, seed, self.gateway.faults.journal_fault))

    def client(self, service: str, **config: Any) -> Any:
        """A boto3 client that knows nothing but the gateway; it tries once."""
        settings = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **config)
        return boto3.client(
            service, endpoint_url=f"http://{self.host}", region_name="us-east-1", config=settings,
            aws_access_key_id="test", aws_secret_access_key="test",  # noqa: S106 - any will do
        )  # fmt: skip

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection to the gateway for raw bytes."""
        reader, writer = await asyncio.open_connection(*self.host.split(":"))
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def exchange(self, request: bytes) -> bytes:
        """What comes back for raw bytes on a connection of their own, until the gateway closes it."""
        async with self.connection() as (reader, writer):
            writer.write(request)
            return await reader.read()

    async def _past_the_gateway(self, _target: Target, request: Inbound, _caller: str) -> Reply:
        return await self.way_to_emulator.forward(request)


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop run until ``condition`` holds; the test's time limit ends a wait in vain."""
    while not condition():  # noqa: ASYNC110 - logs and files have no event to wait for
        await asyncio.sleep(0)


@asynccontextmanager
async def running_world() -> AsyncIterator[World]:
    """A world whose servers run."""
    emulator = FakeEmulator()
    runner = web.ServerRunner(
        web.Server(emulator.handle, access_log=None, auto_decompress=False, max_line_size=1 << 21, max_headers=2000)
    )
    await runner.setup()
    emulator_socket = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, emulator_socket).start()
    way = Emulator()
    way.url = f"http://127.0.0.1:{emulator_socket.getsockname()[1]}"
    listening, callers = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    host, callers_host = (f"127.0.0.1:{each.getsockname()[1]}" for each in (listening, callers))
    world = World(host, callers_host, emulator, way)
    await world.server.start(listening, callers)
    try:
        yield world
    finally:
        await world.server.stop()
        await way.close()
        await runner.cleanup()
