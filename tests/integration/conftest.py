"""One running testbed for all integration tests that need no other one."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from testbed.running import RunningTestbed, running_testbed

_T = TypeVar("_T")
RunOnLoop = Callable[[Coroutine[Any, Any, _T]], _T]


class JournalReader:
    """What the plane records while a test runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self, hop: str, **fields: object) -> list[dict[str, Any]]:
        """The lines of ``hop`` written so far whose ``fields`` are as given."""
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if line["hop"] == hop and fields.items() <= line.items()]

    def wait_for(self, hop: str, *, count: int = 1, **fields: object) -> list[dict[str, Any]]:
        """Those lines, as soon as there are ``count`` of them; the plane flushes four times a second."""
        wait_until(lambda: len(self.lines(hop, **fields)) >= count, f"{count} lines of hop {hop!r} with {fields}")
        return self.lines(hop, **fields)


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = 20.0) -> None:
    """Look every 50 ms until ``condition`` holds; fail with ``what`` when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.05)


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


@pytest.fixture
def journal(bed: RunningTestbed, run_on_loop: RunOnLoop[Any], tmp_path: Path) -> JournalReader:
    """Records, without faults, from here to the test's end."""
    path = tmp_path / "journal.jsonl"
    run_on_loop(
        bed.plane.call("begin", architecture="test", seed=0, faults=[], journal=str(path), zero=time.monotonic())
    )
    return JournalReader(path)
