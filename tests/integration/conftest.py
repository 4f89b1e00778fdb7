"""One running testbed for all integration tests that need no other one."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from observing import JournalReader, RecordingFunction, deploy_recording_function

from testbed.running import RunningTestbed, running_testbed

_T = TypeVar("_T")
RunOnLoop = Callable[[Coroutine[Any, Any, _T]], _T]


@pytest.fixture(scope="session")
def run_on_loop() -> Iterator[RunOnLoop[Any]]:
    """Runs a coroutine on the event loop, in a background thread, that drives the session's testbed."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="testbed of the session", daemon=True)
    thread.start()
    yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="session")
def bed(run_on_loop: RunOnLoop[Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTestbed]:
    """Engine and data plane, shared by the session; deploy under names of your own."""
    started: asyncio.Queue[RunningTestbed] = asyncio.Queue()
    enough = asyncio.Event()

    async def keep_up() -> None:
        async with running_testbed(max_connections=20, logs=tmp_path_factory.mktemp("logs")) as running:
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
    yield running
    run_on_loop(stop(keeping))


@pytest.fixture(scope="session")
def record_journal(bed: RunningTestbed, run_on_loop: RunOnLoop[Any]) -> Callable[[Path], JournalReader]:
    """Starts to record into a file, without faults, until the next one is started."""

    def start(path: Path) -> JournalReader:
        order = {"architecture": "test", "seed": 0, "faults": [], "journal": str(path), "zero": time.monotonic()}
        run_on_loop(bed.plane.call("begin", **order))
        return JournalReader(path)

    return start


@pytest.fixture
def journal(record_journal: Callable[[Path], JournalReader], tmp_path: Path) -> JournalReader:
    """What the plane records from here to the end of the test."""
    return record_journal(tmp_path / "journal.jsonl")


@pytest.fixture
def recording_function(bed: RunningTestbed, tmp_path: Path) -> Callable[..., RecordingFunction]:
    """Deploys a function that records its events and then does what the given body says."""

    def deploy_it(body: str = "return 'done'", **options: Any) -> RecordingFunction:
        return deploy_recording_function(bed.aws, tmp_path, body, **options)

    return deploy_it
