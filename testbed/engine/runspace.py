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
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, Self

import psutil

from testbed.engine import guard
from testbed.errors import EngineDiedError, HarnessError, how_ended

_PREFIX: Final = "serverless-testbed-"
_LOCK: Final = "lock"
_TAIL_LINES: Final = 40
_STOP_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.002
_SIGNAL_SECONDS: Final = 5.0
_GONE: Final = frozenset({psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})
_STILL: Final = _GONE | {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}


class Starting(Protocol):
    """What may end before it is ready: a process or a container.

    Attributes:
        log: The file with its output.
        running: Whether it has not ended yet.
    """

    log: Path

    @property
    def running(self) -> bool:
        """See above."""

    def log_tail(self) -> str:
        """The last lines that it wrote."""

    def death(self) -> EngineDiedError:
        """How it ended."""


class Child:
    """A process of the run, with those that it starts.

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
        self._root = psutil.Process(process.pid)
        self._paused: list[psutil.Process] = []
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

    async def stop(self, signal_: signal.Signals | None = None, *, seconds: float = _STOP_SECONDS) -> None:
        """End it and its process group, paused or not; by force when that takes too long.

        Args:
            signal_: What asks it to end; None ends it at once, as it is throw-away.
            seconds: How long it may take.
        """
        self.stopping = True
        self._send(signal_ or self._stop_signal)
        self.resume()  # a paused process gets its signal only then
        try:
            async with asyncio.timeout(seconds):
                await self.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it and all processes that it started with SIGKILL, so that none sees another one die."""
        self.stopping = True
        await self.pause()
        self._signal_paused(signal.SIGKILL)
        self._send(signal.SIGKILL)
        await self.wait()
        await asyncio.to_thread(_wait_until, self._paused, _GONE)

    async def pause(self) -> None:
        """Freeze it and all processes that it started, and return when none of them runs any more."""
        await asyncio.to_thread(self._freeze)

    def resume(self) -> None:
        """Let them go on."""
        self._signal_paused(signal.SIGCONT)
        self._paused.clear()

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

    def _freeze(self) -> None:
        # Looks again until there is nothing new: a process may have started one before it stopped.
        while new := [process for process in self._tree() if process not in self._paused]:
            self._paused += new
            for process in new:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.suspend()
            _wait_until(new, _STILL)

    def _tree(self) -> list[psutil.Process]:
        """It and its descendants, whatever group or session they are in."""
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _signal_paused(self, number: signal.Signals) -> None:
        """The first one last: it must not be surprised by what becomes of those that it started."""
        for process in reversed(self._paused):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _wait_in_thread(self) -> None:
        status = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._ended.set_result, status)


def _wait_until(processes: Sequence[psutil.Process], states: frozenset[str]) -> None:
    """Return when a signal has brought all of them into one of the states; one deep in the kernel gets it later."""
    deadline = time.monotonic() + _SIGNAL_SECONDS
    while not all(_status(process) in states for process in processes) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _status(process: psutil.Process) -> str:
    try:
        return process.status()
    except psutil.NoSuchProcess:
        return psutil.STATUS_DEAD


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
        self._remove_containers: Callable[[], Awaitable[None]] | None = None

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

    def report(self, death: EngineDiedError) -> None:
        """The death of something that is no process of the run: :meth:`died` reports the first one."""
        if not self._death().done():
            self._death().set_result(death)

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels that every container of the run must get: the guard finds it by them."""
        return {guard.LABEL: self._token}

    def expect_containers(self, remove: Callable[[], Awaitable[None]]) -> None:
        """From now on the run may have containers, which the guard removes after a crash.

        Args:
            remove: Removes all of them when the run is closed. It may leave that to the guard by raising a
                `HarnessError`.
        """
        self._remove_containers = remove
        (self.folder / guard.CONTAINERS).write_text(os.environ.get("DOCKER_HOST", ""))

    async def died(self) -> EngineDiedError:
        """Wait until a watched process ends that was not stopped; how it ended."""
        return await asyncio.shield(self._death())

    async def close(self) -> None:
        """End every process of the run and remove its folder. The guard does it, as it would after a crash."""
        for child in self._children:
            child.stopping = True
        if self._remove_containers:
            await asyncio.gather(*(child.kill() for child in self._children))  # who would complain in its log
            with contextlib.suppress(HarnessError):  # the guard finds the file and does it
                await self._remove_containers()
                (self.folder / guard.CONTAINERS).unlink()
        if self._guard.stdin:
            self._guard.stdin.close()
        await asyncio.to_thread(self._guard.wait)
        await asyncio.gather(*(child.wait() for child in self._children), *self._watchers)
        self._lock.close()

    async def _watch(self, child: Child) -> None:
        await child.wait()
        if not child.stopping:
            self.report(child.death())

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
                guard.sweep(folder.name.removeprefix(_PREFIX), folder)
        except OSError:
            continue  # in use, or not complete yet
