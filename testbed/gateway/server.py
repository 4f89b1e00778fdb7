"""The gateway on HTTP: one loopback port for every client."""

import socket
from collections.abc import AsyncIterator
from typing import Final, Protocol
from urllib.parse import urlsplit

from aiohttp import web
from multidict import CIMultiDict

from testbed.gateway.classify import classify
from testbed.gateway.control import PREFIX
from testbed.gateway.core import Gateway
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.wire import json_reply

_READ_FIRST_BYTES: Final = 1 << 20
_GRACE_SECONDS: Final = 0.5  # for requests that go on at the end; one of them waits for news that may never come
_CONNECTION_HEADERS: Final = ("Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive")


class Routes(Protocol):
    """The testbed's own routes."""

    async def handle(self, request: Inbound) -> Reply:
        """Answer one request below the routes' prefix."""
        ...


class GatewayServer:
    """Serves a gateway on an open, listening socket.

    Args:
        gateway: Answers AWS requests and REST APIs.
        control: Answers the testbed's own routes.
    """

    def __init__(self, gateway: Gateway, control: Routes) -> None:
        self._gateway = gateway
        self._control = control
        self._runner = web.ServerRunner(
            web.Server(self._handle, access_log=None), handle_signals=False, shutdown_timeout=_GRACE_SECONDS
        )

    async def start(self, listening: socket.socket) -> None:
        """Accept connections on ``listening``."""
        await self._runner.setup()
        await web.SockSite(self._runner, listening, backlog=4096).start()

    async def stop(self) -> None:
        """Close the port and every connection."""
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if _is_cross_origin(request):
            reply = json_reply(403, {"message": "cross-origin requests are refused"})
            return _whole_response(reply)
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        inbound = await _inbound(request)
        if inbound.path.startswith(PREFIX):
            return _whole_response(await self._control.handle(inbound))
        reply = await self._gateway.handle(inbound, request.remote or "127.0.0.1")
        if reply.stream is None:
            return _whole_response(reply)
        return await _streamed_response(request, reply, reply.stream)


def _is_cross_origin(request: web.BaseRequest) -> bool:
    """Whether a browser sends this for a page of somebody else: no page may reach into a developer's testbed."""
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("Host")


async def _inbound(request: web.BaseRequest) -> Inbound:
    headers = CIMultiDict(request.headers)
    target = request.message.path
    if not target.startswith("/"):
        target = "/" + target.partition("://")[2].partition("/")[2]  # absolute form, as proxies are asked
    unread = Inbound(request.method, target, headers)
    if (request.content_length or 0) <= _READ_FIRST_BYTES and "chunked" not in headers.get("Transfer-Encoding", ""):
        return Inbound(request.method, target, headers, await request.content.read() if request.can_read_body else b"")
    operation = classify(unread)
    if operation is None or operation.service == "s3":
        return Inbound(request.method, target, headers, stream=_pieces(request))
    headers.popall("Transfer-Encoding", None)
    return Inbound(request.method, target, headers, await request.content.read())


async def _pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    async for piece in request.content.iter_any():
        yield piece


def _headers(reply: Reply) -> CIMultiDict[str]:
    headers = CIMultiDict(reply.headers)
    for name in _CONNECTION_HEADERS:
        headers.popall(name, None)
    return headers


def _whole_response(reply: Reply) -> web.Response:
    response = web.Response(status=reply.status, headers=_headers(reply), body=reply.body or None)
    if not reply.body and (length := reply.headers.get("Content-Length")):
        response.headers["Content-Length"] = length  # the answer to HEAD says how long a body would be
    return response


async def _streamed_response(
    request: web.BaseRequest, reply: Reply, stream: AsyncIterator[bytes]
) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=_headers(reply))
    if length := reply.headers.get("Content-Length"):
        response.content_length = int(length)
    await response.prepare(request)
    async for piece in stream:
        await response.write(piece)
    await response.write_eof()
    return response
