"""The engine as containers: LocalStack and Postgres by Testcontainers."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final, Self

import psycopg
from docker.types import LogConfig
from testcontainers.community.localstack import LocalStackContainer
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer, Reaper

from testbed.engine.base import EngineInfo, EngineOrder, Part, PartName
from testbed.engine.container_part import DOCKER_ERRORS, Around, Container, ContainerPart, ask_docker
from testbed.engine.docker_host import DockerHost, explain
from testbed.engine.images import TOKEN_VARIABLE, Images
from testbed.engine.localstack import PLUGIN_FOLDER, PLUGIN_HEALTH, Plane, ask, common_environment, wait_until_ready
from testbed.engine.postgres import (
    SETTINGS,
    Login,
    Postgres,
    administer,
    check_max_connections,
    create_app,
    refused,
)
from testbed.engine.runspace import RunSpace
from testbed.errors import EngineDiedError, HarnessError

PLANE_HOST: Final = "host.docker.internal"
"""This machine's name in a container, as Docker Desktop has it."""
_PLUGIN_MOUNT: Final = "/opt/serverless-testbed/plugin"
_PLANE_CHECK: Final = "/_testbed/plugin/plane"
_LOCALSTACK_PORT: Final = 4566
_POSTGRES_PORT: Final = 5432
_READY_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.03
_HINT: Final = "docs/engines.md tells what the container engine needs; --engine process needs no Docker"


def choose_containers(host: DockerHost, progress: Callable[[str], None]) -> "ContainerLauncher":
    """The launcher, once the engine has the images.

    Args:
        host: The Docker engine.
        progress: Takes lines for people: images that are pulled.

    Raises:
        UsageError: LocalStack's image needs a token that is not there.
        HarnessError: An image cannot be had.
    """
    images = Images.chosen()
    images.check_token()
    host.ensure(images.localstack, progress)
    host.ensure(images.postgres, progress)
    if not testcontainers_config.ryuk_disabled:
        _start_ryuk(host, progress)
    return ContainerLauncher(host, images)


class ContainerLauncher:
    """Starts the engine as containers.

    Attributes:
        mode: ``"container"``.
        caller_address: The own address in the containers' network; None where Docker forwards to loopback.
        plane_host: This machine's name in a container.
    """

    mode = "container"
    plane_host = PLANE_HOST

    def __init__(self, host: DockerHost, images: Images) -> None:
        self.caller_address = host.ways.own_address
        self._host = host
        self._images = images

    async def start(self, space: RunSpace, order: EngineOrder) -> "ContainerEngine":
        """See `Launcher`."""
        check_max_connections(order.max_connections)
        made = await ask_docker("prepare containers", lambda: self._containers(space.labels, order))
        engine = ContainerEngine(self._host, space, order, *made)
        space.expect_containers(engine.stop)
        try:
            await engine.start()
        except BaseException:  # whatever it is, nothing must stay
            await engine.stop()
            raise
        return engine

    def _containers(self, labels: Mapping[str, str], order: EngineOrder) -> tuple[DockerContainer, DockerContainer]:
        options = {
            "labels": dict(labels),
            "extra_hosts": {PLANE_HOST: self.caller_address or "host-gateway"},
            "healthcheck": {"test": ["NONE"]},  # that of LocalStack's image asks for a name that needs DNS
            "log_config": LogConfig(type=LogConfig.types.JSON),  # others may not be readable
            "use_config_proxy": False,  # a proxy of the user's would stand between LocalStack and itself
        }
        containers = _localstack_container(self._images, order), _postgres_container(self._images, order)
        for container, port in zip(containers, (_LOCALSTACK_PORT, _POSTGRES_PORT), strict=True):
            container.with_kwargs(**options)
            # Testcontainers would publish on all interfaces; the SDK beneath it takes an address too.
            container.ports = {str(port): (self._host.ways.published_at, None)}  # type: ignore[dict-item]
        return containers


class ContainerEngine:
    """LocalStack and Postgres as containers of a run."""

    def __init__(
        self,
        host: DockerHost,
        space: RunSpace,
        order: EngineOrder,
        localstack: DockerContainer,
        postgres: DockerContainer,
    ) -> None:
        self._host = host
        self._space = space
        self._order = order
        around = Around(order.front, self._attach, space.report)
        self._localstack = _LocalStackPart(localstack, order, around)
        self._postgres = _PostgresPart(postgres, order, around)
        self._parts = self._localstack, self._postgres

    @property
    def localstack_url(self) -> str:
        """LocalStack's own address."""
        return self._localstack.url

    @property
    def postgres(self) -> Postgres:
        """The database server."""
        return self._postgres.server

    @property
    def info(self) -> EngineInfo:
        """What runs."""
        versions = self._localstack.version, self._postgres.server.version
        return EngineInfo(ContainerLauncher.mode, "localstack", *versions, self._order.max_connections)

    def part(self, name: PartName) -> Part:
        """One of the two, for chaos."""
        return self._localstack if name == "localstack" else self._postgres

    async def start(self) -> None:
        """Start both containers side by side; what has been started stays when this fails.

        Raises:
            UsageError: When Postgres does not accept ``max_connections``.
            HarnessError: When a container cannot be started, or LocalStack does not reach the plane.
        """
        starts = [asyncio.create_task(part.create()) for part in self._parts]
        try:
            await asyncio.gather(*starts)
        finally:
            for start in starts:
                start.cancel()
        await self._attach()
        await _check_plane(self.localstack_url)
        for part in self._parts:
            part.watch()

    async def died(self) -> EngineDiedError:
        """Wait until a container, or a watched process of the run, dies."""
        return await self._space.died()

    async def stop(self) -> None:
        """Remove both containers at once, with their volumes.

        Raises:
            HarnessError: Docker does not do it.
        """
        for part in self._parts:
            part.container.stopping = True
        await asyncio.gather(*(part.container.created() for part in self._parts))
        await ask_docker("remove containers", lambda: self._host.remove(self._space.labels))
        for part in self._parts:
            part.container.close()
        self._host.close()

    async def _attach(self) -> None:
        await self._order.front.attach(self.localstack_url, self.postgres)


