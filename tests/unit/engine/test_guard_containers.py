"""Containers of a run that are left when its command was killed."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_docker import FakeDocker

from testbed.engine import RunSpace, guard, runspace
from testbed.errors import HarnessError

MINE, OTHERS = {guard.LABEL: "mine"}, {guard.LABEL: "other"}


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[FakeDocker]:
    with FakeDocker().listening(tmp_path / "docker.sock") as fake:
        yield fake


@pytest.fixture
def folder(tmp_path: Path, docker: FakeDocker) -> Path:
    """The folder of a run that has had containers for an hour."""
    folder = tmp_path / "run"
    folder.mkdir()
    marker = folder / guard.CONTAINERS
    marker.write_text(docker.host)
    os.utime(marker, (time.time() - 3600,) * 2)
    return folder


def test_containers_with_the_token_are_removed(docker: FakeDocker, folder: Path) -> None:
    """By force and with their volumes; those of other runs stay."""
    docker.containers = {"a": MINE, "b": OTHERS, "c": MINE}
    guard.clean("mine", folder)
    assert docker.containers == {"b": OTHERS}
    assert not folder.exists()


def test_one_that_docker_was_still_creating_is_removed_too(
    docker: FakeDocker, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command was killed while Docker was at it: at first there is nothing to be found."""
    monkeypatch.setattr(guard, "_CREATING_SECONDS", 3600.5)
    docker.appear = [("late", MINE)]
    guard.clean("mine", folder)
    assert docker.containers == {}
    assert "DELETE /containers/late" in docker.asked


def test_what_docker_does_not_remove_is_left_to_the_next_run(
    docker: FakeDocker, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder stays: it names the run."""
    docker.containers, docker.stuck = {"a": MINE}, 1
    guard.clean("mine", folder, docker_seconds=0.01)
    assert (folder / guard.CONTAINERS).exists()
    renamed = folder.rename(folder.with_name("serverless-testbed-mine"))
    (renamed / "lock").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(folder.parent))
    runspace._sweep()
    assert docker.containers == {}
    assert not renamed.exists()


def test_a_run_without_containers_asks_nobody(docker: FakeDocker, folder: Path) -> None:
    """The SDK is not even imported."""
    (folder / guard.CONTAINERS).unlink()
    guard.clean("mine", folder)
    assert docker.asked == []
    assert not folder.exists()


KILLED = """
import asyncio, os, signal
from testbed.engine import RunSpace

async def main():
    space = RunSpace()
    space.expect_containers(None)
    print(space.labels["testbed.run"], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_the_guard_of_a_killed_command_removes_its_containers(docker: FakeDocker, tmp_path: Path) -> None:
    """It finds Docker where the command did."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "DOCKER_HOST": docker.host}
    docker.appear = [("nothing", {})]  # makes the guard look more than once
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    docker.containers["left"] = {guard.LABEL: killed.stdout.strip()}
    deadline = time.monotonic() + 20
    while "left" in docker.containers:
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def test_an_orderly_end_removes_them_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker: FakeDocker
) -> None:
    """Before the guard would have to import the SDK for it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", docker.host)
    removed: list[bool] = []

    async def remove() -> None:
        removed.append((space.folder / guard.CONTAINERS).exists())

    async with RunSpace() as space:
        space.expect_containers(remove)
    assert removed == [True]
    assert docker.asked == []
    assert not space.folder.exists()


async def test_what_an_orderly_end_cannot_remove_the_guard_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker: FakeDocker
) -> None:
    """Docker did not answer in time, and does later."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", docker.host)

    async def fail() -> None:
        raise HarnessError("Docker could not remove containers")

    async with RunSpace() as space:
        space.expect_containers(fail)
        docker.containers["left"] = dict(space.labels)
        marker = space.folder / guard.CONTAINERS
        os.utime(marker, (time.time() - 3600,) * 2)
    assert docker.containers == {}
    assert not space.folder.exists()
