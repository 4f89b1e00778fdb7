"""Whatever ends a run, and whenever: nothing of it is left. TESTBED_LEAK_RUNS says how many runs are tried."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import psutil
import pytest
from command import Command, assert_nothing_is_left, command, run_tiny
from engines import docker_ledger, left_behind

from testbed.engine import guard

RUNS = int(os.environ.get("TESTBED_LEAK_RUNS") or 4)


def interrupt(run: Command) -> None:
    run.process.send_signal(signal.SIGINT)


def terminate(run: Command) -> None:
    run.process.send_signal(signal.SIGTERM)


def kill(run: Command) -> None:
    run.process.kill()


def kill_twice(run: Command) -> None:
    """The command, and then its guard while that cleans up: the next run does what is left to do."""
    [guarding] = [child for child in psutil.Process(run.process.pid).children() if guard.__file__ in child.cmdline()]
    run.process.kill()
    guarding.kill()


WAYS: list[Callable[[Command], None]] = [kill, interrupt, terminate]


@pytest.mark.timeout(60 + 60 * RUNS)
def test_nothing_is_left_of_any_run(mode: str, tmp_path: Path) -> None:
    """Every second run is ended at a random moment, each time in another way: starting, under load or stopping."""
    rng = Random(f"{mode} {RUNS}")  # noqa: S311 - no secret
    takes = 0.0
    for number in range(RUNS):
        with command(tmp_path / str(number), *run_tiny("direct")) as run:
            token, began = run.token(), time.monotonic()
            if number % 2:
                time.sleep(rng.uniform(0, takes))
                WAYS[number // 2 % len(WAYS)](run)
            run.wait()
        if number % 2 == 0:
            takes = time.monotonic() - began
            assert run.process.returncode == 0, run.err
            assert mode == "process" or len(docker_ledger().had(token, "container")) == 2
        assert_nothing_is_left(token)


def test_the_next_run_removes_what_a_killed_guard_has_left(mode: str, tmp_path: Path) -> None:
    """Command and guard are killed at once: nobody is there to clean up until the next run starts."""
    with command(tmp_path / "killed", *run_tiny("stuck")) as run:
        token = run.token()
        run.until_traffic()
        kill_twice(run)
        run.wait()
    assert left_behind(token)
    if mode == "container":  # before that, Docker may still be about to create one
        time.sleep(guard._CREATING_SECONDS)
    with command(tmp_path / "next", *run_tiny("direct")) as following:
        assert following.wait() == 0
    assert_nothing_is_left(token)
