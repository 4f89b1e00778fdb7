"""What the plane does for runs that did not start it: its client against its control routes, on a real port."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from gateway_world import World, until
from postgres_server import Server

from testbed.errors import HarnessError, UsageError
from testbed.gateway import client as client_module
from testbed.gateway.client import PlaneClient
from testbed.gateway.control import Control
from testbed.gateway.inventory import KINDS
from testbed.gateway.lease import LEASE_SECONDS
from testbed.gateway.plane import Plane, PlaneSettings
from testbed.gateway.server import GatewayServer

UNUSED = json.dumps({"services": dict.fromkeys({kind.service for kind in KINDS}, "available")}).encode()
"""LocalStack's health before anybody has used it."""
TOKEN = "s3cret"  # noqa: S105 - of a test


async def _nothing() -> None:
    """What the compute plane does not do here."""


@pytest_asyncio.fixture
async def plane(
    world: World, postgres_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Plane]:
    """A plane without environments, in front of a LocalStack that answers anything and a real Postgres."""
    monkeypatch.setattr("testbed.gateway.plane._SAMPLE_SECONDS", 0.0)
    (tmp_path / "plane").mkdir()
    plane = Plane(
        PlaneSettings(host=world.host, folder=tmp_path / "plane", logs=tmp_path / "logs", run="test", mode="container")
    )
    for name in ("start", "stop", "reset"):
        monkeypatch.setattr(plane.compute, name, _nothing)
    await plane.start()
    await plane.connect(world.way_to_emulator.url, "127.0.0.1", postgres_server.port, "postgres")
    yield plane
    await plane.stop()


@pytest_asyncio.fixture
async def url(plane: Plane) -> AsyncIterator[str]:
    """Where its routes are."""
    server = GatewayServer(plane.gateway, Control(plane, TOKEN), TOKEN)
    listening = socket.create_server(("127.0.0.1", 0))
    await server.start(listening)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    await server.stop()


@pytest_asyncio.fixture
async def client(url: str) -> AsyncIterator[PlaneClient]:
    """Who knows the token."""
    client = PlaneClient(url, TOKEN)
    yield client
    await client.close()


def begin(**more: Any) -> dict[str, Any]:
    return {"architecture": "a", "seed": 1, "faults": [], "zero": time.monotonic(), **more}


async def test_another_token_is_the_user_s_mistake(url: str) -> None:
    """It comes from a variable that the user sets."""
    stranger = PlaneClient(url, "wrong")
    with pytest.raises(UsageError, match="does not take the token") as caught:
        await stranger.call("about")
    assert "TESTBED_TOKEN" in caught.value.hint
    await stranger.close()


async def test_the_plane_tells_what_stands(client: PlaneClient, plane: Plane, world: World, tmp_path: Path) -> None:
    """Mode, LocalStack's version as the plugin knows it, the port of the way to Postgres, and where logs are."""
    world.emulator.answers(b'{"localstack": "4.14.0", "warm": true}')
    assert plane.postgres
    assert await client.call("about") == {
        "mode": "container",
        "emulator_version": "4.14.0",
        "postgres_port": plane.postgres.port,
        "logs": str(tmp_path / "logs"),
    }


async def test_a_dsn_is_tried_from_where_functions_run(client: PlaneClient, plane: Plane) -> None:
    """It leads into a database, or why not, in one line."""
    assert plane.postgres
    dsn = f"postgresql://postgres@127.0.0.1:{plane.postgres.port}/"
    assert (await client.call("reach", dsn=dsn + "postgres"))["problem"] is None
    problem = (await client.call("reach", dsn=dsn + "nowhere"))["problem"]
    assert 'database "nowhere" does not exist' in problem
    assert "\n" not in problem


