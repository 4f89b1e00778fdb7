"""The plane process that stands: its settings, its wait for the engine, and its end."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from gateway_world import World, until
from postgres_server import Server

from testbed.errors import HarnessError, UsageError
from testbed.gateway import standing
from testbed.gateway.standing import Settings, attach

GIVEN = {
    "TESTBED_EMULATOR_URL": "http://localstack:4566/",
    "TESTBED_POSTGRES_DSN": "postgresql://postgres:pw@postgres/postgres",
    "TESTBED_TOKEN": "t",
}


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    """All interfaces are for containers, and have to be asked for."""
    settings = Settings.of(GIVEN)
    assert settings.listen == ("127.0.0.1", 4566)
    assert settings.postgres_listen == ("127.0.0.1", 5432)
    assert settings.emulator_url == "http://localstack:4566"
    assert Settings.of(GIVEN | {"TESTBED_LISTEN": "0.0.0.0:80"}).listen == ("0.0.0.0", 80)


@pytest.mark.parametrize("name", GIVEN)
def test_a_setting_that_is_missing_is_named(name: str) -> None:
    """Empty is missing too, as Compose hands on variables that are not set."""
    with pytest.raises(UsageError, match=f"{name} is not set"):
        Settings.of(GIVEN | {name: ""})


@pytest.mark.parametrize("address", ["4566", ":4566", "127.0.0.1:", "127.0.0.1:http"])
def test_an_address_that_is_none_is_shown(address: str) -> None:
    """With how one is written."""
    with pytest.raises(UsageError, match="is no address") as caught:
        Settings.of(GIVEN | {"TESTBED_POSTGRES_LISTEN": address})
    assert "TESTBED_POSTGRES_LISTEN" in caught.value.message
    assert "127.0.0.1:4566" in caught.value.hint


class FakePlane:
    """Remembers what it was connected to."""

    def __init__(self) -> None:
        self.connected: list[tuple[str, str, int, str]] = []
        self.has_read = False

    async def connect(self, *parts: Any) -> int:
        self.connected.append(parts)  # type: ignore[arg-type]  # as they come
        return 5432

    async def read_anew(self) -> None:
        assert self.connected
        self.has_read = True


def health(world: World, **document: object) -> None:
    """Let LocalStack's plugin answer this."""

    async def respond(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(document)

    world.emulator.respond = respond


def settings_of(world: World, postgres: Server, **more: str) -> Settings:
    dsn = f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres"
    return Settings.of(
        {"TESTBED_EMULATOR_URL": world.way_to_emulator.url, "TESTBED_POSTGRES_DSN": dsn, "TESTBED_TOKEN": "t", **more}
    )


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits end soon."""
    monkeypatch.setattr(standing, "_READY_SECONDS", 0.2)
    monkeypatch.setattr(standing, "_POLL_SECONDS", 0.01)


async def test_the_plane_is_put_in_front_of_both_parts(world: World, postgres_server: Server) -> None:
    """Once LocalStack has loaded its services, with the superuser's name; what is deployed already is read."""
    health(world, warm=False, error=None)
    plane: Any = FakePlane()
    attaching = asyncio.create_task(attach(plane, settings_of(world, postgres_server)))
    await until(lambda: world.emulator.received)
    assert not plane.connected
    health(world, warm=True, error=None)
    await attaching
    assert plane.connected == [(world.way_to_emulator.url, "127.0.0.1", postgres_server.port, "postgres")]
    assert plane.has_read


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"warm": False, "error": None}, "it still loads its services"),
        ({"warm": False, "error": "no moto"}, "no moto"),
        ({}, "it runs without the testbed's plugin"),
    ],
)
async def test_a_localstack_that_does_not_get_ready_is_explained(
    world: World, postgres_server: Server, document: Mapping[str, Any], said: str
) -> None:
    """After a while, with the last reason."""
    health(world, **document)
    plane: Any = FakePlane()
    with pytest.raises(HarnessError, match=r"LocalStack at http://127.0.0.1:.* was not ready within") as caught:
        await attach(plane, settings_of(world, postgres_server))
    assert caught.value.message.endswith(said)
    assert not plane.connected


async def test_a_postgres_that_is_not_there_is_explained(world: World, postgres_server: Server) -> None:
    """Which is not LocalStack's fault."""
    health(world, warm=True, error=None)
    nowhere = {"TESTBED_POSTGRES_DSN": "postgresql://postgres@127.0.0.1:9/postgres"}
    plane: Any = FakePlane()
    with pytest.raises(HarnessError, match=r"Postgres was not ready within .*refused"):
        await attach(plane, settings_of(world, postgres_server, **nowhere))


class Process:
    """The module as a process of its own, as the image runs it."""

    def __init__(self, folder: Path, **variables: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TESTBED_")}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "testbed.gateway.standing"],
            env={**environment, "TMPDIR": str(folder), **variables},
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self) -> tuple[int, str]:
        """Exit code and what it said."""
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


async def test_it_serves_until_sigterm_and_leaves_nothing(
    world: World, postgres_server: Server, tmp_path: Path
) -> None:
    """Once it answers, it is connected; then it ends well."""
    health(world, warm=True, error=None)
    port, postgres_port = free_ports(2)
    running = Process(
        tmp_path,
        **GIVEN
        | {
            "TESTBED_EMULATOR_URL": world.way_to_emulator.url,
            "TESTBED_POSTGRES_DSN": f"postgresql://postgres@127.0.0.1:{postgres_server.port}/postgres",
        },
        TESTBED_LISTEN=f"127.0.0.1:{port}",
        TESTBED_POSTGRES_LISTEN=f"127.0.0.1:{postgres_port}",
    )
    try:
        url = f"http://127.0.0.1:{port}/_testbed/health"
        assert await asyncio.to_thread(answers, url)
        socket.create_connection(("127.0.0.1", postgres_port)).close()
        assert files_in(tmp_path)
        running.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(running.ended) == (0, "")
    finally:
        running.process.kill()
    assert files_in(tmp_path) == []


def answers(url: str) -> bool:
    """Whether somebody answers there, once somebody listens."""
    while True:
        try:
            with urllib.request.urlopen(url) as answer:  # noqa: S310 - loopback
                return answer.status == 200
        except ConnectionRefusedError:
            continue
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise


def test_a_mistake_is_one_message_and_its_exit_code(tmp_path: Path) -> None:
    """No stack trace in a container's log."""
    code, said = Process(tmp_path).ended()
    assert code == 64
    assert said == (
        "testbed gateway: TESTBED_EMULATOR_URL is not set\n"
        "  hint: docker-compose.yml shows what the standing gateway is told\n"
    )


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    """Before anything else is tried."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = Process(tmp_path, **GIVEN, TESTBED_LISTEN=address).ended()
    assert code == 64
    assert said.startswith(f"testbed gateway: {address} cannot be used: Address already in use\n")
    assert list(tmp_path.iterdir()) == []
