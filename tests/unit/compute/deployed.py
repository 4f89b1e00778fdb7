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
    """What is deployed; the calls that the compute plane makes.

    Attributes:
        aliases: By name and alias, ``"orders:live"``, what GetAlias answers; any other alias is of ``$LATEST``.
        provisioned: By name, number and qualifier of each configuration.
        event_invoke_configs: By name and qualifier, ``"orders:live"``.
        sent: Operation and parameters of what asynchronous invokes sent.
        refusals: Errors that the next of these calls end with.
    """

    def __init__(self) -> None:
        self.functions: dict[str, dict[str, Any]] = {}
        self.archives: dict[str, bytes] = {}
        self.reserved: dict[str, int] = {}
        self.aliases: dict[str, dict[str, Any]] = {}
        self.provisioned: dict[str, dict[str, int]] = {}
        self.calls: list[str] = []
        self.event_invoke_configs: dict[str, dict[str, Any]] = {}
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.refusals: list[AwsCallError] = []
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

    def publish(self, name: str, version: str, source: str, **configuration: Any) -> None:
        """Deploy a version of function ``name``, which must be there."""
        self.deploy(f"{name}-{version}", source, **configuration)
        published = self.functions.pop(f"{name}-{version}")
        self.functions[f"{name}:{version}"] = {**published, "FunctionName": name, "Version": version}

    async def call(
        self, service: str, operation: str, params: dict[str, Any], *, caller: str, trace: str | None = None
    ) -> dict[str, Any]:
        """The calls that the compute plane makes."""
        if caller.startswith("async:"):
            return self._sent(operation, params, trace)
        assert (service, caller) == ("lambda", "compute")
        name = params["FunctionName"]
        self.calls.append(f"{operation} {name}")
        if operation == "GetFunctionEventInvokeConfig":
            return self._event_invoke_config(":".join([name, params.get("Qualifier", "$LATEST")]))
        if name not in self.functions:
            raise AwsCallError("ResourceNotFoundException", 404, f"Function not found: {name}")
        if operation == "GetFunctionConcurrency":
            return {"ReservedConcurrentExecutions": self.reserved[name]} if name in self.reserved else {}
        if operation == "ListProvisionedConcurrencyConfigs":
            return {"ProvisionedConcurrencyConfigs": self._provisioned(name)}
        if operation == "GetAlias":
            return self.aliases.get(f"{name}:{params['Name']}", {"FunctionVersion": "$LATEST"})
        version = params.get("Qualifier", "$LATEST")
        found = name if version == "$LATEST" else f"{name}:{version}"
        if found not in self.functions:
            raise AwsCallError("ResourceNotFoundException", 404, f"Function not found: {found}")
        return {
            "Configuration": self.functions[found],
            "Code": {"Location": f"{self.url}/{found.replace(':', '-')}"},
        }

    def _provisioned(self, name: str) -> list[dict[str, Any]]:
        return [
            {
                "FunctionArn": f"arn:aws:lambda:us-east-1:000000000000:function:{name}:{qualifier}",
                "RequestedProvisionedConcurrentExecutions": count,
            }
            for qualifier, count in self.provisioned.get(name, {}).items()
        ]

    def _event_invoke_config(self, qualified: str) -> dict[str, Any]:
        if qualified not in self.event_invoke_configs:
            raise AwsCallError("ResourceNotFoundException", 404, f"{qualified} has no EventInvokeConfig")
        return self.event_invoke_configs[qualified]

    def _sent(self, operation: str, params: dict[str, Any], trace: str | None) -> dict[str, Any]:
        if operation == "GetQueueUrl":
            return {"QueueUrl": f"http://sqs/{params['QueueName']}"}
        self.calls.append(f"{operation} {trace}")
        if self.refusals:
            raise self.refusals.pop(0)
        self.sent.append((operation, params))
        return {}

    async def download(self, request: web.Request) -> web.Response:
        """The archive of one function, for the compute plane, which says so: faults leave it alone."""
        if request.headers.get("x-testbed-caller") != "compute":
            raise web.HTTPForbidden
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