async def test_clocks_are_compared_by_the_quickest_of_several_looks(
    client: PlaneClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that took long says little about when the plane looked at its clock."""
    now, took = 1000.0, iter([9.0, 5.0, 0.002, 7.0, *[8.0] * 9])
    looks = iter(range(1, 100))

    async def call(_route: str) -> dict[str, float]:
        nonlocal now
        seconds = next(took)
        there = now + (0.5 * seconds if seconds < 1 else 0.9 * seconds) + 5000
        now += seconds
        return {"now": there}

    class Clock:
        @staticmethod
        def monotonic() -> float:
            next(looks)
            return now

    monkeypatch.setattr(client, "call", call)
    monkeypatch.setattr(client_module, "time", Clock)
    assert await client.clock_offset() == pytest.approx(5000, abs=1e-6)
    assert next(looks) > 6


async def test_on_one_machine_clocks_are_the_same(client: PlaneClient) -> None:
    """Up to half of a round trip on loopback; asked over the real route."""
    asked = time.monotonic()
    offset = await client.clock_offset()
    assert abs(offset) < time.monotonic() - asked


async def test_a_journal_that_nobody_gave_a_path_is_fetched(client: PlaneClient, plane: Plane, tmp_path: Path) -> None:
    """Behind what the file holds already; each architecture's once, and it may be long."""
    wanted = tmp_path / "journal.jsonl"
    for architecture, count in (("a", 3), ("b", 20_000)):
        await client.call("begin", **begin(architecture=architecture))
        for number in range(count):
            plane.journal.record("api", number=number)
        await client.call("end")
        await client.fetch_journal(wanted)
    lines = [json.loads(line) for line in wanted.read_text(encoding="utf-8").splitlines()]
    numbers = {
        name: [each["number"] for each in lines if each["architecture"] == name and each["hop"] == "api"]
        for name in "ab"
    }
    assert numbers == {"a": list(range(3)), "b": list(range(20_000))}


async def test_a_plane_without_a_journal_gives_an_empty_one(client: PlaneClient, tmp_path: Path) -> None:
    """No test has begun."""
    await client.fetch_journal(tmp_path / "journal.jsonl")
    assert (tmp_path / "journal.jsonl").read_bytes() == b""


async def test_a_journal_that_breaks_off_is_told(tmp_path: Path) -> None:
    """Whoever asks must not take it for the whole; what came is kept."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"hop": "api"}\n')
        writer.close()

    async with await asyncio.start_server(half, "127.0.0.1", 0) as dying:
        client = PlaneClient(f"http://127.0.0.1:{dying.sockets[0].getsockname()[1]}", TOKEN)
        with pytest.raises(HarnessError, match="the journal is not complete"):
            await client.fetch_journal(tmp_path / "journal.jsonl")
        await client.close()
    assert (tmp_path / "journal.jsonl").read_bytes() == b'{"hop": "api"}\n'


async def test_a_lease_is_had_renewed_and_given_back(client: PlaneClient, world: World) -> None:
    """Over the routes; a second run learns that it must wait."""
    world.emulator.answers(UNUSED)
    assert await client.call("lease", run="a") == {"granted": True, "known": {}}
    assert await client.call("lease", run="b") == {"granted": False, "known": None}
    assert await client.call("renew", run="a") == {"held": True, "lost_part": None}
    assert await client.call("renew", run="b") == {"held": False, "lost_part": None}
    assert await client.call("release", run="a") == {"left": []}
    assert (await client.call("renew", run="a"))["held"] is False


async def test_faults_of_a_run_that_was_killed_do_not_stay(
    client: PlaneClient, plane: Plane, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease expires by itself, and with it the test ends."""
    world.emulator.answers(UNUSED)
    now = 0.0
    monkeypatch.setattr(plane.lease, "_clock", lambda: now)
    await client.call("lease", run="a")
    fault = {"type": "Throttle", "service": "sqs", "probability": 1}
    await client.call("begin", **begin(faults=[fault]))
    assert plane.gateway.faults._schedule.armed
    now = LEASE_SECONDS
    await until(lambda: not plane.gateway.faults._schedule.armed)


@pytest.mark.parametrize("part", ["LocalStack", "Postgres"])
async def test_a_part_that_is_gone_is_named(client: PlaneClient, plane: Plane, part: str) -> None:
    """Nobody listens where it was."""
    if part == "LocalStack":
        plane._emulator.url = "http://127.0.0.1:9"
    else:
        assert plane.postgres
        plane.postgres.upstream = ("127.0.0.1", 9)
    assert (await client.call("renew", run="a"))["lost_part"] == part


async def test_a_part_that_is_slow_is_not_gone(
    client: PlaneClient, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under load connecting may take its time."""
    monkeypatch.setattr("testbed.gateway.plane._CONNECT_SECONDS", 0.05)
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        address = busy.getsockname()
        waiting = [socket.socket() for _ in range(3)]  # more than it lets wait: the next one gets no answer
        for each in waiting:
            each.setblocking(False)  # noqa: FBT003 - socket's own way
            each.connect_ex(address)
        assert plane.postgres
        plane.postgres.upstream = address
        await asyncio.sleep(0)
        assert (await client.call("renew", run="a"))["lost_part"] is None
        for each in waiting:
            each.close()
