"""The journal of a run: every line is kept, and a disk that is full takes nothing down."""

import json
from pathlib import Path

import pytest

from testbed.gateway.journal import Journal

FULL = Path("/dev/full")


def lines(path: Path) -> list[dict[str, object]]:
    """What was written."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_says_when_where_and_what(tmp_path: Path) -> None:
    """Time, architecture, hop and fields, in this order; what is no JSON is told as text."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(lambda: 1.23456)
    journal.open(path, "sync")
    journal.record("api", status=200, path=Path("/orders"), text="\udce9 é\n")
    journal.close()
    (line,) = lines(path)
    assert list(line.items()) == [
        ("t", 1.2346),
        ("architecture", "sync"),
        ("hop", "api"),
        ("status", 200),
        ("path", "/orders"),
        ("text", "\udce9 é\n"),
    ]


def test_architectures_follow_each_other_in_one_file(tmp_path: Path) -> None:
    """Opening again closes what was open, and keeps it."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(lambda: 0.0)
    for name in ("sync", "buffered"):
        journal.open(path, name)
        journal.record("api")
    journal.close()
    assert [line["architecture"] for line in lines(path)] == ["sync", "buffered"]


def test_what_happens_outside_is_dropped(tmp_path: Path) -> None:
    """Before the first architecture and after the last there is nothing to record for."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(lambda: 0.0)
    journal.record("api")
    journal.open(path, "sync")
    journal.close()
    journal.record("api")
    journal.flush()
    assert lines(path) == []


def test_a_flush_keeps_what_was_recorded(tmp_path: Path) -> None:
    """A run that is killed afterwards has it."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(lambda: 0.0)
    journal.open(path, "sync")
    journal.record("api")
    assert lines(path) == []
    journal.flush()
    assert len(lines(path)) == 1
    journal.close()


@pytest.mark.parametrize("moment", ["record", "flush", "close"])
def test_a_full_disk_is_remembered_and_nothing_is_raised(moment: str) -> None:
    """Whenever it shows; what comes later is dropped."""
    journal = Journal(lambda: 0.0)
    journal.open(FULL, "sync")
    journal.record("api", text="x" * (2_000_000 if moment == "record" else 1))
    if moment != "record":
        assert journal.error is None
    getattr(journal, moment)(*(["api"] if moment == "record" else []))
    assert journal.error is not None
    assert "No space left on device" in str(journal.error)
    journal.record("api")
    journal.flush()
    journal.close()


def test_the_next_architecture_begins_without_an_error(tmp_path: Path) -> None:
    """There may be space again; if there is none, that shows again."""
    journal = Journal(lambda: 0.0)
    journal.open(FULL, "sync")
    journal.record("api")
    journal.flush()
    journal.open(tmp_path / "journal.jsonl", "buffered")
    assert journal.error is None
    journal.close()


def test_a_file_that_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    """That is no surprise in the middle of the traffic."""
    with pytest.raises(IsADirectoryError):
        Journal(lambda: 0.0).open(tmp_path, "sync")
