"""The guard of a run: when the process that started the run is gone, it ends what the run started.

It is a process of its own, in its own session, that reads from a pipe. Nobody writes to it; the pipe closes when the
parent closes it or dies, even by ``kill -9``. Then every process whose environment holds the token of the run is
ended and the run's temporary folder is removed. This file is run by its path: it imports nothing of the testbed, so
that it is up in a moment.
"""

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

TOKEN_VARIABLE: Final = "TESTBED_RUN"  # noqa: S105  # the name of a variable
_ROUNDS: Final = 20
_POSTGRES_SECONDS: Final = 1.0
_KILL_SECONDS: Final = 1.0


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
    System V shared memory. All others are killed.
    """
    for _ in range(_ROUNDS):
        found = list(processes(token))
        if not found:
            break
        postgres = [process for process in found if _end(process)]
        _, stubborn = psutil.wait_procs(postgres, timeout=_POSTGRES_SECONDS)
        for process in stubborn:
            _send(process, signal.SIGKILL)
        psutil.wait_procs(found, timeout=_KILL_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def _end(process: psutil.Process) -> bool:
    """Ask Postgres to end, kill anything else; whether it was Postgres."""
    try:
        is_postgres = process.name() == "postgres"
    except psutil.Error:
        is_postgres = False
    _send(process, signal.SIGQUIT if is_postgres else signal.SIGKILL)
    return is_postgres


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return  # it ended meanwhile


def main(token: str, folder: str) -> None:
    """Wait for the end of the parent, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    clean(token, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
