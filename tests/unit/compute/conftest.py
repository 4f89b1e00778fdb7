"""A compute plane over functions that live in memory, with a real fork server and AWS's real runtime client."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from deployed import Emulator, Journal, StartCompute, serving

from testbed.compute.invoke import Around, Compute, alone
from testbed.errors import EngineDiedError
from testbed.semantics.profiles import Profile


@pytest_asyncio.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """Functions in memory."""
    emulator = Emulator()
    async with serving(emulator):
        yield emulator


@pytest.fixture
def journal() -> Journal:
    """What the plane recorded."""
    return Journal()


@pytest_asyncio.fixture
async def start_compute(emulator: Emulator, journal: Journal, tmp_path: Path) -> AsyncIterator[StartCompute]:
    """Starts compute planes, and stops them at the end."""
    planes: list[Compute] = []

    async def start(
        *,
        on_death: Callable[[EngineDiedError], None] = lambda _: None,
        around_attempt: Around = alone,
        **sections: Any,
    ) -> Compute:
        plane = Compute(
            emulator,
            journal,
            sender=emulator,
            folder=tmp_path / f"plane{len(planes)}",
            gateway_url="http://127.0.0.1:9",
            run="unit-test",
            profile=Profile(**sections),
            on_death=on_death,
            around_attempt=around_attempt,
        )
        planes.append(plane)
        await plane.start()
        return plane

    yield start
    for plane in planes:
        await plane.stop()


@pytest_asyncio.fixture
async def compute(start_compute: StartCompute) -> Compute:
    """A compute plane."""
    return await start_compute()
