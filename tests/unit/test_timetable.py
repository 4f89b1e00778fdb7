"""When timed faults begin and end, what is written down of them, and what remains of one that is broken off."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from testbed.chaos.timed import TimedFault, World
from testbed.errors import HarnessError
from testbed.timetable import Timetable, TrialWorld


@dataclass(frozen=True, kw_only=True)
class Told(TimedFault):
    """Writes down that it was done and undone."""

    story: list[str] = field(default_factory=list)
    broken: bool = False

    @asynccontextmanager
    async def happening(self, world: World) -> AsyncIterator[None]:  # noqa: ARG002 - nothing of it is needed
        if self.broken:
            raise ConnectionError
        self.story.append("done")
        try:
            yield
        finally:
            await asyncio.sleep(0)
            self.story.append("undone")


def timetable(*faults: Told) -> tuple[Timetable, list[tuple[str, str]]]:
    """What lets them happen, and what it notes."""
    notes: list[tuple[str, str]] = []

    async def note(*, fault: str, event: str) -> None:
        notes.append((fault, event))
        faults[0].story.append(event)

    return Timetable(faults, SimpleNamespace(), note), notes  # type: ignore[arg-type]  # no fault needs a world


async def told(fault: Told, word: str) -> None:
    """Let it happen up to that word; the test's time limit ends a wait in vain."""
    while word not in fault.story:  # noqa: ASYNC110 - a story has no event
        await asyncio.sleep(0.001)


async def test_a_fault_begins_and_ends_at_its_times() -> None:
    """Noted when it has begun, and when it is undone."""
    fault = Told(name="f", at=0.05, seconds=0.1)
    table, notes = timetable(fault)
    zero = time.monotonic()
    table.start(time.monotonic())
    await told(fault, "began")
    assert time.monotonic() - zero >= 0.05
    await told(fault, "ended")
    assert time.monotonic() - zero >= 0.15
    assert fault.story == ["done", "began", "undone", "ended"]
    assert notes == [("f", "began"), ("f", "ended")]
    table.check()
    assert table.fired == {"f": 1}


async def test_one_that_still_lasts_is_undone_at_the_end() -> None:
    """And its end is noted as well."""
    fault = Told(name="f", at=0.0, seconds=60.0)
    table, _ = timetable(fault)
    table.start(time.monotonic())
    await told(fault, "began")
    await table.stop()
    assert fault.story == ["done", "began", "undone", "ended"]
    table.check()


async def test_one_whose_time_has_not_come_never_was() -> None:
    """Nothing is noted, and it has not fired."""
    fault = Told(name="f", at=60.0, seconds=1.0)
    table, notes = timetable(fault)
    table.start(time.monotonic())
    await asyncio.sleep(0)
    await table.stop()
    assert (fault.story, notes, table.fired) == ([], [], {"f": 0})
    table.check()


async def test_one_that_cannot_happen_is_an_error_of_the_harness() -> None:
    """The others happen all the same."""
    well, ill = Told(name="well", at=0.0, seconds=60.0), Told(name="ill", at=0.0, seconds=60.0, broken=True)
    table, notes = timetable(well, ill)
    table.start(time.monotonic())
    await told(well, "began")
    with pytest.raises(HarnessError, match="the fault ill could not happen: ConnectionError"):
        table.check()
    await table.stop()
    assert notes == [("well", "began"), ("well", "ended")]


async def test_what_undoes_a_call_comes_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that is broken off while it calls goes on when that call is over."""
    began, may_end = asyncio.Event(), asyncio.Event()
    done: list[str] = []
    loop = asyncio.get_running_loop()

    class Client:
        def put(self) -> dict[str, Any]:
            loop.call_soon_threadsafe(began.set)
            asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result()
            done.append("put")
            return {}

    monkeypatch.setattr("testbed.timetable.Aws", lambda _: SimpleNamespace(client=lambda _: Client()))
    world = TrialWorld(SimpleNamespace(engine=SimpleNamespace(localstack_url="")), "shop")  # type: ignore[arg-type]
    calling = asyncio.create_task(world.aws("lambda", "put"))
    await began.wait()
    calling.cancel()
    await asyncio.sleep(0.01)
    assert not calling.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert done == ["put"]
