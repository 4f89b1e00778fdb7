"""LocalStack as a child process, with the testbed's plugin in it."""

import asyncio
import os
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import aiohttp

from testbed.engine.installation import Installation
from testbed.engine.ports import LOOPBACK, free_port
from testbed.engine.runspace import Child, RunSpace, Starting
from testbed.errors import HarnessError

PLUGIN_FOLDER: Final = Path(__file__).parents[1] / "localstack_plugin"
_NAME: Final = "LocalStack"
PLUGIN_HEALTH: Final = "/_testbed/plugin/health"
_HEALTH: Final = "/_localstack/health"
_READY_SECONDS: Final = 90.0
_POLL_SECONDS: Final = 0.03
_ATTEMPTS: Final = 3
_OK: Final = 200
_HINT: Final = "run the command again; `testbed doctor` shows what it runs on"


@dataclass(frozen=True, slots=True)
class Plane:
    """How LocalStack reaches the data plane.

    Attributes:
        url: Where the plugin sends invokes, ``http://HOST:PORT``.
        token: What the plugin says who it is with.
        gateway: The gateway as its clients know it, ``127.0.0.1:PORT``: LocalStack hands it out in queue URLs and the
            like.
    """

    url: str
    token: str
    gateway: str


@dataclass(slots=True)
class LocalStackServer:
    """Starts LocalStack, each time without any state.

    Attributes:
        space: The run that it belongs to.
        installation: What is started.
        plane: The data plane that it works for.
        log: File that its output is appended to.
        stop_signal: Asks it to end in order.
    """

    space: RunSpace
    installation: Installation
    plane: Plane
    log: Path
    stop_signal: ClassVar = signal.SIGTERM
    _port: int = 0

    async def start(self) -> tuple[str, Child]:
        """Start it and wait until it answers, with the plugin working and the usual services loaded; URL and process.

        It takes the port that it had before, unless somebody else has it now.

        Raises:
            HarnessError: When it ends, does not answer in time, or did not load the plugin.
        """
        for _ in range(_ATTEMPTS):
            port, self._port = free_port(self._port), 0
            child = self.space.spawn(
                [self.installation.interpreter, "-P", "-m", "localstack.runtime.main"],
                name=_NAME,
                env=_environment(self.space, self.installation, self.plane, port),
                log=self.log,
            )
            url = f"http://{LOOPBACK}:{port}"
            async with child.stopped_on_error():
                problem = await wait_until_ready(child, url)
            if problem is None:
                self._port = port
                return url, child
            await child.stop()
            if "Address already in use" not in child.log_tail():
                break
        raise HarnessError(f"{_NAME} {self.installation.version} {problem}", _HINT, log_tail=child.log_tail())


def _environment(space: RunSpace, installation: Installation, plane: Plane, port: int) -> dict[str, str]:
    """All that it gets: nothing of the user's, neither his AWS variables nor his PYTHONPATH nor his home."""
    root = Path(tempfile.mkdtemp(prefix="localstack-", dir=space.folder))
    temporary, home = root / "tmp", root / "home"
    for folder in (temporary, home, root / "usr" / "lib"):
        folder.mkdir(parents=True)
    (root / "usr" / "lib" / "localstack").symlink_to(installation.static_libs)
    return {
        **common_environment(plane),
        "PATH": os.defpath,
        "HOME": str(home),
        "PYTHONPATH": str(PLUGIN_FOLDER),
        "GATEWAY_LISTEN": f"{LOOPBACK}:{port}",
        "FILESYSTEM_ROOT": str(root),
        "TMPDIR": str(temporary),
        "OVERRIDE_IN_DOCKER": "0",  # in a container it would ignore FILESYSTEM_ROOT and share state with others
    }


def common_environment(plane: Plane) -> dict[str, str]:
    """What makes it the testbed's control plane, whatever it runs in."""
    return {
        "LANG": "C.UTF-8",
        "TESTBED_PLANE": plane.url,
        "TESTBED_TOKEN": plane.token,
        "LOCALSTACK_HOST": plane.gateway,
        "DNS_ADDRESS": "0",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DISABLE_EVENTS": "1",
        "EAGER_SERVICE_LOADING": "0",
        "SQS_DISABLE_CLOUDWATCH_METRICS": "1",  # a metric for each send is the largest cost of SQS
        "SQS_ENDPOINT_STRATEGY": "off",  # queue URLs as AWS writes them, without a host name that needs DNS
        "LAMBDA_RUNTIME_EXECUTOR": "testbed",
        "PROVIDER_OVERRIDE_KINESIS": "moto",  # the image's own, on Node, takes less than half as many records a second
        "PROVIDER_OVERRIDE_DYNAMODB": "moto",  # LocalStack's own wants Java, and a download at its first use
        "PROVIDER_OVERRIDE_DYNAMODBSTREAMS": "moto",
    }


async def wait_until_ready(part: Starting, url: str) -> str | None:
    """None when it answers with the plugin working and the usual services loaded, else what is wrong."""
    try:
        async with asyncio.timeout(_READY_SECONDS), aiohttp.ClientSession() as session:
            while part.running:
                plugin = await _get(session, url + PLUGIN_HEALTH)
                if plugin is None and await _get(session, url + _HEALTH) is not None:
                    plugin = await _get(session, url + PLUGIN_HEALTH)  # it may have come up between the two
                    if plugin is None:
                        return "started without the testbed's plugin"
                if plugin and plugin.get("warm"):
                    return None
                if plugin and plugin.get("error"):
                    return f"could not load its services: {plugin['error']}"
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        return f"was not ready within {_READY_SECONDS:.0f} s"
    return f"{part.death().how} while it started"


async def ask(url: str) -> dict[str, Any] | None:
    """The JSON document at one of its addresses; None when there is none, or nobody answers."""
    async with aiohttp.ClientSession() as session:
        return await _get(session, url)


async def _get(session: aiohttp.ClientSession, url: str) -> dict[str, Any] | None:
    """The JSON document there; None when there is none, or nobody answers."""
    try:
        async with session.get(url) as answer:
            document: dict[str, Any] | None = await answer.json() if answer.status == _OK else None
            return document
    except aiohttp.ClientError:
        return None
