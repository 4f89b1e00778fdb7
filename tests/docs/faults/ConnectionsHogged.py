"""The connections of the database, straight at the server.

At second 10 somebody takes all free connections but two, and gives them back at second 15.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from testbed import ConnectionsHogged

fault = ConnectionsHogged(left=2, at=10, seconds=5)


class World:
    """A Postgres that takes 17 connections of ordinary users."""

    free = 17

    def connect(self, *, admin: bool) -> AbstractAsyncContextManager[Any]:
        return self._connect(admin=admin)

    @asynccontextmanager
    async def _connect(self, *, admin: bool) -> AsyncIterator[Any]:
        self.free -= not admin
        yield self
        self.free += not admin

    async def execute(self, sql: str) -> "World":
        return self

    async def fetchone(self) -> tuple[int]:
        return (self.free,)


async def what_happens() -> list[int]:
    world = World()
    async with fault.happening(world):
        meanwhile = world.free
    return [meanwhile, world.free]


assert asyncio.run(what_happens()) == [2, 17]
