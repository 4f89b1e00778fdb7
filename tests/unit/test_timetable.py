"""When timed faults begin and end, what is written down of them, and what remains of one that is broken off."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from testbed.chaos.faults.database_busy import LockHeld
from testbed.chaos.faults.part_down import PartDown
from testbed.chaos.timed import TimedFault, World, to_its_end
from testbed.errors import HarnessError, UsageError
from testbed.timetable import Timetable, TrialWorld


@dataclass(frozen=True, kw_only=True)
class Told(TimedFault):
    """Writes down that it was done and undone.

    Attributes:
        story: Where.
        broken: Whether it cannot happen.
        idle: Whether it makes no difference.
        slow: Whether it takes forever to begin.
        undoing: What its end waits for.
    """

    story: list[str] = field(default_factory=list)
    broken: bool = False
    idle: bool = False
    slow: bool = False
    undoing: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Its fields are a test's."""

    @asynccontextmanager
    async def happening(self, world: World) -> AsyncIterator[bool]:  # noqa: ARG002 - nothing of it is needed
        if self.broken:
            raise ConnectionError
        self.story.append("done")
        try:
            if self.slow:
                await asyncio.Event().wait()
            yield not self.idle
        finally:
            self.story.append("undoing")
            await self.undoing.wait()
            self.story.append("undone")


def told_once(**fields: Any) -> Told:
    """One whose end waits for nothing."""
    fault = Told(**fields)
    fault.undoing.set()
    return fault


def timetable(*faults: TimedFault, world: Any = None) -> tuple[Timetable, list[tuple[str, str]]]:
    """What lets them happen, and what it notes."""
    notes: list[tuple[str, str]] = []

    async def note(*, fault: str, event: str) -> None:
        notes.append((fault, event))
        if isinstance(faults[0], Told):
            faults[0].story.append(event)

    return Timetable(faults, world, note), notes


async def told(fault: Told, word: str) -> None:
    """Let it happen up to that word; the test's time limit ends a wait in vain."""
    while word not in fault.story:  # noqa: ASYNC110 - a story has no event
        await asyncio.sleep(0.001)


async def test_a_fault_begins_and_ends_at_its_times() -> None:
    """Noted when it has begun, and when it is undone."""
    fault = told_once(name="f", at=0.05, seconds=0.1)
    table, notes = timetable(fault)
    zero = time.monotonic()
    table.start(time.monotonic())
    await told(fault, "began")
    assert time.monotonic() - zero >= 0.05
    await told(fault, "ended")
    assert time.monotonic() - zero >= 0.15
    assert fault.story == ["done", "began", "undoing", "undone", "ended"]
    assert notes == [("f", "began"), ("f", "ended")]
    table.check()
    assert table.fired == {"f": 1}


async def test_one_that_still_lasts_is_undone_at_the_end() -> None:
    """And its end is noted as well."""
    fault = told_once(name="f", at=0.0, seconds=60.0)
    table, _ = timetable(fault)
    table.start(time.monotonic())
    await told(fault, "began")
    await table.stop()
    assert fault.story == ["done", "began", "undoing", "undone", "ended"]
    table.check()


async def test_one_whose_time_has_not_come_never_was() -> None:
    """Nothing is noted, and it has not fired."""
    fault = told_once(name="f", at=60.0, seconds=1.0)
    table, notes = timetable(fault)
    table.start(time.monotonic())
    await asyncio.sleep(0)
    await table.stop()
    assert (fault.story, notes, table.fired) == ([], [], {"f": 0})
    table.check()


async def test_one_that_cannot_happen_is_an_error_of_the_harness() -> None:
    """The others happen all the same."""
    well, ill = told_once(name="well", at=0.0, seconds=60.0), told_once(name="ill", at=0.0, seconds=60.0, broken=True)
    table, notes = timetable(well, ill)
    table.start(time.monotonic())
    await told(well, "began")
    with pytest.raises(HarnessError, match="the fault ill could not happen: ConnectionError"):
        table.check()
    await table.stop()
    assert notes == [("well", "began"), ("well", "ended")]


class Without:
    """A world whose Postgres lacks what it is asked for.

    Args:
        error: What it says.
    """

    def __init__(self, error: psycopg.Error) -> None:
        self.error = error

    @asynccontextmanager
    async def connect(self, *, admin: bool) -> AsyncIterator[Any]:
        assert admin

        async def execute(statement: object) -> None:
            if not isinstance(statement, str):
                raise self.error

        async def close() -> None:
            pass

        yield SimpleNamespace(execute=execute, close=close)


@pytest.mark.parametrize(
    "error",
    [psycopg.errors.UndefinedTable('relation "typo" does not exist'), psycopg.errors.InvalidSchemaName("no typo")],
)
async def test_a_table_that_is_not_there_is_a_mistake_of_the_user(error: psycopg.Error) -> None:
    """The message names the fault and the table."""
    table, _ = timetable(LockHeld(name="f", at=0.0, seconds=60.0, table="typo"), world=Without(error))
    table.start(time.monotonic())
    await asyncio.sleep(0.05)
    await table.stop()
    with pytest.raises(UsageError, match=r"LockHeld 'f': .*typo"):
        table.check()


