"""A table of the architecture's database, straight at the server.

From second 10 to 13 nobody else reads or writes the table `orders`. A handler that tries to waits, or
times out.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from testbed import LockHeld

fault = LockHeld(table="orders", mode="ACCESS EXCLUSIVE", at=10, seconds=3)


class World:
    """A Postgres that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @asynccontextmanager
    async def connect(self, *, admin: bool) -> AsyncIterator[Any]:
        yield self

    async def execute(self, statement: Any) -> None:
        self.told.append(statement if isinstance(statement, str) else statement.as_string(None))

    async def close(self) -> None:
        self.told.append("closed")


async def what_happens() -> list[str]:
    world = World()
    async with fault.happening(world):
        world.told.append("...")
    return world.told


begin, patience, lock, *rest = asyncio.run(what_happens())
assert (begin, patience) == ("BEGIN", "SET LOCAL lock_timeout = 3000")
assert lock == 'LOCK TABLE "orders" IN ACCESS EXCLUSIVE MODE'
assert rest == ["...", "closed"]
