"""A gateway with everything around it, or a proxy before a real Postgres, for each test that asks for it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from gateway_world import World, running_world
from postgres_server import Server
from proxied import Harness, empty_orders, running, tasks_left


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    """A gateway on a real port."""
    async with running_world() as world:
        yield world


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def harness(request: pytest.FixtureRequest, postgres_server: Server) -> Iterator[Harness]:
    """A running proxy in front of the real Postgres with an empty table; afterwards no session may be left."""
    empty_orders(postgres_server)
    with running(request.param()) as loop:
        broken: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: broken.append(context))
        harness = Harness(postgres_server, loop)
        yield harness
        harness.run(harness.proxy.stop())
        assert harness.proxy.open_sessions == 0
        assert harness.run(tasks_left()) == set()
        assert broken == []