async def test_what_goes_while_a_fault_lasts_is_no_mistake_of_the_user() -> None:
    """It was there when the fault began: the error is the harness's."""

    @dataclass(frozen=True, kw_only=True)
    class Undone(Told):
        @asynccontextmanager
        async def happening(self, world: World) -> AsyncIterator[bool]:  # noqa: ARG002 - nothing of it is needed
            yield True
            raise psycopg.errors.UndefinedTable("gone")

    table, _ = timetable(Undone(name="f", at=0.0, seconds=0.01))
    table.start(time.monotonic())
    await asyncio.sleep(0.05)
    await table.stop()
    with pytest.raises(HarnessError, match="the fault f could not happen: UndefinedTable"):
        table.check()


async def test_one_that_makes_no_difference_has_not_fired() -> None:
    """Nor is it noted; what it did is undone at once."""
    fault = told_once(name="f", at=0.0, seconds=60.0, idle=True)
    table, notes = timetable(fault)
    table.start(time.monotonic())
    await told(fault, "undone")
    await table.stop()
    assert (notes, table.fired) == ([], {"f": 0})
    table.check()


@pytest.mark.parametrize("slow", [True, False], ids=["while it begins", "once it has begun"])
async def test_its_end_is_not_broken_off(*, slow: bool) -> None:
    """However often somebody asks for it, and gives up waiting; it is undone once."""
    fault = Told(name="f", at=0.0, seconds=60.0, slow=slow)
    table, _ = timetable(fault)
    table.start(time.monotonic())
    await told(fault, "done" if slow else "began")
    for _ in range(2):
        stopping = asyncio.create_task(table.stop())
        await told(fault, "undoing")
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
    fault.undoing.set()
    await table.stop()
    assert [word for word in fault.story if "undo" in word] == ["undoing", "undone"]
    table.check()


async def test_one_that_ends_by_itself_is_not_broken_off_either() -> None:
    """The run may end in the middle of that."""
    fault = Told(name="f", at=0.0, seconds=0.01)
    table, _ = timetable(fault)
    table.start(time.monotonic())
    await told(fault, "undoing")
    stopping = asyncio.create_task(table.stop())
    await asyncio.sleep(0.01)
    assert not stopping.done()
    fault.undoing.set()
    await stopping
    assert fault.story == ["done", "began", "undoing", "undone", "ended"]


class Slow:
    """A part that takes its time, and knows in what state it is, as those of engines do.

    Attributes:
        done: What was done to it.
        began: Set when something begins.
        may_end: What that waits for.
        broken: Whether nothing can be done.
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self.began, self.may_end = asyncio.Event(), asyncio.Event()
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        async def act() -> None:
            self.began.set()
            await self.may_end.wait()
            if self.broken:
                raise ConnectionError
            self.done.append(name)

        return act


PART_DOWN = [("kill", "start"), ("pause", "resume"), ("disconnect", "reconnect")]


@pytest.mark.parametrize(("action", "undo"), PART_DOWN)
async def test_a_part_comes_back_where_the_end_comes_while_it_goes(action: Any, undo: str) -> None:
    """It is gone first, and then comes back."""
    part = Slow()
    fault = PartDown(name="f", at=0.0, seconds=60.0, part="postgres", action=action)
    table, _ = timetable(fault, world=SimpleNamespace(part=lambda _: part))
    table.start(time.monotonic())
    await part.began.wait()
    stopping = asyncio.create_task(table.stop())
    await asyncio.sleep(0)
    part.may_end.set()
    await stopping
    assert (part.done, table.fired) == ([action, undo], {"f": 0})
    table.check()


async def test_a_part_that_does_not_go_does_not_come_back() -> None:
    """It may be another fault that has taken it; the error is told."""
    part = Slow()
    part.broken = True
    part.may_end.set()
    fault = PartDown(name="f", at=0.0, seconds=60.0, part="postgres")
    table, _ = timetable(fault, world=SimpleNamespace(part=lambda _: part))
    table.start(time.monotonic())
    await part.began.wait()
    await table.stop()
    assert part.done == []
    with pytest.raises(HarnessError, match="the fault f could not happen: ConnectionError"):
        table.check()


async def test_an_error_is_told_though_nobody_wants_to_go_on() -> None:
    """It is what somebody has to know; and a second cancellation changes nothing."""
    may_end = asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        raise ConnectionError

    waiting = asyncio.create_task(to_its_end(work()))
    for _ in range(2):
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0.01)
    assert not waiting.done()
    may_end.set()
    with pytest.raises(ConnectionError):
        await waiting


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


async def test_the_database_is_that_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a testbed that stands it has a name of the run's own."""
    asked: list[str] = []

    async def connect(dsn: str, *, autocommit: bool) -> Any:
        assert autocommit
        asked.append(dsn)
        raise ConnectionError

    monkeypatch.setattr("psycopg.AsyncConnection.connect", connect)
    postgres = SimpleNamespace(admin="postgres", dsn=lambda database, user="app": f"{user}@{database}")
    bed = SimpleNamespace(engine=SimpleNamespace(postgres=postgres), database_name=lambda name: f"run_{name}")
    world = TrialWorld(bed, "shop")  # type: ignore[arg-type]  # as much of one as it needs
    for admin in (True, False):
        with pytest.raises(ConnectionError):
            async with world.connect(admin=admin):
                pass
    assert asked == ["postgres@run_shop", "app@run_shop"]
