"""Concurrency and mappings that are taken away for a while, and given back whatever happens."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from testbed import Architecture, Aws, Constant, Db, Deployment, Scenario, Traffic
from testbed.chaos import fis, incidents
from testbed.chaos.catalogue import faults_from_json, to_json
from testbed.chaos.fault import Fault
from testbed.chaos.faults.database_busy import ConnectionsHogged, LockHeld
from testbed.chaos.faults.part_down import PartDown
from testbed.chaos.faults.taken_away import ConcurrencyTaken, MappingOff
from testbed.chaos.timed import Part, TimedFault, check_apart
from testbed.errors import UsageError
from testbed.timetable import Timetable

CONCURRENCY = ConcurrencyTaken(name="c", at=1.0, seconds=2.0, function="orders", left=3)
MAPPING = MappingOff(name="m", at=1.0, seconds=2.0, function="orders")


class Lambda:
    """Functions and mappings as boto3 tells of them.

    Attributes:
        reserved: The reserved concurrency of ``orders``; None for none.
        mappings: State of each mapping.
        done: Every change, in order.
        refused: Changes of mappings that fail: by uuid, and what they ask for.
        hangs: Whether the next change of the concurrency, or of a mapping, takes forever once it is made.
    """

    def __init__(self) -> None:
        self.reserved: int | None = None
        self.mappings = {"one": "Enabled", "two": "Enabled"}
        self.done: list[tuple[Any, ...]] = []
        self.refused: set[tuple[str, bool]] = set()
        self.hangs = False

    def part(self, name: str) -> Part:
        """None of these faults needs one."""
        raise AssertionError(name)

    def connect(self, *, admin: bool) -> AbstractAsyncContextManager[Any]:
        """The same."""
        raise AssertionError(admin)

    async def aws(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Do what is asked."""
        assert service == "lambda"
        answer: dict[str, Any] | None = await getattr(self, operation)(**parameters)
        if self.hangs and operation in {"put_function_concurrency", "update_event_source_mapping"}:
            self.hangs = False
            await asyncio.Event().wait()
        return answer or {}

    async def get_function_concurrency(self, FunctionName: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        await asyncio.sleep(0.01)
        if FunctionName != "orders":
            raise ClientError(
                {"Error": {"Code": "ResourceNotFoundException", "Message": f"Function not found: {FunctionName}"}},
                "GetFunctionConcurrency",
            )
        return {} if self.reserved is None else {"ReservedConcurrentExecutions": self.reserved}

    async def put_function_concurrency(self, FunctionName: str, ReservedConcurrentExecutions: int) -> None:  # noqa: N803
        assert FunctionName == "orders"
        self.reserved = ReservedConcurrentExecutions
        self.done.append((self.reserved,))

    async def delete_function_concurrency(self, FunctionName: str) -> None:  # noqa: N803 - boto3's
        await asyncio.sleep(0.05)
        assert FunctionName == "orders"
        self.reserved = None
        self.done.append((None,))

    async def list_event_source_mappings(self, FunctionName: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        assert FunctionName == "orders"
        return {"EventSourceMappings": [{"UUID": uuid} for uuid in self.mappings]}

    async def get_event_source_mapping(self, UUID: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        """One that is on its way arrives with the second look."""
        state = self.mappings[UUID]
        self.mappings[UUID] = {"Creating": "Enabled", "Enabling": "Enabled", "Disabling": "Disabled"}.get(state, state)
        return {"UUID": UUID, "State": state}

    async def update_event_source_mapping(self, UUID: str, Enabled: bool) -> None:  # noqa: N803 - boto3's
        assert self.mappings[UUID] in {"Enabled", "Disabled"}, "ResourceInUseException"
        if (UUID, Enabled) in self.refused:
            raise ConnectionError(UUID)
        self.mappings[UUID] = "Enabling" if Enabled else "Disabling"
        self.done.append((UUID, Enabled))

    def on(self) -> set[str]:
        """The mappings that are enabled, or about to be."""
        return {uuid for uuid, state in self.mappings.items() if state in {"Enabled", "Enabling"}}


@pytest.fixture
def world() -> Lambda:
    """A function with two mappings."""
    return Lambda()


@pytest.mark.parametrize("reserved", [None, 4, 50])
async def test_concurrency_is_taken_and_given_back(world: Lambda, reserved: int | None) -> None:
    """What it was before; a function without a reservation has none again."""
    world.reserved = reserved
    async with CONCURRENCY.happening(world) as happens:
        assert (world.reserved, happens) == (3, True)
    assert world.reserved == reserved
    assert len(world.done) == 2


@pytest.mark.parametrize("reserved", [0, 3])
async def test_concurrency_is_never_given(world: Lambda, reserved: int) -> None:
    """Who has no more than what would be left keeps it."""
    world.reserved = reserved
    async with CONCURRENCY.happening(world) as happens:
        assert (world.reserved, happens) == (reserved, False)
    assert world.done == []


async def test_mappings_are_switched_off_and_on(world: Lambda) -> None:
    """All that are enabled, also one that is just being created; one that was off before stays off."""
    world.mappings = {"one": "Enabled", "new": "Creating", "off": "Disabled"}
    async with MAPPING.happening(world) as happens:
        assert (world.on(), happens) == (set(), True)
        assert world.done == [("one", False), ("new", False)]
    assert world.on() == {"one", "new"}
    assert world.done[2:] == [("new", True), ("one", True)]


@pytest.mark.parametrize("mappings", [{}, {"one": "Disabled"}])
async def test_where_nothing_can_be_switched_off_the_fault_says_so(world: Lambda, mappings: dict[str, str]) -> None:
    """It would not act, and nobody would know."""
    world.mappings = mappings
    with pytest.raises(UsageError, match="no event source mapping that is enabled"):
        async with MAPPING.happening(world):
            pass


@pytest.mark.parametrize("fault", [CONCURRENCY, MAPPING])
async def test_an_error_or_an_end_in_between_undoes_it(world: Lambda, fault: TimedFault) -> None:
    """The error goes on its way."""
    before = (world.reserved, world.on())

    async def happen() -> None:
        async with fault.happening(world):
            assert (world.reserved, world.on()) != before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await happen()
    assert (world.reserved, world.on()) == before


@pytest.mark.parametrize("fault", [CONCURRENCY, MAPPING])
async def test_an_end_while_it_begins_undoes_it(world: Lambda, fault: TimedFault) -> None:
    """What was asked for may have been done, though nobody has seen the answer."""
    before = (world.reserved, world.on())
    world.hangs = True

    async def happen() -> None:
        async with fault.happening(world):
            raise AssertionError

    task = asyncio.create_task(happen())
    while not world.done:  # noqa: ASYNC110 - the list of a fake has no event
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(world.done) == 2
    assert (world.reserved, world.on()) == before


async def test_one_mapping_that_cannot_be_switched_keeps_no_other_from_it(world: Lambda) -> None:
    """At the begin what was done is undone, at the end the others are undone; the error is told."""
    world.refused = {("two", False)}
    with pytest.raises(ConnectionError, match="two"):
        async with MAPPING.happening(world):
            raise AssertionError
    assert world.on() == {"one", "two"}
    world.refused = {("two", True)}
    with pytest.raises(ConnectionError, match="two"):
        async with MAPPING.happening(world):
            pass
    assert world.on() == {"one"}


def test_less_than_nothing_cannot_be_left() -> None:
    """The message names the fault."""
    with pytest.raises(UsageError, match="'c': left=-1 is negative"):
        ConcurrencyTaken(name="c", at=0, seconds=1, function="orders", left=-1)


async def test_what_one_puts_back_the_next_takes_away_again(world: Lambda) -> None:
    """One that begins as the other ends waits until it is undone: in the end all is as it was."""
    first = replace(CONCURRENCY, name="first", at=0.0, seconds=0.1, left=5)
    table = timetable(world, first, replace(first, name="second", at=0.1, left=0))
    table.start(time.monotonic())
    while len(world.done) < 4:  # noqa: ASYNC110 - the list of a fake has no event
        await asyncio.sleep(0.001)
    await table.stop()
    table.check()
    assert (world.done, table.fired) == ([(5,), (None,), (0,), (None,)], {"first": 1, "second": 1})


async def test_a_function_that_is_not_there_is_a_mistake_of_the_user(world: Lambda) -> None:
    """The message names the fault and the function."""
    table = timetable(world, replace(CONCURRENCY, at=0.0, function="typo"))
    table.start(time.monotonic())
    await asyncio.sleep(0.05)
    await table.stop()
    with pytest.raises(UsageError, match="ConcurrencyTaken 'c': Function not found: typo"):
        table.check()


def timetable(world: Any, *faults: TimedFault) -> Timetable:
    """What lets them happen."""

    async def note(**event: str) -> None:
        del event

    return Timetable(faults, world, note)


PART = PartDown(name="p", at=1.0, seconds=2.0, part="postgres")
LOCK = LockHeld(name="l", at=1.0, seconds=2.0, table="orders")
HOGGED = ConnectionsHogged(name="h", at=1.0, seconds=2.0)
BOTH_DOWN = {
    "actions": {"p": {"actionId": "aws:rds:failover-db-cluster"}, "q": {"actionId": "aws:rds:reboot-db-instances"}}
}


@pytest.mark.parametrize("fault", [CONCURRENCY, MAPPING, PART, LOCK])
@pytest.mark.parametrize("at", [0.0, 1.0, 2.5])
def test_two_that_take_the_same_thing_may_not_overlap(fault: TimedFault, at: float) -> None:
    """Each would undo what the other does; in whatever order they are listed."""
    other = replace(fault, name="other", at=at)
    for faults in ([fault, other], [other, fault]):
        with pytest.raises(UsageError, match=r"begins at .* while .* acts on (orders|postgres) until") as refused:
            check_apart(faults)
        assert all(repr(each.name) in refused.value.message for each in faults)


@pytest.mark.parametrize(
    "faults",
    [
        [CONCURRENCY, MAPPING, LOCK, PART],
        [CONCURRENCY, replace(CONCURRENCY, name="other", function="another")],
        [CONCURRENCY, replace(CONCURRENCY, name="next", at=3.0)],
        [replace(CONCURRENCY, name="next", at=3.0), CONCURRENCY],
        [PART, replace(PART, name="emulator", part="localstack")],
        [HOGGED, replace(HOGGED, name="more", at=2.0)],
        [*incidents.connection_exhaustion((1, 4)), *incidents.database_brown_out((1, 4))],
        [replace(LOCK, at=0.1, seconds=0.2), replace(LOCK, name="next", at=0.3)],
        [replace(LOCK, at=0.0, seconds=0.7 * 0.1), replace(LOCK, name="next", at=0.07)],
    ],
)
def test_those_that_do_not_meet_are_left_alone(faults: list[Fault]) -> None:
    """Other kinds, other things, other times, however these were rounded; and connections that are each fault's own."""
    check_apart(faults)


@pytest.mark.parametrize(
    "faults",
    [
        [CONCURRENCY, replace(CONCURRENCY, name="again")],
        faults_from_json(to_json([MAPPING, replace(MAPPING, name="again")])),
        fis.faults(BOTH_DOWN),
    ],
    ids=["python", "json", "fis"],
)
def test_a_scenario_with_two_that_overlap_is_refused_at_once(faults: Sequence[Fault]) -> None:
    """Wherever they come from, and whether they are its own or with an architecture's, or take the place of others."""
    traffic = Traffic(arrivals=Constant(rate=1, seconds=9), order=lambda order_id, _: {"id": order_id})
    bare = Architecture(name="a", summary="", deploy=no_deploy, expectations=[])
    scenario = Scenario(name="s", summary="", traffic=traffic, architectures=[bare], chaos=faults[:1])
    scenario.scaled(0.3)
    with pytest.raises(UsageError, match="acts on"):
        replace(scenario, architectures=[replace(bare, chaos=faults[1:])])
    with pytest.raises(UsageError, match="acts on"):
        scenario.under(faults)


def no_deploy(aws: Aws, db: Db) -> Deployment:
    """Nothing is deployed."""
    raise NotImplementedError
