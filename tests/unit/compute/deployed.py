"""Functions as an emulator would hold them, in memory; their code downloads over HTTP."""

import asyncio
import base64
import contextlib
import hashlib
import io
import socket
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from testbed.compute.aws import AwsCallError
from testbed.compute.invoke import Compute

StartCompute = Callable[..., Awaitable[Compute]]


class Emulator:
    """What is deployed; the two calls that the compute plane makes."""

    def __init__(self) -> None:
        self.functions: dict[str, dict[str, Any]] = {}
        self.archives: dict[str, bytes] = {}
        self.reserved: dict[str, int] = {}
        self.calls: list[str] = []
        self.url = ""

    def deploy(self, name: str, source: str, *, files: dict[str, str] | None = None, **configuration: Any) -> None:
        """Create or replace function ``name`` with ``source`` as its ``app.py``."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for path, text in {"app.py": source, **(files or {})}.items():
                archive.writestr(path, text)
        self.archives[name] = buffer.getvalue()
        sha256 = base64.b64encode(hashlib.sha256(buffer.getvalue()).digest()).decode()
        self.functions[name] = {
            "FunctionName": name,
            "Runtime": "python3.12",
            "Handler": "app.handler",
            "Timeout": 10,
            "MemorySize": 128,
            "Version": "$LATEST",
            "State": "Active",
            "CodeSha256": sha256,
            "RevisionId": f"{sha256}-{configuration}",
            **configuration,
        }

    async def call(self, service: str, operation: str, params: dict[str, Any], *, caller: str) -> dict[str, Any]:
        """The two calls that the compute plane makes."""
        assert (service, caller) == ("lambda", "compute")
        name = params["FunctionName"]
        self.calls.append(f"{operation} {name}")
        if name not in self.functions:
            raise AwsCallError("ResourceNotFoundException", 404, f"Function not found: {name}")
        if operation == "GetFunctionConcurrency":
            return {"ReservedConcurrentExecutions": self.reserved[name]} if name in self.reserved else {}
        return {"Configuration": self.functions[name], "Code": {"Location": f"{self.url}/{name}"}}

    async def download(self, request: web.Request) -> web.Response:
        """The archive of one function."""
        return web.Response(body=self.archives[request.match_info["name"]])


class Journal:
    """Hops as a list."""

    def __init__(self) -> None:
        self.hops: list[dict[str, Any]] = []

    def record(self, hop: str, **fields: object) -> None:
        """Append one line."""
        self.hops.append({"hop": hop, **fields})


@contextlib.asynccontextmanager
async def serving(emulator: Emulator) -> AsyncIterator[None]:
    """Let the code of ``emulator`` be downloaded."""
    app = web.Application()
    app.router.add_get("/{name}", emulator.download)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    emulator.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield
    await runner.cleanup()


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop run until ``condition`` holds; the test's time limit ends a wait in vain."""
    while not condition():  # noqa: ASYNC110  # states of processes and pools have no event to wait for
        await asyncio.sleep(0.002)
