"""The run folder: new for each run, whole or explained, and refused where it is of another kind."""

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import HarnessError, UsageError
from testbed.run_folder import RunFolder, RunOptions, read_options, unwritable

OPTIONS = RunOptions(
    scenario="/somewhere/mine.py",
    seed=7,
    seed_from="generated",
    architectures=("a", "b"),
    scale=0.5,
    no_chaos=True,
    chaos=[{"type": "Throttle", "service": "sqs", "during": [0, 1.5]}],
)


def begun(runs: Path, seed: int = 7) -> RunFolder:
    folder = RunFolder(runs, "mine", seed)
    folder.write_manifest(replace(OPTIONS, seed=seed), {"mode": "process"}, {})
    return folder


def test_two_runs_in_the_same_second_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name says when, what and which seed; the second one gets a number."""
    monkeypatch.setattr("time.strftime", lambda *_: "20261121T070000Z")
    names = [RunFolder(tmp_path / "runs", "mine", 7).path.name for _ in range(2)]
    assert names == ["20261121T070000Z-mine-7", "20261121T070000Z-mine-7-2"]


def test_latest_is_the_last_that_began(tmp_path: Path) -> None:
    """A run that never got as far as its manifest does not become the latest."""
    first = begun(tmp_path)
    RunFolder(tmp_path, "mine", 8)
    assert (tmp_path / "latest").resolve() == first.path
    second = begun(tmp_path, 9)
    assert (tmp_path / "latest").resolve() == second.path
    assert read_options(tmp_path / "latest").seed == 9


def test_the_manifest_gives_the_options_back(tmp_path: Path) -> None:
    """What a replay needs, all of it."""
    assert read_options(begun(tmp_path).path) == OPTIONS


def test_a_run_that_did_not_begin_can_be_discarded(tmp_path: Path) -> None:
    """One that did is never removed."""
    not_begun, did = RunFolder(tmp_path, "mine", 1), begun(tmp_path)
    not_begun.discard_unless_begun()
    did.discard_unless_begun()
    assert not not_begun.path.exists()
    assert did.path.exists()


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_schema_version_is_refused(tmp_path: Path, version: object) -> None:
    """With the version of the testbed that wrote it."""
    manifest = {"schema_version": version, "versions": {"serverless-testbed": "9.9"}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="this testbed reads 1") as caught:
        read_options(tmp_path)
    assert caught.value.hint == "it was written by version 9.9"


@pytest.mark.parametrize(
    "text", [None, "{", "[]", '{"schema_version": 1}', '{"schema_version": 1, "options": {"x": 1}}']
)
def test_what_is_no_run_folder_is_refused(tmp_path: Path, text: str | None) -> None:
    """No manifest, or not one of ours."""
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match=r"no run folder|damaged"):
        read_options(tmp_path)


def test_a_document_is_whole_or_not_there(tmp_path: Path) -> None:
    """What cannot be written leaves no half of it, and says where."""
    folder = begun(tmp_path)
    (folder.path / "verdict.json").mkdir()
    with pytest.raises(HarnessError, match=r"verdict\.json cannot be written: Is a directory"):
        folder.write_json("verdict.json", {"a": 1})
    assert not list(folder.path.glob("*.part"))


def test_an_out_that_is_no_folder_is_explained(tmp_path: Path) -> None:
    """The option that helps is named."""
    (tmp_path / "file").touch()
    with pytest.raises(HarnessError, match="cannot be written: Not a directory") as caught:
        RunFolder(tmp_path / "file" / "runs", "mine", 7)
    assert "--out" in caught.value.hint


def test_a_full_disk_is_called_so(tmp_path: Path) -> None:
    """The most common reason has its own words."""
    error: Any = unwritable(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert error.message == f"no space left on device for {tmp_path}"
    assert error.exit_code == 70
