"""Starts take turns by function."""

import asyncio

import pytest

from testbed.compute.turns import Turns


class Starts:
    """Starts that go on until they are told to end."""

    def __init__(self, at_once: int) -> None:
        self.turns = Turns(at_once)
        self.began: list[str] = []
        self.may_end = asyncio.Semaphore(0)

    async def start(self, function: str) -> None:
        """One start."""
        async with self.turns.of(function):
            self.began.append(function)
            await self.may_end.acquire()


async def settle() -> None:
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_function_does_not_wait_behind_the_crowd_of_another() -> None:
    """It comes after one of them, not after all; those of one function keep their order."""
    starts = Starts(1)
    names = ["front"] * 4 + ["consumer"] * 2
    tasks = [asyncio.create_task(starts.start(name)) for name in names]
    for _ in names:
        await settle()
        starts.may_end.release()
    await asyncio.gather(*tasks)
    assert starts.began == ["front", "front", "consumer", "front", "consumer", "front"]


@pytest.mark.parametrize("at_once", [1, 3])
async def test_no_more_than_so_many_at_once(at_once: int) -> None:
    """And as many as that, again and again."""
    starts = Starts(at_once)
    tasks = [asyncio.create_task(starts.start(f"f{number % 2}")) for number in range(7)]
    for ended in range(7):
        await settle()
        assert len(starts.began) == min(ended + at_once, 7)
        starts.may_end.release()
    await asyncio.gather(*tasks)


async def test_who_gives_up_leaves_the_turn_to_the_next() -> None:
    """Before it came, and at the very moment when it comes."""
    starts = Starts(1)
    first, second, third, fourth = (asyncio.create_task(starts.start(name)) for name in "abcd")
    await settle()
    second.cancel()
    starts.may_end.release()
    while not first.done():  # noqa: ASYNC110 - the very moment matters
        await asyncio.sleep(0)
    third.cancel()
    await settle()
    starts.may_end.release()
    await fourth
    assert starts.began[0] == "a"
    assert starts.began[-1] == "d"
    async with asyncio.timeout(1), starts.turns.of("e"):
        pass
