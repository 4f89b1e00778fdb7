"""The guard of a run: when the process that started the run is gone, it ends what the run started.

It is a process of its own, in its own session, that reads from a pipe. Nobody writes to it; the pipe closes when the
parent closes it or dies, even by ``kill -9``. Then every process whose environment holds the token of the run is
ended and the run's temporary folder is removed. This file is run by its path: it imports nothing of the testbed, so
that it is up in a moment.
"""

import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

TOKEN_VARIABLE: Final = "TESTBED_RUN"  # noqa: S105  # the name of a variable
_POLL_SECONDS: Final = 0.02
_POSTGRES_SECONDS: Final = 1.0
_GIVE_UP_SECONDS: Final = 10.0


def processes(token: str) -> Iterator[psutil.Process]:
    """Every living process that carries the token in its environment, this one excepted."""
    own = psutil.Process().pid
    for process in psutil.process_iter():
        try:
            if process.pid != own and process.environ().get(TOKEN_VARIABLE) == token:
                yield process
        except psutil.Error:
            continue  # it ended meanwhile, or belongs to someone else


def clean(token: str, folder: Path) -> None:
    """End every process of the run and remove its folder.

    It looks again until nothing is found, as a process may have started another one meanwhile. Postgres gets its
    immediate shutdown (SIGQUIT): its children carry no readable environment, and only an orderly end frees its
    System V shared memory. All others are killed, and Postgres too when it does not end.
    """
    began = time.monotonic()
    while (found := list(processes(token))) and time.monotonic() - began < _GIVE_UP_SECONDS:
        patient = time.monotonic() - began < _POSTGRES_SECONDS
        for process in found:
            _end(process, patient=patient)
        time.sleep(_POLL_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def _end(process: psutil.Process, *, patient: bool) -> None:
    with contextlib.suppress(psutil.Error):  # it ended meanwhile
        orderly = patient and process.name() == "postgres"
        process.send_signal(signal.SIGQUIT if orderly else signal.SIGKILL)


def main(token: str, folder: str) -> None:
    """Wait for the end of the parent, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    clean(token, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
