"""The gateway on HTTP: one loopback port for every client, and ports for those of the engine that cannot reach it."""

import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import urlsplit

from aiohttp import web
from multidict import CIMultiDict

from testbed.gateway.apis.function_urls import url_address_of
from testbed.gateway.apis.rest_routes import address_of
from testbed.gateway.classify import signed_services
from testbed.gateway.control import NO_TOKEN, PREFIXES, has_token
from testbed.gateway.core import Gateway
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.origin import CALLER_HEADER
from testbed.gateway.reset import reset_on_close
from testbed.gateway.wire import json_reply

_READ_FIRST_BYTES: Final = 1 << 20
_HEAD_BYTES: Final = 2 << 20  # Lambda alone takes 1 MB of request line and headers (AWS Lambda API reference, Invoke)
_HEADERS: Final = 1000
_KEEPALIVE_SECONDS: Final = 3600.0  # longer than any client keeps a connection: none is closed just as it is used again
_GRACE_SECONDS: Final = 0.5  # for requests that go on at the end; one of them waits for news that may never come
_OWN_DOMAINS: Final = (".localhost", ".internal", ".localhost.localstack.cloud", ".amazonaws.com")
_CONNECTION_HEADERS: Final = ("Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive")
_log: Final = logging.getLogger(__name__)


class Routes(Protocol):
    """The testbed's own routes."""

    async def handle(self, request: Inbound) -> Reply:
        """Answer one request below the routes' prefix."""
        ...


