"""A gateway with everything around it for each test that asks for it."""

from collections.abc import AsyncIterator

import pytest_asyncio
from gateway_world import World, running_world


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    """A gateway on a real port."""
    async with running_world() as world:
        yield world
