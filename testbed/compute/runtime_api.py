"""The Lambda Runtime API, for all environments on one port: each has a path of its own in front of the API's.

AWS Lambda developer guide, Using the Lambda runtime API. AWS's runtime client takes ``host:port/path`` for the address,
so one listening socket serves every environment.
"""

import socket
from dataclasses import dataclass
from typing import Final, Protocol

from aiohttp import web

_VERSION: Final = "2018-06-01"


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the runtime is handed for one invoke.

    Attributes:
        request_id: Of the invoke.
        payload: The event, JSON.
        arn: The function as it was invoked.
        deadline_ms: When the function times out, in milliseconds since the epoch.
        trace: The trace header.
        client_context: The client context, JSON.
    """

    request_id: str
    payload: bytes
    arn: str
    deadline_ms: int
    trace: str | None = None
    client_context: str | None = None

    def headers(self) -> dict[str, str]:
        """The headers of the answer to ``next``."""
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": self.request_id,
            "Lambda-Runtime-Deadline-Ms": str(self.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": self.arn,
        }
        if self.trace:
            headers["Lambda-Runtime-Trace-Id"] = self.trace
        if self.client_context:
            headers["Lambda-Runtime-Client-Context"] = self.client_context
        return headers


class Runtime(Protocol):
    """An environment as its runtime client sees it."""

    async def next(self) -> Invocation | None:
        """The next invoke, when there is one; None where the environment has ended."""
        ...

    def respond(self, request_id: str, body: bytes) -> bool:
        """The handler returned ``body``; False where no such invoke is running."""
        ...

    def fail(self, request_id: str, body: bytes) -> bool:
        """The handler raised; False where no such invoke is running."""
        ...

    def fail_init(self, body: bytes) -> bool:
        """The handler could not be loaded; False where it had been already."""
        ...


_HEADER_BYTES: Final = 2 << 20


class RuntimeApi:
    """Serves the Runtime API on a loopback port.

    Attributes:
        runtimes: The environments, by the id that is their path.
        address: ``host:port``, once started.
    """

    def __init__(self) -> None:
        self.runtimes: dict[str, Runtime] = {}
        self.address = ""
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Listen."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        host, port = listener.getsockname()
        self.address = f"{host}:{port}"
        server = web.Server(
            self._answer,
            access_log=None,
            keepalive_timeout=86400,
            max_field_size=_HEADER_BYTES,  # the runtime client puts whole tracebacks into a header
        )
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        _, ident, version, *call = f"{request.path}//".split("/")
        runtime = self.runtimes.get(ident)
        if runtime is None or version != _VERSION:
            return _refused(403, "InvalidEnvironment")
        if request.method == "GET":
            return await _next(runtime)
        return _report(runtime, [part for part in call if part], await request.content.read())


async def _next(runtime: Runtime) -> web.Response:
    """``/runtime/invocation/next``, the only thing a runtime asks for."""
    invocation = await runtime.next()
    if invocation is None:
        return _refused(410, "EnvironmentEnded")
    return web.Response(body=invocation.payload, headers=invocation.headers())


def _report(runtime: Runtime, call: list[str], body: bytes) -> web.Response:
    match call:
        case ["runtime", "invocation", request_id, "response"]:
            known = runtime.respond(request_id, body)
        case ["runtime", "invocation", request_id, "error"]:
            known = runtime.fail(request_id, body)
        case ["runtime", "init", "error"]:
            known = runtime.fail_init(body)
        case _:
            return _refused(404, "NotFound")
    return web.Response(status=202) if known else _refused(400, "InvalidRequestID")


def _refused(status: int, error_type: str) -> web.Response:
    return web.json_response({"errorType": error_type, "errorMessage": error_type}, status=status)
