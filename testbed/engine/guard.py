"""The guard of a run: when the process that started the run is gone, it ends what the run started.

It is a process of its own, in its own session, that reads from a pipe. Nobody writes to it; the pipe closes when the
parent closes it or dies, even by ``kill -9``. Then every process whose environment holds the token of the run is
ended, containers with the token as label are removed, and the run's temporary folder too. This file is run by its path:
it imports nothing of the testbed, so that it is up in a moment.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

TOKEN_VARIABLE: Final = "TESTBED_RUN"  # noqa: S105  # the name of a variable
CONTAINERS: Final = "containers"
"""File in the run's folder: the run has had containers since it was written; says by which DOCKER_HOST."""
LABEL: Final = "testbed.run"
"""Label of the run's containers; its value is the token."""
_POLL_SECONDS: Final = 0.02
_POSTGRES_SECONDS: Final = 1.0
_GIVE_UP_SECONDS: Final = 10.0
_CREATING_SECONDS: Final = 10.0  # Docker may still create what a process asked for that was killed meanwhile
_DOCKER_SECONDS: Final = 15.0
_SWEEP_SECONDS: Final = 0.5
_CALL_SECONDS: Final = 5.0
_SHARED_MEMORY_LINE: Final = 6  # LOCK_FILE_LINE_SHMEM_KEY, less one, in PostgreSQL's src/include/utils/pidfile.h


def processes(token: str) -> Iterator[psutil.Process]:
    """Every living process that carries the token in its environment, this one excepted."""
    own = psutil.Process().pid
    for process in psutil.process_iter():
        try:
            if process.pid != own and process.environ().get(TOKEN_VARIABLE) == token:
                yield process
        except psutil.Error:
            continue  # it ended meanwhile, or belongs to someone else


def sweep(token: str, folder: Path) -> None:
    """Do what the guard of another run has left to do; a Docker engine that does not answer must not hold up this one.

    Args:
        token: The other run's.
        folder: The other run's.
    """
    clean(token, folder, docker_seconds=_SWEEP_SECONDS)


def clean(token: str, folder: Path, *, docker_seconds: float = _DOCKER_SECONDS) -> None:
    """End every process of the run, remove its containers and its folder.

    It looks again until nothing is found, as a process may have started another one meanwhile. Postgres gets its
    immediate shutdown (SIGQUIT), as its children carry no readable environment. All others are killed, and Postgres
    too when it does not end.
    """
    began = time.monotonic()
    while (found := list(processes(token))) and time.monotonic() - began < _GIVE_UP_SECONDS:
        patient = time.monotonic() - began < _POSTGRES_SECONDS
        for process in found:
            _end(process, patient=patient)
        time.sleep(_POLL_SECONDS)
    for lock_file in folder.glob("*/postmaster.pid"):
        forget_killed_postgres(lock_file)
    marker = folder / CONTAINERS
    if not marker.exists() or _removed(token, marker, docker_seconds):
        shutil.rmtree(folder, ignore_errors=True)


def forget_killed_postgres(lock_file: Path) -> None:
    """Remove the lock file that it left, and its System V shared memory, which the file names.

    Args:
        lock_file: ``postmaster.pid`` in the folder of its cluster.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):  # it had no shared memory yet, or there is no ipcrm
        _key, number = lock_file.read_text().splitlines()[_SHARED_MEMORY_LINE].split()
        command = ["ipcrm", "-m", number]
        # As its owner: root in a container may not remove what is another user's.
        subprocess.run(command, user=lock_file.stat().st_uid, check=False, capture_output=True)
    lock_file.unlink(missing_ok=True)


def _end(process: psutil.Process, *, patient: bool) -> None:
    with contextlib.suppress(psutil.Error):  # it ended meanwhile
        if process.name() != "postgres":
            process.kill()
            return
        family = [process, *process.children(recursive=True)]
        if patient:
            process.send_signal(signal.SIGQUIT)
        for member in family:
            with contextlib.suppress(psutil.Error):
                member.resume() if patient else member.kill()  # whoever is paused gets no other signal


def _removed(token: str, marker: Path, seconds: float) -> bool:
    """Remove the run's containers; False when Docker does not do it: the folder stays, and the next run tries again."""
    from docker.client import from_env  # noqa: PLC0415 - takes a third of a second, and most runs have no containers
    from docker.errors import DockerException  # noqa: PLC0415 - the same

    environment = {**os.environ, "DOCKER_HOST": marker.read_text()}
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        with contextlib.suppress(DockerException, OSError):  # tried again
            with contextlib.closing(from_env(environment=environment, timeout=_CALL_SECONDS)) as client:
                found = client.containers.list(all=True, filters={"label": f"{LABEL}={token}"}, sparse=True)
                for container in found:
                    container.remove(force=True, v=True)
            if time.time() - marker.stat().st_mtime > _CREATING_SECONDS:
                return True
        time.sleep(0.2)
    return False


def main(token: str, folder: str) -> None:
    """Wait for the end of the parent, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    clean(token, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
