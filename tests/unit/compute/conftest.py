"""A compute plane over functions that live in memory, with a real fork server and AWS's real runtime client."""

import base64
import hashlib
import io
import socket
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from testbed.compute.aws import AwsCallError
from testbed.compute.invoke import Compute, Options


class Emulator:
    """Functions as an emulator would hold them; their code downloads over HTTP."""

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


@pytest_asyncio.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """Functions in memory."""
    emulator = Emulator()
    app = web.Application()
    app.router.add_get("/{name}", emulator.download)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    emulator.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield emulator
    await runner.cleanup()


@pytest.fixture
def journal() -> Journal:
    """What the plane recorded."""
    return Journal()


StartCompute = Callable[..., Awaitable[Compute]]


@pytest_asyncio.fixture
async def start_compute(emulator: Emulator, journal: Journal, tmp_path: Path) -> AsyncIterator[StartCompute]:
    """Starts compute planes, and stops them at the end."""
    planes: list[Compute] = []

    async def start(**options: Any) -> Compute:
        on_death = options.pop("on_death", lambda _: None)
        plane = Compute(
            emulator,
            journal,
            folder=tmp_path / f"plane{len(planes)}",
            gateway_url="http://127.0.0.1:9",
            run="unit-test",
            options=Options(**options),
            on_death=on_death,
        )
        planes.append(plane)
        await plane.start()
        return plane

    yield start
    for plane in planes:
        await plane.stop()


@pytest_asyncio.fixture
async def compute(start_compute: StartCompute) -> Compute:
    """A compute plane."""
    return await start_compute()
