"""LocalStack in a virtual environment of its own, in the user's cache.

Never in the user's environment: its hundred old pins would clash with anything. What is installed is frozen in the
lock files beside this module, one for each of the two versions that need no auth token: 4.14.0, the last free one,
where a Python 3.13 is found, else 4.9.2. They were made by ``uv pip compile --universal --generate-hashes --no-header
--no-annotate --exclude-newer 2026-03-02`` (4.14.0, ``requires-python = ">=3.13,<3.14"``) and ``2025-10-28`` (4.9.2):
newer versions of what LocalStack depends on break it.
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from testbed.errors import HarnessError

LOCKS: Final = Path(__file__).parent / "locks"
_NEEDED_BYTES: Final = 600 * 1024 * 1024
_POLL_SECONDS: Final = 0.2
_NO_NETWORK: Final = re.compile(
    r"dns error|failed to lookup address|name resolution|client error \(Connect\)|Connection refused"
    r"|Network is unreachable|NewConnectionError|tcp connect error|operation timed out|network was disabled",
    re.IGNORECASE,
)
_NO_SPACE: Final = re.compile(r"No space left on device|os error 28|Disk quota exceeded", re.IGNORECASE)
_NEW_PYTHON: Final = (3, 13)
_OLD_PYTHONS: Final = ((3, 11), (3, 12), (3, 13))
_NO_PYTHON_HINT: Final = "install Python 3.13 so that `python3.13` is on the PATH"


@dataclass(frozen=True, slots=True)
class Installation:
    """A LocalStack, installed or to be installed.

    Attributes:
        version: LocalStack's version.
        python: The interpreter to install it with.
        python_version: That interpreter's version, ``"3.13"``.
        folder: Where it is, or will be: its name holds the versions and the hash of the lock file.
    """

    version: str
    python: Path
    python_version: str
    folder: Path

    @property
    def lock(self) -> Path:
        """The lock file."""
        return LOCKS / f"localstack-{self.version}.txt"

    @property
    def interpreter(self) -> Path:
        """The interpreter of its virtual environment."""
        return self.folder / "bin" / "python"

    @property
    def static_libs(self) -> Path:
        """LocalStack's ``/usr/lib/localstack``: the index of all services, which takes seconds to build."""
        return self.folder / "static_libs"

    @property
    def present(self) -> bool:
        """Whether it is installed; it is not if the interpreter that it was made from has gone."""
        return self.static_libs.is_dir() and self.interpreter.exists()


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/serverless-testbed``, by default in ``~/.cache`` (XDG Base Directory Specification)."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return base / "serverless-testbed"


def choose() -> Installation:
    """The LocalStack for the interpreters of this machine.

    Raises:
        HarnessError: When none of them can run any.
    """
    if python := _find_python(_NEW_PYTHON):
        return _installation("4.14.0", python, _NEW_PYTHON)
    running = sys.version_info[:2]
    for version in (running, *_OLD_PYTHONS):
        if version in _OLD_PYTHONS and (python := _find_python(version)):
            return _installation("4.9.2", python, version)
    raise HarnessError(f"LocalStack does not run on Python {running[0]}.{running[1]}", _NO_PYTHON_HINT)


async def ensure_installed(
    installation: Installation, progress: Callable[[str], None], environment: Mapping[str, str]
) -> None:
    """Install LocalStack unless it is there; only one of several runs at a time does it.

    Args:
        installation: What to install.
        progress: Gets a line for people at each step.
        environment: Variables for the installer's processes beside the user's own: the token of the run.

    Raises:
        HarnessError: No network, no disk space, or the installers' own complaint.
    """
    if installation.present:
        return
    try:
        installation.folder.parent.mkdir(parents=True, exist_ok=True)
        async with _only_one(installation.folder.with_name(f"{installation.folder.name}.lock"), progress):
            if not installation.present:
                await _install(installation, progress, environment)
    except OSError as error:
        raise _explain(str(error), installation) from error


