"""A real Postgres, once for all tests that ask for it, and a gateway with everything around it for each."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from gateway_world import World, running_world
from postgres_server import Server, postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """Postgres with 8 connections, 5 of them for ordinary users."""
    with postgres(max_connections=8) as server:
        yield server


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    """A gateway on a real port."""
    async with running_world() as world:
        yield world
