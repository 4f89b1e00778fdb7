"""The processes of a run, and that they end with it."""

import asyncio
import fcntl
import os
import signal
import sys
import tempfile
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
