"""Which engines the integration tests run on, and what Docker has, or had, of a run."""

import gc
import os
import tempfile
import threading
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import docker
import psutil
import pytest
from docker.errors import DockerException, NotFound
from docker.models.containers import Container
from docker.types.daemon import CancellableStream

from testbed.engine import guard

MODES: Final = ("process", "container")
ENGINE_VARIABLE: Final = "TESTBED_ENGINE"
REQUIRE_VARIABLE: Final = "TESTBED_REQUIRE_CONTAINER"
IMAGES: Final[Mapping[str, tuple[str, str]]] = {
    "TESTBED_LOCALSTACK_IMAGE": ("localstack/localstack:4.14.0", "testbed/localstack:4.14.0"),
    "TESTBED_POSTGRES_IMAGE": ("postgres:16-alpine", "testbed/postgres:16"),
}
"""For each variable that names an image: the real one, and the stand-in that `make images` builds."""
PROCESSES: Final = {
    "LocalStack": "localstack.runtime.main",
    "Postgres": "bin/postgres -D",
    "the data plane": "testbed.gateway",
    "the fork server of the Lambda plane": "compute/forkserver.py",
}
"""The parts of a run by name, for people, and what tells the process of each."""
CONTAINERS: Final = {"LocalStack": "TESTBED_LOCALSTACK_IMAGE", "Postgres": "TESTBED_POSTGRES_IMAGE"}
"""Those that are containers in the container engine, and the variable that names the image of each."""
_ASK_SECONDS: Final = 10


@dataclass(frozen=True)
class Engines:
    """What the tests of this session run on.

    Attributes:
        tested: Modes that are tested.
        missing: For each other mode, why it is not.
        images: Variables that name the images of the containers.
    """

    tested: tuple[str, ...]
    missing: Mapping[str, str]
    images: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def found(cls) -> "Engines":
        """Child processes always; containers where a Docker engine answers that has the images."""
        wanted = os.environ.get(ENGINE_VARIABLE)
        missing = {mode: f"{ENGINE_VARIABLE}={wanted}" for mode in MODES if wanted and mode != wanted}
        images: dict[str, str] = {}
        if "container" not in missing:
            try:
                images = _images(docker.from_env(timeout=_ASK_SECONDS))
            except DockerException:
                missing["container"] = "no Docker engine answers (make images sets one up)"
            except LookupError as error:
                missing["container"] = f"the image {error.args[0]} is not there (make images gets or builds it)"
            with warnings.catch_warnings(action="ignore", category=ResourceWarning):
                gc.collect()  # the client of an engine that does not answer leaves its socket open
        return cls(tuple(mode for mode in MODES if mode not in missing), missing, images)

    def check(self) -> None:
        """End the session where an engine that must be tested cannot be.

        Raises:
            UsageError: That is so.
        """
        required = os.environ.get(REQUIRE_VARIABLE) == "1"
        for mode, reason in self.missing.items():
            if not self.tested or (required and mode == "container"):
                raise pytest.UsageError(f"the {mode} engine cannot be tested: {reason}")


def _images(client: docker.DockerClient) -> dict[str, str]:
    """The image that each variable is to name; a LookupError with the name of one that is not there."""
    found = {}
    for variable, usual in IMAGES.items():
        names = [os.environ[variable]] if os.environ.get(variable) else usual
        present = [name for name in names if _has(client, name)]
        if not present:
            raise LookupError(names[0])
        found[variable] = present[0]
    return found


def _has(client: docker.DockerClient, image: str) -> bool:
    try:
        client.images.get(image)
    except NotFound:
        return False
    return True


class DockerLedger:
    """Reads Docker's events while tests run: what belonged to a run is known even when it is gone, or nameless.

    Anonymous volumes carry no label; Docker tells only which container has mounted them.

    Attributes:
        client: Of the Docker engine.
    """

    def __init__(self) -> None:
        self.client = docker.from_env(timeout=_ASK_SECONDS)
        self._tokens: dict[str, str] = {}
        self._attached: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._events: CancellableStream = self.client.events(decode=True)
        threading.Thread(target=self._read, name="Docker's events", daemon=True).start()

    def containers(self, token: str) -> list[Container]:
        """The containers of the run, running or not; one that ends while Docker tells of it may be missing."""
        label = f"{guard.LABEL}={token}"
        return list(self.client.containers.list(all=True, filters={"label": label}, ignore_removed=True))

    def container(self, token: str, part: str) -> Container | None:
        """The running container of a part; None where there is none yet."""
        image = os.environ[CONTAINERS[part]]
        found = [each for each in self.containers(token) if each.attrs["Config"]["Image"] == image]
        return next((each for each in found if each.status == "running"), None)

    def had(self, token: str, kind: str) -> set[str]:
        """Ids of the containers that the run has ever had, or of the volumes or networks that these were attached to.

        Args:
            token: The run.
            kind: ``"container"``, ``"volume"`` or ``"network"``.
        """
        mine = {container for container, run in self._tokens.items() if run == token}
        if kind == "container":
            return mine
        return {each for container in mine for each in self._attached[container, kind]}

    def left(self, token: str) -> list[str]:
        """What Docker still has of the run: containers, networks, volumes."""
        label = {"label": f"{guard.LABEL}={token}"}
        containers = {f"container {each.name}" for each in self.containers(token)}
        networks = {
            f"network {each.name}"
            for each in [*self.client.networks.list(filters=label), *self._still("network", token)]
            if each.name not in {"bridge", "host", "none"}
        }
        volumes = {
            f"volume {each.name}" for each in [*self.client.volumes.list(filters=label), *self._still("volume", token)]
        }
        return sorted(containers | networks | volumes)

    def _still(self, kind: str, token: str) -> Iterator[Any]:
        collection = getattr(self.client, f"{kind}s")
        for each in self.had(token, kind):
            try:
                yield collection.get(each)
            except NotFound:
                continue

    def _read(self) -> None:
        for event in self._events:
            actor, kind = event["Actor"], event["Type"]
            if kind == "container" and guard.LABEL in actor["Attributes"]:
                self._tokens[actor["ID"]] = actor["Attributes"][guard.LABEL]
            elif kind in {"volume", "network"} and "container" in actor["Attributes"]:
                self._attached[actor["Attributes"]["container"], kind].add(actor["ID"])


@cache
def docker_ledger() -> DockerLedger:
    """The one of the session, which reads from the first call on."""
    return DockerLedger()


def find_part(mode: str, token: str, part: str) -> psutil.Process | Container | None:
    """The running process or container of a part of a run; None where there is none."""
    if mode == "container" and part in CONTAINERS:
        return docker_ledger().container(token, part)
    for process in guard.processes(token):
        with suppress(psutil.Error):  # it has just ended
            if PROCESSES[part] in " ".join(process.cmdline()):
                return process
    return None


def left_behind(token: str) -> list[str]:
    """What there still is of a run: processes, its temporary folder, and whatever Docker has of it."""
    folder = Path(tempfile.gettempdir()) / f"serverless-testbed-{token}"
    left = [str(process) for process in guard.processes(token)]
    left += [str(folder)] if folder.exists() else []
    return left + (docker_ledger().left(token) if "container" in ENGINES.tested else [])


ENGINES: Final = Engines.found()
