"""The Docker engine of this machine: whether one answers, how containers and this machine reach each other, images.

The SDK is imported only where there is something to ask: it takes half a second.
"""

import asyncio
import contextlib
import ipaddress
import os
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from testbed.engine.ports import LOOPBACK
from testbed.errors import HarnessError
from testbed.threads import in_daemon_thread

if TYPE_CHECKING:
    from testcontainers.core.docker_client import DockerClient

_SOCKET: Final = Path("/var/run/docker.sock")
_ANSWER_SECONDS: Final = 3.0
_CALL_SECONDS: Final = 60
_REMOVE_SECONDS: Final = 20.0
_AGAIN_SECONDS: Final = 0.1
_LOCAL: Final = frozenset({"localhost", LOOPBACK, "::1"})
_BRIDGE: Final = "bridge"
_TELL_SECONDS: Final = 1.0
_HINT: Final = "start Docker (`docker info` says what is wrong), or run on child processes: --engine process"


class NoDockerError(HarnessError):
    """No Docker engine answers."""


@dataclass(frozen=True, slots=True)
class Ways:
    """How containers and this machine reach each other.

    Attributes:
        published_at: Own address at which ports of containers are published; never all interfaces.
        own_address: Own address in the containers' network, where this machine has one; None under Docker Desktop and
            rootless Docker, whose containers run in a network of their own.
    """

    published_at: str
    own_address: str | None


class DockerHost:
    """A Docker engine that answers.

    Attributes:
        version: Of the engine, for example ``"28.2.2"``.
        ways: How its containers and this machine reach each other.
    """

    def __init__(self, client: "DockerClient") -> None:
        self._client = client
        self.version = str(client.client.version()["Version"])
        self.ways = _ways(client)

    def has(self, image: str) -> bool:
        """Whether the image is here."""
        from docker.errors import NotFound  # noqa: PLC0415 - see the module's docstring

        try:
            self._client.client.images.get(image)
        except NotFound:
            return False
        return True

    def pull(self, image: str, progress: Callable[[str], None]) -> None:
        """Get an image from its registry.

        Args:
            image: Its name.
            progress: Takes a line for people about once a second.

        Raises:
            HarnessError: It cannot be had.
        """
        from docker.errors import DockerException  # noqa: PLC0415 - see the module's docstring

        told = PullProgress(image, progress)
        try:
            for event in self._client.client.api.pull(image, stream=True, decode=True):
                told.take(event)
        except (DockerException, OSError) as error:
            raise _not_to_be_had(image, explain(error)) from error

    def ensure(self, image: str, progress: Callable[[str], None]) -> None:
        """Pull the image unless it is here.

        Raises:
            HarnessError: It cannot be had.
        """
        if not self.has(image):
            self.pull(image, progress)

    def remove(self, labels: Mapping[str, str]) -> None:
        """Remove all containers with these labels, with their volumes; returns when there are none.

        Raises:
            DockerException: Docker does not do it.
        """
        from docker.errors import APIError  # noqa: PLC0415 - see the module's docstring

        began = time.monotonic()
        told = {"label": [f"{name}={value}" for name, value in labels.items()]}
        while found := self._client.client.containers.list(all=True, filters=told, sparse=True):
            try:
                with ThreadPoolExecutor() as pool:
                    list(pool.map(lambda container: container.remove(force=True, v=True), found))
            except APIError:  # somebody else may be removing it already
                if time.monotonic() - began > _REMOVE_SECONDS:
                    raise
                time.sleep(_AGAIN_SECONDS)

    def close(self) -> None:
        """Close the connections."""
        self._client.client.close()


class PullProgress:
    """Makes lines for people of what Docker says while it pulls an image.

    Args:
        image: Its name.
        progress: Takes the lines: one at the beginning, then at most one a second.
    """

    def __init__(self, image: str, progress: Callable[[str], None]) -> None:
        self._image = image
        self._progress = progress
        self._layers: dict[str, tuple[int, int]] = {}
        self._told = time.monotonic()
        progress(f"pulling {image}")

    def take(self, event: Mapping[str, Any]) -> None:
        """One event of Docker's answer.

        Raises:
            HarnessError: The event says that it failed.
        """
        if "error" in event:
            raise _not_to_be_had(self._image, str(event["error"]))
        detail = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and detail.get("total"):
            self._layers[event["id"]] = (detail["current"], detail["total"])
        elif event.get("status") == "Download complete" and event["id"] in self._layers:
            total = self._layers[event["id"]][1]
            self._layers[event["id"]] = (total, total)
        if self._layers and time.monotonic() - self._told >= _TELL_SECONDS:
            self._told = time.monotonic()
            here, all_ = (sum(sizes) for sizes in zip(*self._layers.values(), strict=True))
            self._progress(f"pulling {self._image}: {100 * here // all_} %")


