"""Which LocalStack is chosen, and how its installation ends when something is missing."""

import asyncio
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.engine import installation
from testbed.engine.installation import LOCKS, Installation, cache_folder, choose, ensure_installed
from testbed.errors import HarnessError

RUNNING = sys.version_info[:2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "serverless-testbed"


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> Installation:
    """The installation for a Python before 3.13."""
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    monkeypatch.setenv("PATH", "")
    return choose()


@pytest.fixture
def fake_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a ``python3.13`` on the PATH that answers what it is told to."""

    def put(answer: str) -> Path:
        program = tmp_path / "bin" / "python3.13"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{answer}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))
        return program

    return put


def names(folder: Path) -> set[str]:
    """What is in a folder."""
    return {entry.name for entry in folder.iterdir()}


def complete(target: Installation) -> None:
    """What an installation leaves at its place."""
    target.static_libs.mkdir(parents=True)
    target.interpreter.parent.mkdir()
    target.interpreter.touch()


def steps(monkeypatch: pytest.MonkeyPatch, **outcomes: str | None) -> list[str]:
    """Replace installers by their outcomes, None for success; the list of those that ran."""
    ran: list[str] = []
    for name, outcome in outcomes.items():

        async def step(run: Any, *_: Any, name: str = name, outcome: str | None = outcome) -> str | None:
            ran.append(name)
            run.folder.mkdir(parents=True, exist_ok=True)
            await asyncio.sleep(0)  # lets another run look meanwhile
            if name == "_index_services":
                complete(Installation("", Path(), "", run.folder))
            return outcome

        monkeypatch.setattr(installation, name, step)
    return ran


def test_the_cache_follows_xdg(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_CACHE_HOME counts when it is absolute, as its specification says."""
    assert cache_folder() == cache
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "serverless-testbed"


@pytest.mark.parametrize("version", ["4.9.2", "4.14.0"])
def test_lock_files_hold_names_versions_and_hashes_only(version: str) -> None:
    """No index address, no path, no unpinned package."""
    lines = (LOCKS / f"localstack-{version}.txt").read_text().splitlines()
    allowed = re.compile(r"[a-z0-9-]+==[\w.]+( ; [\w.'<>=! ]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lines if not allowed.fullmatch(line)] == []
    assert any(line.startswith(f"localstack-core=={version}") for line in lines)


def test_a_python_3_13_on_the_path_brings_the_newer_version(
    fake_python: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """4.14.0 is taken where its Python is found, and its folder says so."""
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    program = fake_python("echo 3.13")
    chosen = choose()
    assert (chosen.version, chosen.python) == ("4.14.0", program)
    assert re.fullmatch(r"localstack-4\.14\.0-py3\.13-[0-9a-f]{12}", chosen.folder.name)


def test_a_python_that_does_not_start_is_passed_over(
    fake_python: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version manager's shim for a version that it does not have is not a Python."""
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    fake_python("exit 127")
    assert (choose().version, choose().python) == ("4.9.2", Path(sys.executable))


def test_an_unsupported_python_is_named_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither version runs on 3.15."""
    monkeypatch.setattr(sys, "version_info", (3, 15, 0))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HarnessError, match=r"Python 3\.15") as caught:
        choose()
    assert "python3.13" in caught.value.hint


async def test_what_is_installed_is_not_installed_again(old: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second run on nothing happens and nothing is said."""
    complete(old)
    ran = steps(monkeypatch, _install_with_uv=None)
    said: list[str] = []
    await ensure_installed(old, said.append, {})
    assert (ran, said) == ([], [])


async def test_two_runs_at_once_install_once(old: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one waits for the first, says so, and uses what it made."""
    monkeypatch.setattr(installation, "_POLL_SECONDS", 0)
    ran = steps(monkeypatch, _install_with_uv=None, _index_services=None)
    said: list[str] = []
    await asyncio.gather(*(ensure_installed(old, said.append, {}) for _ in range(2)))
    assert ran == ["_install_with_uv", "_index_services"]
    assert "another run is installing LocalStack; waiting for it" in said
    assert old.present


async def test_pip_steps_in_when_uv_fails(old: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a reason other than the network, pip is tried."""
    ran = steps(monkeypatch, _install_with_uv="No module named uv", _install_with_pip=None, _index_services=None)
    await ensure_installed(old, lambda _line: None, {})
    assert ran == ["_install_with_uv", "_install_with_pip", "_index_services"]
    assert old.present


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("error: error sending request\n  cause: client error (Connect)\n  cause: dns error", "cannot be reached"),
        ("OSError: [Errno 28] No space left on device", "no disk space"),
    ],
)
async def test_without_network_or_space_nothing_is_left(
    output: str, message: str, old: Installation, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says which of the two it is, pip is not tried, and no half installation stays."""
    ran = steps(monkeypatch, _install_with_uv=output, _install_with_pip=None)
    with pytest.raises(HarnessError, match=message) as caught:
        await ensure_installed(old, lambda _line: None, {})
    assert caught.value.hint
    assert ran == ["_install_with_uv"]
    assert names(cache) == {f"{old.folder.name}.lock"}


async def test_a_full_disk_is_noticed_before_the_download(old: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with too little room is refused at once."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(1, 1, 0))
    ran = steps(monkeypatch, _install_with_uv=None)
    with pytest.raises(HarnessError, match="no disk space"):
        await ensure_installed(old, lambda _line: None, {})
    assert ran == []


async def test_the_installers_own_complaint_is_shown(old: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw reaches the user in the installer's words."""
    steps(monkeypatch, _install_with_uv="strange", _install_with_pip="hash mismatch for rolo")
    with pytest.raises(HarnessError, match="hash mismatch for rolo"):
        await ensure_installed(old, lambda _line: None, {})
