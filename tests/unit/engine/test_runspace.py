"""The processes of a run, and that they end with it."""

import asyncio
import fcntl
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import pytest

from testbed.engine import Child, RunSpace, guard
from testbed.errors import HarnessError

FOREVER = "import threading; print('up', flush=True); threading.Event().wait()"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def names(folder: Path) -> set[str]:
    """What is in a folder."""
    return {entry.name for entry in folder.iterdir()}


def run(space: RunSpace, program: str, name: str = "Part") -> Child:
    return space.spawn(
        [sys.executable, "-c", program], name=name, env={"PATH": os.defpath}, log=space.folder / f"{name}.log"
    )


async def test_a_death_has_name_status_and_log() -> None:
    """The first watched process that ends by itself is reported with how it ended and what it said."""
    async with RunSpace() as space:
        space.watch(run(space, FOREVER, "Other"))
        space.watch(run(space, "print('why'); raise SystemExit(3)"))
        death = await space.died()
    assert (death.part, death.message, death.log_tail) == ("Part", "Part ended with exit code 3", "why")


async def test_a_stopped_process_has_not_died() -> None:
    """What was stopped on purpose is not reported, what dies afterwards is."""
    async with RunSpace() as space:
        stopped, killed = run(space, FOREVER, "Stopped"), run(space, FOREVER, "Killed")
        space.watch(stopped)
        space.watch(killed)
        await stopped.stop()
        os.kill(killed.pid, signal.SIGKILL)
        assert (await space.died()).message == "Killed was killed by SIGKILL"


async def test_a_process_that_ignores_its_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping does not wait for ever for a process that does not want to end."""
    monkeypatch.setattr("testbed.engine.runspace._STOP_SECONDS", 0.01)
    stubborn = "import signal; signal.signal(signal.SIGQUIT, signal.SIG_IGN); " + FOREVER
    async with RunSpace() as space:
        child = space.spawn(
            [sys.executable, "-c", stubborn],
            name="Part",
            env={},
            log=space.folder / "log",
            stop_signal=signal.SIGQUIT,
        )
        await child.stop()
        assert await child.wait() in {-signal.SIGKILL, -signal.SIGQUIT}


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # processes and logs have no event to wait for
        await asyncio.sleep(0.01)


def tree_of(child: Child) -> list[psutil.Process]:
    root = psutil.Process(child.pid)
    return [root, *root.children(recursive=True)]


def states(processes: Iterable[psutil.Process]) -> set[str]:
    return {process.status() if process.is_running() else psutil.STATUS_ZOMBIE for process in processes}


async def run_family(space: RunSpace) -> tuple[Child, list[psutil.Process]]:
    """A process with a child and a grandchild, each in a session of its own."""
    grandchild = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {FOREVER!r}], start_new_session=True)"
    child = run(space, grandchild.replace(repr(FOREVER), repr(grandchild)))
    await until(lambda: len(tree_of(child)) == 3 and "up" in child.log_tail())
    return child, tree_of(child)


async def test_pausing_freezes_all_that_it_started() -> None:
    """Processes in sessions of their own are frozen too, and all go on afterwards; it can be done again."""
    async with RunSpace() as space:
        child, family = await run_family(space)
        for _ in range(2):
            await child.pause()
            assert states(family) == {psutil.STATUS_STOPPED}
            child.resume()
            assert psutil.STATUS_STOPPED not in states(family)


async def test_what_is_started_while_it_is_paused_is_frozen_too() -> None:
    """A process that starts others without a break is caught with the last one of them."""
    restless = "import os, time\nprint('up', flush=True)\nwhile os.fork():\n    pass\ntime.sleep(0.1)"
    async with RunSpace() as space:
        child = run(space, restless)
        for _ in range(3):
            await asyncio.sleep(0.1)
            await child.pause()
            assert states(tree_of(child)) <= {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
            child.resume()
        await child.kill()


async def test_killing_ends_all_that_it_started() -> None:
    """Nothing is left when it returns, whether it was paused or not, and no death is reported."""
    async with RunSpace() as space:
        for paused in (False, True):
            child, family = await run_family(space)
            space.watch(child)
            if paused:
                await child.pause()
            await child.kill()
            assert await child.wait() == -signal.SIGKILL
            assert states(family) == {psutil.STATUS_ZOMBIE}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(space.died(), 0.05)


async def test_what_is_paused_can_be_stopped_in_order() -> None:
    """It goes on to get its signal, and has the time that it needs."""
    orderly = "import signal; signal.signal(signal.SIGTERM, lambda *_: (print('in order'), exit(7))); " + FOREVER
    async with RunSpace() as space:
        child = run(space, orderly)
        await until(lambda: "up" in child.log_tail())
        await child.pause()
        await child.stop(signal.SIGTERM, seconds=10)
        assert (await child.wait(), child.log_tail()) == (7, "up\nin order")


async def test_closing_ends_what_is_paused(temporary: Path) -> None:
    """The guard finds it and all that it started."""
    async with RunSpace() as space:
        child, family = await run_family(space)
        await child.pause()
    assert states(family) == {psutil.STATUS_ZOMBIE}
    assert names(temporary) == set()


async def test_closing_ends_grandchildren_in_sessions_of_their_own(temporary: Path) -> None:
    """A process that left its group still carries the token, and the folder goes with it."""
    left = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {FOREVER!r}], start_new_session=True)"
    async with RunSpace() as space:
        assert await run(space, left).wait() == 0
        found = list(guard.processes(space.environment[guard.TOKEN_VARIABLE]))
        assert len(found) == 1
    assert all(not process.is_running() or process.status() == psutil.STATUS_ZOMBIE for process in found)
    assert names(temporary) == set()


async def test_a_process_gets_its_environment_and_the_token_only() -> None:
    """Nothing of the user's environment leaks into a part."""
    async with RunSpace() as space:
        child = run(space, "import os; print(*sorted(os.environ))")
        await child.wait()
        names = set(child.log_tail().split()) - {"LC_CTYPE"}  # Python sets it for itself
    assert names == {"PATH", guard.TOKEN_VARIABLE}


async def test_what_a_run_left_is_swept_by_the_next(temporary: Path) -> None:
    """A folder that nobody holds is removed; one that is held, and a stranger's, stay."""
    left, held = temporary / "serverless-testbed-left", temporary / "serverless-testbed-held"
    for folder in (left, held):
        folder.mkdir()
        (folder / "lock").touch()
    (temporary / "other").mkdir()
    with (held / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with RunSpace() as space:
            assert names(temporary) == {held.name, "other", space.folder.name}


def test_a_folder_that_cannot_be_made_is_explained(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for temporary files is a message with a way out."""
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "missing"))
    with pytest.raises(HarnessError, match="cannot be created") as caught:
        RunSpace()
    assert "TMPDIR" in caught.value.hint


async def test_a_failing_body_stops_its_process() -> None:
    """A part that was started for nothing does not stay."""
    async with RunSpace() as space:
        child = run(space, FOREVER)
        with pytest.raises(asyncio.CancelledError):
            async with child.stopped_on_error():
                raise asyncio.CancelledError
        assert not child.running