class _LocalStackPart(ContainerPart):
    """LocalStack in its container.

    Attributes:
        url: Its own address.
        version: For example ``"4.14.0"``.
    """

    def __init__(self, container: DockerContainer, order: EngineOrder, around: Around) -> None:
        log = order.logs / "localstack.log"
        super().__init__("localstack", Container("LocalStack", container, _LOCALSTACK_PORT, log), around)
        self.url = ""
        self.version = ""

    async def find(self) -> None:
        host, port = await self.container.address()
        self.url = f"http://{host}:{port}"

    async def ready(self) -> None:
        if problem := await wait_until_ready(self.container, self.url):
            raise HarnessError(f"LocalStack {problem}", _HINT, log_tail=self.container.log_tail())
        health = await ask(self.url + PLUGIN_HEALTH)
        self.version = health["localstack"] if health else ""


class _PostgresPart(ContainerPart):
    """Postgres in its container.

    Attributes:
        server: Where it is, and who may log in.
    """

    def __init__(self, container: DockerContainer, order: EngineOrder, around: Around) -> None:
        log = order.logs / "postgres.log"
        super().__init__("postgres", Container("Postgres", container, _POSTGRES_PORT, log), around)
        self._max_connections = order.max_connections
        admin = Login("postgres", container.env["POSTGRES_PASSWORD"])
        self.server = Postgres("", 0, "", admin, Login("app", secrets.token_urlsafe(18)))

    async def create(self) -> None:
        await super().create()
        await create_app(self.server)

    async def find(self) -> None:
        host, port = await self.container.address()
        self.server = replace(self.server, host=host, port=port)

    async def ready(self) -> None:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                while self.container.running:
                    with suppress(psycopg.OperationalError):
                        self.server = replace(self.server, version=await _server_version(self.server))
                        return
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            problem = f"Postgres was not ready within {_READY_SECONDS:.0f} s"
            raise HarnessError(problem, _HINT, log_tail=self.container.log_tail()) from None
        raise refused(self.container, self._max_connections)


def _localstack_container(images: Images, order: EngineOrder) -> DockerContainer:
    container = _LocalStack(images.localstack)
    container.image = images.localstack  # Testcontainers' prefix is in it already, where it belongs
    container.with_volume_mapping(PLUGIN_FOLDER, _PLUGIN_MOUNT)
    container.env = {  # nothing of the user's: Testcontainers hands on AWS_DEFAULT_REGION
        **common_environment(Plane(order.plane_url, order.plane_token, order.gateway)),
        "GATEWAY_LISTEN": f"0.0.0.0:{_LOCALSTACK_PORT}",
        "PYTHONPATH": _PLUGIN_MOUNT,
        **({TOKEN_VARIABLE: images.token} if images.token else {}),
    }
    return container


def _postgres_container(images: Images, order: EngineOrder) -> DockerContainer:
    password = secrets.token_urlsafe(18)
    container = _Postgres(images.postgres, username="postgres", password=password, dbname="postgres")
    container.image = images.postgres
    settings = {**SETTINGS, "max_connections": order.max_connections}
    container.with_command(
        ["postgres", *(part for item in settings.items() for part in ("-c", "=".join(map(str, item))))]
    )
    container.with_envs(POSTGRES_PASSWORD=password, POSTGRES_INITDB_ARGS="--no-sync --encoding=UTF8 --locale=C")
    return container


class _LocalStack(LocalStackContainer):
    def start(self, timeout: float = 0) -> Self:
        """Start it only: the plugin's health says when it is ready, the log's "Ready." comes before that."""
        del timeout
        DockerContainer.start(self)
        return self


class _Postgres(PostgresContainer):
    def _connect(self) -> None:
        """Wait for nothing: it is asked for from outside, where it is used from."""


async def _server_version(server: Postgres) -> str:
    async with await administer(server) as connection:
        row = await (await connection.execute("SHOW server_version")).fetchone()
    return str(row[0]).partition(" ")[0] if row else ""


async def _check_plane(localstack_url: str) -> None:
    found = await ask(localstack_url + _PLANE_CHECK)
    if found is None or found["obstacle"]:
        reason = found["obstacle"] if found else "it does not say why"
        raise HarnessError(
            f"LocalStack's container does not reach the data plane on this machine: {reason}",
            "a firewall may drop what comes from containers (with ufw: `ufw allow in on docker0`); see docs/engines.md",
        )


def _start_ryuk(host: DockerHost, progress: Callable[[str], None]) -> None:
    """Start what cleans up for Testcontainers; where it cannot run it is switched off, as the guard cleans up too."""
    why = "" if not testcontainers_config.hub_image_name_prefix else "it cannot be started with a prefix for images"
    try:
        if not why:
            host.ensure(testcontainers_config.ryuk_image, lambda _: None)
            Reaper.get_instance()
            return
    except HarnessError as error:
        why = error.message
    except DOCKER_ERRORS as error:
        why = explain(error)
    Reaper.delete_instance()
    testcontainers_config.ryuk_disabled = True
    progress(f"without Testcontainers' Ryuk, as the testbed cleans up itself: {why}")
