"""What the process engine makes of operations on a part, with a process that does nothing."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from unittest.mock import AsyncMock, call

import pytest

from testbed.engine import Child, RunSpace
from testbed.engine.ports import LOOPBACK, free_port
from testbed.engine.process import ProcessPart

FOREVER = "import threading; threading.Event().wait()"


class FakeServer:
    """Each start is a new process at a new address."""

    stop_signal = signal.SIGTERM

    def __init__(self, space: RunSpace) -> None:
        self.space = space
        self.children: list[Child] = []

    async def start(self) -> tuple[str, Child]:
        program = [sys.executable, "-c", FOREVER]
        child = self.space.spawn(program, name="Part", env={}, log=self.space.folder / "log")
        self.children.append(child)
        return f"address {len(self.children)}", child


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with RunSpace() as space:
        yield FakeServer(space)


async def started(server: FakeServer, attach: Callable[[], Awaitable[None]]) -> ProcessPart[str]:
    space = server.space
    return ProcessPart("postgres", server, await server.start(), space=space, front=AsyncMock(), attach=attach)


async def test_it_is_started_again_before_its_front_is_told(server: FakeServer) -> None:
    """Whoever is told finds the new address, and a process that runs."""
    told: list[tuple[str, bool]] = []

    async def attach() -> None:
        told.append((part.address, part.child.running))

    part = await started(server, attach)
    await part.kill()
    await part.start()
    await part.stop()
    await part.start()
    assert told == [("address 2", True), ("address 3", True)]
    assert [child.running for child in server.children] == [False, False, True]


async def test_what_is_done_on_purpose_is_no_death(server: FakeServer) -> None:
    """Killed and stopped, it has not died; the process that was started last is watched, and its death is reported."""
    part = await started(server, AsyncMock())
    for operation in (part.kill, part.start, part.pause, part.stop, part.start):
        await operation()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(server.space.died(), 0.05)
    os.kill(part.child.pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        assert (await server.space.died()).message == "Part was killed by SIGKILL"


async def test_nothing_stays_of_a_start_that_its_front_did_not_learn_of(server: FakeServer) -> None:
    """The new process is stopped, which is no death, and the part can be started once more."""
    attach = AsyncMock(side_effect=[OSError("nobody there"), None])
    part = await started(server, attach)
    await part.kill()
    with pytest.raises(OSError, match="nobody there"):
        await part.start()
    assert [child.running for child in server.children] == [False, False]
    await part.start()
    assert [child.running for child in server.children] == [False, False, True]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(server.space.died(), 0.05)


async def test_cutting_it_off_is_left_to_its_front(server: FakeServer) -> None:
    """The front is told which part it is about."""
    front = AsyncMock()
    part = ProcessPart("postgres", server, await server.start(), space=server.space, front=front, attach=AsyncMock())
    await part.disconnect()
    await part.reconnect()
    assert front.mock_calls == [call.cut("postgres"), call.mend("postgres")]


def test_a_port_is_taken_again_unless_somebody_else_has_it() -> None:
    """Connections that ended there do not make it somebody else's; a server does."""
    with socket.create_server((LOOPBACK, 0)) as listening:
        port = listening.getsockname()[1]
        assert free_port(port) != port
        with socket.create_connection((LOOPBACK, port)), listening.accept()[0] as accepted:
            accepted.shutdown(socket.SHUT_RDWR)  # the side that ends a connection keeps the port for a minute
    assert free_port(port) == port
