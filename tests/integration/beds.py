"""A running testbed for tests that are not asynchronous themselves."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from testbed.running import RunningTestbed, running_testbed

_T = TypeVar("_T")
RunOnLoop = Callable[[Coroutine[Any, Any, _T]], _T]


@contextmanager
def loop_in_background() -> Iterator[RunOnLoop[Any]]:
    """Runs coroutines on an event loop in a background thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="testbed of the tests", daemon=True)
    thread.start()
    yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@contextmanager
def kept_up(
    run_on_loop: RunOnLoop[Any], mode: str, logs: Path, *, max_connections: int = 20
) -> Iterator[RunningTestbed]:
    """A testbed that is up until the body ends."""
    started: asyncio.Queue[RunningTestbed] = asyncio.Queue()
    enough = asyncio.Event()

    async def keep_up() -> None:
        async with running_testbed(max_connections=max_connections, logs=logs, engine=mode) as running:
            started.put_nowait(running)
            await enough.wait()

    async def start() -> tuple["asyncio.Task[None]", RunningTestbed]:
        keeping, first = asyncio.create_task(keep_up()), asyncio.create_task(started.get())
        await asyncio.wait([keeping, first], return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():
            first.cancel()
            keeping.result()
        return keeping, await first

    async def stop(keeping: "asyncio.Task[None]") -> None:
        enough.set()
        await keeping

    keeping, running = run_on_loop(start())
    try:
        yield running
    finally:
        run_on_loop(stop(keeping))
