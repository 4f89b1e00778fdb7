"""Concurrency and mappings that are taken away for a while, and given back whatever happens."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from testbed.chaos.faults.taken_away import ConcurrencyTaken, MappingOff
from testbed.chaos.timed import Part, TimedFault
from testbed.errors import UsageError

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
        assert FunctionName == "orders"
        return {} if self.reserved is None else {"ReservedConcurrentExecutions": self.reserved}

    async def put_function_concurrency(self, FunctionName: str, ReservedConcurrentExecutions: int) -> None:  # noqa: N803
        assert FunctionName == "orders"
        self.reserved = ReservedConcurrentExecutions
        self.done.append((self.reserved,))

    async def delete_function_concurrency(self, FunctionName: str) -> None:  # noqa: N803 - boto3's
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