def _find_python(version: tuple[int, int]) -> Path | None:
    """The running interpreter if it has this version, else one on the PATH that really starts."""
    if sys.version_info[:2] == version:
        return Path(sys.executable)
    found = shutil.which(f"python{version[0]}.{version[1]}")
    if found is None:
        return None
    ask = [found, "-I", "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
    answer = subprocess.run(ask, capture_output=True, text=True, check=False)
    return Path(found) if answer.stdout.strip() == f"{version[0]}.{version[1]}" else None


def _installation(version: str, python: Path, python_version: tuple[int, int]) -> Installation:
    digest = hashlib.sha256((LOCKS / f"localstack-{version}.txt").read_bytes()).hexdigest()[:12]
    short = f"{python_version[0]}.{python_version[1]}"
    return Installation(version, python, short, cache_folder() / f"localstack-{version}-py{short}-{digest}")


@contextlib.asynccontextmanager
async def _only_one(lock: Path, progress: Callable[[str], None]) -> AsyncIterator[None]:
    """Hold the lock file; it frees itself should this process die."""
    with lock.open("w") as file:
        told = False
        while not _locks(file.fileno()):
            if not told:
                progress("another run is installing LocalStack; waiting for it")
                told = True
            await asyncio.sleep(_POLL_SECONDS)
        yield


def _locks(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _install(installation: Installation, progress: Callable[[str], None], environment: Mapping[str, str]) -> None:
    """Build it beside its place and move it there when it is complete."""
    started = time.monotonic()
    folder = installation.folder
    _remove_leftovers(folder)
    if shutil.disk_usage(folder.parent).free < _NEEDED_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    progress(
        f"installing LocalStack {installation.version} for Python {installation.python_version} "
        f"into {folder.parent} (once; needs the network and {_NEEDED_BYTES // 1024**2} MB)"
    )
    building = folder.with_name(f"{folder.name}.building-{uuid4().hex[:8]}")
    run = _Steps(building, progress, {**os.environ, **environment})
    try:
        await _fill(run, installation)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    progress(f"LocalStack {installation.version} is installed, in {time.monotonic() - started:.0f} s")


def _remove_leftovers(folder: Path) -> None:
    """What an interrupted installation left, and one whose interpreter has gone."""
    for leftover in [folder, *folder.parent.glob(f"{folder.name}.building-*")]:
        shutil.rmtree(leftover, ignore_errors=True)


async def _fill(run: "_Steps", installation: Installation) -> None:
    """Virtual environment, packages, and the index that LocalStack would otherwise build at every start."""
    output = await _install_with_uv(run, installation)
    if output is not None:
        if _NO_NETWORK.search(output) or _NO_SPACE.search(output):
            raise _explain(output, installation)
        run.progress("uv could not do it, trying pip (a minute)")
        output = await _install_with_pip(run, installation)
    if output is None:
        run.progress("indexing the services of LocalStack")
        output = await _index_services(run)
    if output is not None:
        raise _explain(output, installation)


class _Steps:
    """Runs the installers; a step gives its output if it failed."""

    def __init__(self, folder: Path, progress: Callable[[str], None], environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.progress = progress
        self._environment = environment

    async def step(self, argv: Sequence[str | Path], **variables: str) -> str | None:
        """Run a program and hand its lines on; None when it succeeded, else what it said."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            env={**self._environment, **variables},
            cwd=self.folder.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        lines: list[str] = []
        try:
            async for line in process.stdout or asyncio.StreamReader():
                lines.append(line.decode(errors="replace").rstrip())
                if not line.startswith(b" "):  # uv lists each package, indented
                    self.progress(lines[-1])
            failed = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        return "\n".join(lines) if failed else None


async def _install_with_uv(run: _Steps, installation: Installation) -> str | None:
    uv = [sys.executable, "-m", "uv", "--no-progress"]
    output = await run.step(
        [*uv, "venv", "--quiet", "--no-project", "--relocatable", "--python", installation.python, run.folder]
    )
    if output is not None:
        return output
    install = [*uv, "pip", "install", "--require-hashes", "--python", str(run.folder / "bin" / "python")]
    return await run.step([*install, "-r", installation.lock])


async def _install_with_pip(run: _Steps, installation: Installation) -> str | None:
    shutil.rmtree(run.folder, ignore_errors=True)
    output = await run.step([installation.python, "-m", "venv", run.folder])
    if output is not None:
        return output
    pip = [str(run.folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    return await run.step([*pip, "--require-hashes", "-r", installation.lock])


async def _index_services(run: _Steps) -> str | None:
    """Also the proof that the new LocalStack can be imported."""
    root = run.folder / "index"
    built = root / "usr" / "lib" / "localstack"
    built.mkdir(parents=True)
    output = await run.step(
        [run.folder / "bin" / "python", "-I", "-m", "localstack.aws.spec"],
        FILESYSTEM_ROOT=str(root),
        OVERRIDE_IN_DOCKER="0",
        DISABLE_EVENTS="1",
    )
    if output is None:
        built.rename(run.folder / "static_libs")
    return output


def _explain(output: str, installation: Installation) -> HarnessError:
    """What the installer's output means to the user."""
    if _NO_SPACE.search(output):
        return HarnessError(
            f"no disk space to install LocalStack into {installation.folder.parent}",
            f"free {_NEEDED_BYTES // 1024**2} MB there, or point XDG_CACHE_HOME at another disk",
        )
    if _NO_NETWORK.search(output):
        return HarnessError(
            f"LocalStack {installation.version} is not installed yet, and the package index cannot be reached",
            "connect this machine to the network once; a proxy or an index of your own goes into uv's settings",
        )
    last = "\n".join(output.splitlines()[-15:])
    return HarnessError(
        f"LocalStack {installation.version} could not be installed into {installation.folder.parent}:\n{last}",
        "run the command again; if it fails again, the lines above are the installer's own",
    )
