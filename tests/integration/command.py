"""The command as a user starts it, and what is left of it afterwards."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from docker.models.containers import Container
from engines import ENGINE_VARIABLE, find_part, left_behind

from testbed.engine import guard

TINY = Path(__file__).parent / "scenarios" / "tiny.py"
WRONG = TINY.with_name("wrong.py")
_WAIT_SECONDS = 60.0


class Command:
    """A ``testbed`` command that runs in a folder of its own.

    Args:
        folder: Its working folder; its output goes there too.
        arguments: After ``testbed``.
        environment: Variables beside the test's own.

    Attributes:
        mode: The engine that it runs on.
    """

    def __init__(self, folder: Path, *arguments: str | Path, **environment: str) -> None:
        self.folder = folder
        self.mode = environment.get(ENGINE_VARIABLE) or os.environ[ENGINE_VARIABLE]
        self._token = ""
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [Path(sys.executable).with_name("testbed"), *arguments],
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        """Its standard output so far."""
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """Its standard error so far."""
        return self._err.read_text(encoding="utf-8")

    @property
    def run_folder(self) -> Path:
        """Its run folder, once there is one."""
        [found] = [path for path in (self.folder / "runs").iterdir() if not path.is_symlink()]
        return found

    def document(self, name: str) -> dict[str, Any]:
        """A JSON document of its run folder."""
        found: dict[str, Any] = json.loads((self.run_folder / name).read_text(encoding="utf-8"))
        return found

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for ``condition``; fail with what the command said when it ends before, or never does it."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while not condition():
            assert self.process.poll() is None, f"ended before {what}:\n{self.err}"
            assert time.monotonic() < deadline, f"waited in vain for {what}:\n{self.err}"
            time.sleep(0.02)

    def until_traffic(self) -> None:
        """Wait until the first order has its answer."""
        runs = self.folder / "runs"
        self.until(lambda: any(path.stat().st_size for path in runs.glob("*/history.jsonl")), "traffic")

    def until_part(self, part: str) -> psutil.Process | Container:
        """Wait for the process or the container of a part of the run, by its name for people."""
        found: list[psutil.Process | Container | None] = []

        def look() -> psutil.Process | Container | None:
            found.append(find_part(self.mode, self.token(), part))
            return found[-1]

        self.until(look, f"{part} to start")
        return found[-1]

    def token(self) -> str:
        """The token that every process and container of the run carries."""
        if not self._token:
            self.until(self._look_for_token, "the data plane to start")
        return self._token

    def _look_for_token(self) -> str:
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error, KeyError):  # it has just ended, or has nothing to do with the run
                self._token = child.environ()[guard.TOKEN_VARIABLE]
        return self._token

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(_WAIT_SECONDS)


@contextmanager
def command(folder: Path, *arguments: str | Path, **environment: str) -> Iterator[Command]:
    """Start a command; when the test fails, it is ended, and with it all that it has started."""
    folder.mkdir(parents=True, exist_ok=True)
    started = Command(folder, *arguments, **environment)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()


def ran(folder: Path, *arguments: str | Path, **environment: str) -> Command:
    """A command that has come to its end."""
    with command(folder, *arguments, **environment) as started:
        started.wait()
    return started


def run_of(scenario: Path, architecture: str, *more: str) -> list[str | Path]:
    """The arguments that put one architecture of a scenario on trial."""
    return ["run", scenario, "--architecture", architecture, "--seed", "1", *more]


def run_tiny(architecture: str, *more: str) -> list[str | Path]:
    """The same, of the tiny scenario."""
    return run_of(TINY, architecture, *more)


def assert_nothing_is_left(token: str) -> None:
    """The guard of a killed command is given the time to clean up."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while left := left_behind(token):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.02)
