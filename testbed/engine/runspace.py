"""What belongs to one run: its folder, its token, its processes, and their end."""

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from testbed.engine import guard
from testbed.errors import EngineDiedError, HarnessError, how_ended

_PREFIX: Final = "serverless-testbed-"
_LOCK: Final = "lock"
_TAIL_LINES: Final = 40
_STOP_SECONDS: Final = 2.0


class Child:
    """A process of the run.

    Attributes:
        name: The part by name, for people: ``"LocalStack"``.
        log: The file with its output.
        stopping: Whether its end is wanted; it is no death then.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path, stop_signal: signal.Signals) -> None:
        self.name = name
        self.log = log
        self.stopping = False
        self._process = process
        self._stop_signal = stop_signal
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        # A thread, because uvloop starts no process under another user and so cannot wait for it.
        threading.Thread(target=self._wait_in_thread, name=f"wait for {name}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id; also the id of its process group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return not self._ended.done()

    async def wait(self) -> int:
        """The exit status, negative when a signal ended it."""
        return await asyncio.shield(self._ended)

    def log_tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines that it wrote; empty when it wrote none."""
        return tail(self.log, lines)

    def death(self) -> EngineDiedError:
        """How it ended; only for a process that has ended."""
        return EngineDiedError(self.name, how_ended(self._ended.result()), self.log_tail())

    async def stop(self) -> None:
        """End it and its process group at once: it is throw-away."""
        self.stopping = True
        self._send(self._stop_signal)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self.wait()
        except TimeoutError:
            self._send(signal.SIGKILL)
            await self.wait()

    @contextlib.asynccontextmanager
    async def stopped_on_error(self) -> AsyncIterator[None]:
        """Stop it when the body fails or is cancelled."""
        try:
            yield
        except BaseException:
            await self.stop()
            raise

    def _send(self, number: signal.Signals) -> None:
        if self.running:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(self.pid, number)

    def _wait_in_thread(self) -> None:
        status = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._ended.set_result, status)


class RunSpace:
    """Folder, token and processes of one run; nothing of it outlives :meth:`close` or this process.

    Attributes:
        folder: Temporary folder of the run; removed at the end.
        environment: Variables that every process of the run must get: the guard finds it by them.

    Raises:
        HarnessError: When the folder cannot be created.
    """

    def __init__(self) -> None:
        _sweep()
        self._token = secrets.token_hex(8)
        self.folder = _make_folder(_PREFIX + self._token)
        self.environment: Mapping[str, str] = {guard.TOKEN_VARIABLE: self._token}
        self._lock = (self.folder / _LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._guard = self._start_guard()
        self._children: list[Child] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._first_death: asyncio.Future[EngineDiedError] | None = None

    async def __aenter__(self) -> Self:
        """Nothing more to open: the guard is running."""
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Close it."""
        await self.close()

    def spawn(
        self,
        argv: Sequence[str | Path],
        *,
        name: str,
        env: Mapping[str, str],
        log: Path,
        pass_fds: Sequence[int] = (),
        user: int | None = None,
        group: int | None = None,
        stop_signal: signal.Signals = signal.SIGKILL,
    ) -> Child:
        """Start a process of the run, in a process group of its own.

        Args:
            argv: Program and arguments.
            name: The part by name, for people.
            env: Its whole environment; the run's token is added.
            log: File that its output is appended to.
            pass_fds: File descriptors that it inherits.
            user: User id to run under; None keeps the own one.
            group: Group id to run under; None keeps the own one.
            stop_signal: What ends it at once.

        Raises:
            OSError: When the program cannot be started.
        """
        with log.open("ab") as output:
            process = subprocess.Popen(
                argv,
                env={**env, **self.environment},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=pass_fds,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )
        child = Child(name, process, log, stop_signal)
        self._children.append(child)
        return child

    def watch(self, child: Child) -> None:
        """From now on :meth:`died` reports the end of this process."""
        self._watchers.append(asyncio.create_task(self._watch(child)))

    async def died(self) -> EngineDiedError:
        """Wait until a watched process ends that was not stopped; how it ended."""
        return await asyncio.shield(self._death())

    async def close(self) -> None:
        """End every process of the run and remove its folder. The guard does it, as it would after a crash."""
        for child in self._children:
            child.stopping = True
        if self._guard.stdin:
            self._guard.stdin.close()
        await asyncio.to_thread(self._guard.wait)
        await asyncio.gather(*(child.wait() for child in self._children), *self._watchers)
        self._lock.close()

    async def _watch(self, child: Child) -> None:
        await child.wait()
        if not child.stopping and not self._death().done():
            self._death().set_result(child.death())

    def _death(self) -> asyncio.Future[EngineDiedError]:
        if self._first_death is None:
            self._first_death = asyncio.get_running_loop().create_future()
        return self._first_death

    def _start_guard(self) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-P", guard.__file__, self._token, str(self.folder)]
        return subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            pass_fds=[self._lock.fileno()],  # the folder counts as in use as long as either of the two lives
        )


def _make_folder(name: str) -> Path:
    """A folder for temporary files that only this user may list."""
    folder = Path(tempfile.gettempdir()) / name
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise HarnessError(
            f"the run's folder cannot be created: {error}", "make room there, or point TMPDIR elsewhere"
        ) from error
    if os.geteuid() == 0:
        folder.chmod(0o711)  # Postgres runs as another user then and must be able to pass through
    return folder


def tail(log: Path, lines: int = _TAIL_LINES) -> str:
    """The last lines of a file; empty when there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def _sweep() -> None:
    """Clean up after runs whose guard was killed too: their folders are locked by nobody."""
    for folder in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        try:
            if folder.stat().st_uid != os.geteuid():
                continue
            with (folder / _LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                guard.clean(folder.name.removeprefix(_PREFIX), folder)
        except OSError:
            continue  # in use, or not complete yet
