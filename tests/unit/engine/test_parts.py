"""Which operation a part allows in which state."""

import asyncio
from collections.abc import Sequence

import pytest

from testbed.engine.base import Part
from testbed.engine.parts import StatefulPart
from testbed.errors import UsageError


class RecordingPart(StatefulPart):
    """Notes what the engine is asked to do; each step takes a turn of the event loop."""

    def __init__(self) -> None:
        super().__init__("postgres")
        self.done: list[str] = []
        self.failing = ""

    async def _note(self, what: str) -> None:
        self.done.append(f"{what} begins")
        await asyncio.sleep(0)
        if what == self.failing:
            raise OSError(what)
        self.done.append(f"{what} ends")

    async def _kill(self) -> None:
        await self._note("kill")

    async def _stop(self) -> None:
        await self._note("stop")

    async def _start(self) -> None:
        await self._note("start")

    async def _pause(self) -> None:
        await self._note("pause")

    async def _resume(self) -> None:
        await self._note("resume")

    async def _disconnect(self) -> None:
        await self._note("disconnect")

    async def _reconnect(self) -> None:
        await self._note("reconnect")


async def do(part: Part, operations: Sequence[str]) -> None:
    for operation in operations:
        await getattr(part, operation)()


@pytest.mark.parametrize(
    "operations",
    [
        "kill start stop start",
        "pause resume pause kill start",
        "pause stop start pause resume",
        "disconnect reconnect disconnect reconnect",
        "disconnect pause resume reconnect",
        "pause disconnect kill reconnect start",
        "disconnect stop reconnect start",
    ],
)
async def test_what_its_state_allows_is_done(operations: str) -> None:
    """Each operation reaches the engine, in this order."""
    part = RecordingPart()
    await do(part, operations.split())
    assert part.done[1::2] == [f"{operation} ends" for operation in operations.split()]


@pytest.mark.parametrize(
    ("before", "operation", "message"),
    [
        ("", "start", "Postgres cannot be started: it is running"),
        ("", "resume", "Postgres cannot be resumed: it is running"),
        ("", "reconnect", "Postgres cannot be reconnected: it is running"),
        ("pause", "pause", "Postgres cannot be paused: it is paused"),
        ("pause", "start", "Postgres cannot be started: it is paused"),
        ("kill", "kill", "Postgres cannot be killed: it is down"),
        ("stop", "stop", "Postgres cannot be stopped: it is down"),
        ("kill", "pause", "Postgres cannot be paused: it is down"),
        ("pause kill", "resume", "Postgres cannot be resumed: it is down"),
        ("kill", "disconnect", "Postgres cannot be disconnected: it is down"),
        ("disconnect", "disconnect", "Postgres cannot be disconnected: it is running and disconnected"),
        ("disconnect kill", "start", "Postgres cannot be started: it is down and disconnected"),
    ],
)
async def test_what_its_state_does_not_allow_is_refused(before: str, operation: str, message: str) -> None:
    """The message says what was wanted and what is; the engine is not asked, and the state stays."""
    part = RecordingPart()
    await do(part, before.split())
    found = (list(part.done), part.state, part.connected)
    with pytest.raises(UsageError) as caught:
        await do(part, [operation])
    assert caught.value.message == message
    assert (part.done, part.state, part.connected) == found


async def test_one_thing_is_done_after_the_other() -> None:
    """A start that is wanted while the part is being killed waits for it, and is allowed then."""
    part = RecordingPart()
    await asyncio.gather(part.kill(), part.start())
    assert part.done == ["kill begins", "kill ends", "start begins", "start ends"]


async def test_a_start_that_fails_may_be_tried_again() -> None:
    """The part is still down then."""
    part = RecordingPart()
    part.failing = "start"
    await part.kill()
    with pytest.raises(OSError, match="start"):
        await part.start()
    part.failing = ""
    await part.start()
    assert part.state == "running"
