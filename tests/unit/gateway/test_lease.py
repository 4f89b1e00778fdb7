"""The lease of a standing testbed: one run at a time, and none for ever."""

import asyncio
from dataclasses import dataclass, field

import pytest

from testbed.gateway.inventory import Known
from testbed.gateway.lease import LEASE_SECONDS, Lease


@dataclass
class World:
    """What the lease looks after, as a list of what was done to it."""

    now: float = 100.0
    done: list[object] = field(default_factory=list)
    deployed: list[str] = field(default_factory=lambda: ["mine"])
    left: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lease = Lease(lambda: self, self.end, lambda: self.now)

    def take(self) -> Known:
        return {"queue": list(self.deployed)}

    def remove_others(self, known: Known) -> list[str]:
        self.done.append(("removed others than", known["queue"]))
        return self.left

    async def end(self) -> None:
        self.done.append("ended")


@pytest.fixture
def world() -> World:
    """Nobody uses it."""
    return World()


async def test_a_run_is_told_what_is_there(world: World) -> None:
    """So that it does not take that for its own."""
    assert await world.lease.take("a") == {"queue": ["mine"]}
    assert world.done == []


async def test_a_second_run_is_refused_while_the_first_is_heard_of(world: World) -> None:
    """However long the first one takes; the refusal does it no harm."""
    await world.lease.take("a")
    for _ in range(5):
        world.now += LEASE_SECONDS - 1
        assert world.lease.renew("a")
        assert await world.lease.take("b") is None
    await world.lease.expire()
    assert world.done == []


async def test_giving_back_ends_the_test_and_removes_what_is_new(world: World) -> None:
    """In this order, and says what could not be removed; then the next run may come."""
    await world.lease.take("a")
    world.left = ["queue x: no"]
    assert await world.lease.give_back("a") == ["queue x: no"]
    assert world.done == ["ended", ("removed others than", ["mine"])]
    assert not world.lease.renew("a")
    assert await world.lease.take("b") is not None


async def test_only_the_holder_can_give_back(world: World) -> None:
    """A run that has lost its lease must not take it from its successor."""
    await world.lease.take("a")
    assert await world.lease.give_back("b") == []
    assert world.lease.renew("a")
    assert world.done == []


async def test_a_run_that_was_killed_is_cleaned_up_after(world: World) -> None:
    """Once it was not heard of for long enough, and not before; then it holds nothing any more."""
    await world.lease.take("a")
    world.now += LEASE_SECONDS - 0.1
    await world.lease.expire()
    assert world.done == []
    world.now += 0.1
    await world.lease.expire()
    assert world.done == ["ended", ("removed others than", ["mine"])]
    assert not world.lease.renew("a")
    await world.lease.expire()
    assert len(world.done) == 2


async def test_the_next_run_need_not_wait_for_the_clean_up_to_be_noticed(world: World) -> None:
    """It cleans up itself, and only then looks at what is there."""
    await world.lease.take("a")
    world.deployed.append("of a")
    world.now += LEASE_SECONDS
    world.deployed.remove("of a")
    assert await world.lease.take("b") == {"queue": ["mine"]}
    assert world.done == ["ended", ("removed others than", ["mine"])]
    assert not world.lease.renew("a")
    assert world.lease.renew("b")


async def test_who_asks_at_the_same_time_gets_it_one_after_the_other(world: World) -> None:
    """One of them has it, the other one is refused."""
    first, second = await asyncio.gather(world.lease.take("a"), world.lease.take("b"))
    assert (first is None) != (second is None)
