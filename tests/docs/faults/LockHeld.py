"""A table of the architecture's database, straight at the server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from testbed import LockHeld

fault = LockHeld(table="orders", mode="ACCESS EXCLUSIVE", at=10, seconds=3)


class World:
    """A Postgres that writes down what it is told."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @asynccontextmanager
    async def connect(self, *, admin: bool) -> AsyncIterator[Any]:
        yield self

    def transaction(self) -> AbstractAsyncContextManager[None]:
        return self._transaction()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        self.log.append("BEGIN")
        yield
        self.log.append("COMMIT")

    async def execute(self, statement: Any) -> None:
        self.log.append(statement.as_string(None))


async def what_happens() -> list[str]:
    world = World()
    async with fault.happening(world):
        world.log.append("...")
    return world.log


assert asyncio.run(what_happens()) == ["BEGIN", 'LOCK TABLE "orders" IN ACCESS EXCLUSIVE MODE', "...", "COMMIT"]