class GatewayServer:
    """Serves a gateway on open, listening sockets.

    A request that has begun is carried out even when its client goes away, as on AWS. Only one that waits for the end
    of a cut has not begun.

    Args:
        gateway: Answers AWS requests and REST APIs.
        control: Answers the testbed's own routes.
        token: Secret of the run.
    """

    def __init__(self, gateway: Gateway, control: Routes, token: str) -> None:
        self._gateway = gateway
        self._control = control
        self._token = token.encode()
        self._runner = _runner(self._handle_client)
        self._callers_runner = _runner(self._handle_caller)

    async def start(self, listening: socket.socket, *callers: socket.socket) -> None:
        """Accept connections.

        Args:
            listening: For everybody on this machine.
            callers: For parts of the engine in containers. Others may reach these, so nothing is answered there without
                the token.
        """
        for runner, sockets in ((self._runner, (listening,)), (self._callers_runner, callers)):
            await runner.setup()
            for each in sockets:
                await web.SockSite(runner, each, backlog=4096).start()

    async def stop(self) -> None:
        """Close the ports and every connection."""
        await self._runner.cleanup()
        await self._callers_runner.cleanup()

    async def _handle_client(self, request: web.BaseRequest) -> web.StreamResponse:
        if refusal := _refusal(request):
            return _whole_response(request, json_reply(403, {"message": refusal}))
        if request.headers.get(CALLER_HEADER) == "emulator" and has_token(request.headers, self._token):
            return await self._handle_emulator(request)
        return await self._handle(request)

    async def _handle_caller(self, request: web.BaseRequest) -> web.StreamResponse:
        if not has_token(request.headers, self._token):
            return _whole_response(request, json_reply(403, NO_TOKEN))
        return await self._handle_emulator(request)

    async def _handle_emulator(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer the emulator, whose network may be cut: its connections do not survive that.

        What comes during a cut is not acted on, and what was done when the cut began is not answered.
        """
        emulator = self._gateway.emulator
        cuts = emulator.cuts
        if not emulator.is_cut:
            response = await self._handle(request)
            if emulator.cuts == cuts:
                return response
        await emulator.reachable.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            inbound = await _inbound(request)
        except (ConnectionError, web.RequestPayloadError) as error:  # half a request is none
            return web.Response(status=400, text=f"the body could not be read: {error}")
        try:
            reply = await self._answer(inbound, request.remote or "127.0.0.1")
        except Exception as error:  # noqa: BLE001 - told and logged
            _log.exception("%s %s failed", request.method, inbound.path)
            message = f"the testbed's gateway failed: {type(error).__name__}: {error}"
            reply = json_reply(500, {"__type": "InternalFailure", "message": message})
        if not reply.status:
            return _broken(request)
        if reply.stream is None:
            return _whole_response(request, reply)
        return await _streamed_response(request, reply, reply.stream)

    async def _answer(self, inbound: Inbound, client: str) -> Reply:
        if inbound.path.startswith(PREFIXES):
            return await self._control.handle(inbound)
        return await self._gateway.handle(inbound, client)


def _runner(handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> web.ServerRunner:
    server = web.Server(
        handle,
        access_log=None,
        keepalive_timeout=_KEEPALIVE_SECONDS,
        max_line_size=_HEAD_BYTES,
        max_field_size=_HEAD_BYTES,
        max_headers=_HEADERS,
        auto_decompress=False,  # what is forwarded is forwarded as it came
    )
    return web.ServerRunner(server, handle_signals=False, shutdown_timeout=_GRACE_SECONDS)


def _refusal(request: web.BaseRequest) -> str | None:
    """Why ``request`` may be a browser's for a page of somebody else, which must not reach into a testbed."""
    host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return "cross-origin requests are refused"
    if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        return "cross-site requests are refused"
    if not _is_own(host):
        return f"requests to the host {host} are refused: use an IP address, localhost or a name without a dot"
    return None


@lru_cache(maxsize=1024)
def _is_own(host: str) -> bool:
    """Whether no page of somebody else can have this host: for such a page, this machine is a host of its own.

    Its owner can let the page's name lead here (DNS rebinding), but no address, no name without a dot, and no name in
    a domain that is not his. Nobody has a domain that ends in a number (RFC 3696, 2): boto3 makes such names of
    addresses, ``sync-127.0.0.1``.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return "." not in name or name.rpartition(".")[2].isdecimal() or f".{name}".endswith(_OWN_DOMAINS)


async def _inbound(request: web.BaseRequest) -> Inbound:
    def abandoned() -> bool:
        return request.transport is None

    headers = CIMultiDict(request.headers)
    target = request.raw_path
    if not target.startswith("/"):
        target = "/" + target.partition("://")[2].partition("/")[2]  # absolute form, as proxies are asked
    chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
    if (chunked or (request.content_length or 0) > _READ_FIRST_BYTES) and _is_streamed(
        unread := Inbound(request.method, target, headers)
    ):
        return Inbound(unread.method, target, headers, stream=_pieces(request), abandoned=abandoned)
    headers.popall("Transfer-Encoding", None)
    body = await request.content.read() if request.can_read_body else b""
    return Inbound(request.method, target, headers, body, abandoned=abandoned)


def _is_streamed(request: Inbound) -> bool:
    """Whether a large body goes through unread: objects of S3, and what is for nobody that the gateway knows."""
    if "X-Amz-Target" in request.headers or request.path.startswith(PREFIXES):
        return False
    if address_of(request) or url_address_of(request):
        return False
    services = signed_services(request)
    return not services or "s3" in services


async def _pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    async for piece in request.content.iter_any():
        yield piece


def _headers(reply: Reply) -> CIMultiDict[str]:
    headers = CIMultiDict(reply.headers)
    for name in _CONNECTION_HEADERS:
        headers.popall(name, None)
    return headers


def _broken(request: web.BaseRequest) -> web.Response:
    """No answer: the connection is reset."""
    if request.transport is not None:
        reset_on_close(request.transport.get_extra_info("socket"))
        request.transport.abort()
    return web.Response()


def _whole_response(request: web.BaseRequest, reply: Reply) -> web.Response:
    response = web.Response(status=reply.status, headers=_headers(reply), body=reply.body or None)
    if request.method == "HEAD" and (length := reply.headers.get("Content-Length")):
        response.headers["Content-Length"] = length  # it says how long a body would be
    return response


async def _streamed_response(
    request: web.BaseRequest, reply: Reply, stream: AsyncIterator[bytes]
) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=_headers(reply))
    if length := reply.headers.get("Content-Length"):
        response.content_length = int(length)
    async with aclosing(stream):  # type: ignore[type-var]  # every stream is a generator
        await response.prepare(request)
        async for piece in stream:
            await response.write(piece)
        await response.write_eof()
    return response