def may_be_there() -> bool:
    """Whether it is worth the time to ask: an engine is named somewhere, or its usual socket is there."""
    return _address() != f"unix://{_SOCKET}" or _SOCKET.exists()


async def reach() -> DockerHost:
    """The Docker engine that the user's environment means; one that hangs is given up after three seconds.

    Raises:
        NoDockerError: None answers.
        HarnessError: It runs on another machine.
    """
    await in_daemon_thread(_prepare)  # not within the limit: the import takes long where the machine is busy
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await in_daemon_thread(_connected)
    except TimeoutError:
        raise NoDockerError(f"no Docker engine answers within {_ANSWER_SECONDS:.0f} s", _HINT) from None


def explain(error: BaseException) -> str:
    """What went wrong, in one line: the reason beneath the layers of Docker's SDK."""
    reason = getattr(error, "explanation", None)  # what the engine itself said
    deepest: BaseException | None = error
    while deepest is not None and not reason:
        if isinstance(deepest, OSError) and deepest.strerror:
            reason = deepest.strerror
        inner = next((part for part in deepest.args if isinstance(part, BaseException)), None)
        deepest = deepest.__cause__ or inner or deepest.__context__
    return " ".join(str(reason or error).split())


def _address() -> str:
    """Where the engine is; empty where a Docker context or Testcontainers' properties say it, which the SDK reads."""
    home = Path.home()
    configured = Path(os.environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    if host := os.environ.get("DOCKER_HOST"):
        return host
    if (home / ".testcontainers.properties").exists() or os.environ.get("DOCKER_CONTEXT"):
        return ""
    with contextlib.suppress(OSError):
        if '"currentContext"' in configured.read_text(errors="replace"):
            return ""
    return f"unix://{_SOCKET}"


def _prepare() -> None:
    """Import the SDK, unless nobody listens at its socket."""
    address = _address()
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_ANSWER_SECONDS)
            try:
                probe.connect(address.removeprefix("unix://"))
            except OSError as error:
                raise _no_docker(error) from error
    import testcontainers.core.docker_client  # noqa: F401, PLC0415 - see the module's docstring


def _connected() -> DockerHost:
    from docker.errors import DockerException  # noqa: PLC0415 - see the module's docstring
    from testcontainers.core.docker_client import DockerClient  # noqa: PLC0415 - the same

    try:
        client = DockerClient(timeout=_ANSWER_SECONDS)
        host = DockerHost(client)
        client.client.api.timeout = _CALL_SECONDS
    except (DockerException, OSError, ValueError) as error:
        raise _no_docker(error) from error
    return host


def _no_docker(error: Exception) -> NoDockerError:
    return NoDockerError(f"no Docker engine answers at {_address() or 'its address'}: {explain(error)}", _HINT)


def _ways(client: "DockerClient") -> Ways:
    from testcontainers.core.config import ConnectionMode  # noqa: PLC0415 - see the module's docstring

    mode = client.get_connection_mode()
    if mode is ConnectionMode.docker_host and client.host() not in _LOCAL:
        raise HarnessError(
            f"the Docker engine runs on another machine ({client.host()}), whose containers cannot reach this one",
            "use the Docker engine of this machine, or run on child processes: --engine process",
        )
    subnet, gateway = _subnet(client, client.find_host_network() or _BRIDGE)
    published_at = gateway if mode is ConnectionMode.gateway_ip and gateway else LOOPBACK
    return Ways(published_at, own_address(subnet, gateway) if subnet else None)


def _subnet(client: "DockerClient", network: str) -> tuple[ipaddress.IPv4Network | None, str]:
    """The addresses of a Docker network, and its gateway's; an engine that has not started a container names none."""
    from docker.errors import NotFound  # noqa: PLC0415 - see the module's docstring

    with contextlib.suppress(NotFound):  # Podman has no network of that name
        for config in client.client.networks.get(network).attrs["IPAM"]["Config"] or ():
            subnet = ipaddress.ip_network(config["Subnet"])
            if isinstance(subnet, ipaddress.IPv4Network):
                return subnet, config.get("Gateway") or str(subnet[1])
    return None, ""


def own_address(subnet: ipaddress.IPv4Network, towards: str) -> str | None:
    """Own address in a network: that of the bridge, or of the container in which this runs; None when there is none.

    Args:
        subnet: The network's addresses.
        towards: One of them; the system is asked for the address that it would call it from. Nothing is sent.
    """
    try:
        with socket.socket(type=socket.SOCK_DGRAM) as probe:
            probe.connect((towards, 9))
            own = str(probe.getsockname()[0])
        with socket.socket() as listening:
            listening.bind((own, 0))
    except OSError:
        return None
    return own if ipaddress.ip_address(own) in subnet else None


def _not_to_be_had(image: str, reason: str) -> HarnessError:
    return HarnessError(
        f"the image {image} is not here and cannot be pulled: {reason}",
        "`make images` pulls or builds images (docs/engines.md); --engine process needs none",
    )
