"""The history survives kills, and says clearly when it can't be written or trusted."""

import json
from pathlib import Path

import pytest

from testbed.errors import HarnessError, UsageError
from testbed.ledger.history import Attempt, HistoryWriter, Outcome, read_history
from testbed.ledger.jsonl import read_journal

ANSWERED = Attempt(
    architecture="sync",
    id="o-000001-ab",
    planned=0.5,
    sent=0.501,
    finished=0.6,
    outcome=Outcome.REFUSED,
    status=503,
    error="too_many_connections",
    trace="1-000001f4-aa",
    poison="broken json: ä",
)
UNSENT = Attempt(
    architecture="sync", id="o-2", planned=0.7, sent=None, finished=None, outcome=Outcome.UNSENT, trace="1-0-b"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def test_what_was_written_is_read_back(path: Path) -> None:
    """Every field of every attempt survives the file, in order."""
    with HistoryWriter(path) as writer:
        writer.write(ANSWERED)
        writer.write(UNSENT)
    assert list(read_history(path)) == [ANSWERED, UNSENT]


def test_a_line_has_exactly_the_names_of_the_contract(path: Path) -> None:
    """Other tools read the file: its names are fixed."""
    with HistoryWriter(path) as writer:
        writer.write(UNSENT)
    assert json.loads(path.read_text()) == {
        "architecture": "sync",
        "id": "o-2",
        "planned": 0.7,
        "sent": None,
        "finished": None,
        "outcome": "unsent",
        "status": None,
        "error": None,
        "trace": "1-0-b",
        "poison": None,
    }


def test_an_attempt_is_in_the_file_before_the_writer_is_closed(path: Path) -> None:
    """A kill -9 after the write takes nothing of it."""
    with HistoryWriter(path) as writer:
        writer.write(ANSWERED)
        assert list(read_history(path)) == [ANSWERED]


def test_writing_goes_on_after_what_is_there(path: Path) -> None:
    """A second writer appends."""
    for attempt in (ANSWERED, UNSENT):
        with HistoryWriter(path) as writer:
            writer.write(attempt)
    assert list(read_history(path)) == [ANSWERED, UNSENT]


@pytest.mark.parametrize("kept", [1, 40, -60, -1])
def test_a_torn_last_line_is_left_out(path: Path, kept: int) -> None:
    """Wherever the kill cut the last line, the lines before it are read; only a whole one counts."""
    with HistoryWriter(path) as writer:
        writer.write(UNSENT)
        writer.write(ANSWERED)
    first, second = path.read_bytes().splitlines()
    path.write_bytes(first + b"\n" + second[:kept])
    assert list(read_history(path)) == [UNSENT]


def test_a_last_line_that_lacks_only_its_newline_counts(path: Path) -> None:
    """Nothing of what it says is missing."""
    with HistoryWriter(path) as writer:
        writer.write(UNSENT)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert list(read_history(path)) == [UNSENT]


def test_a_torn_line_in_the_middle_is_refused(path: Path) -> None:
    """A damaged file gives no account at all, and the line is named."""
    with HistoryWriter(path) as writer:
        writer.write(UNSENT)
        writer.write(ANSWERED)
        writer.write(UNSENT)
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:20] + b"\n" + third)
    with pytest.raises(HarnessError, match="line 2 is not a JSON object"):
        list(read_history(path))


@pytest.mark.parametrize("line", [b'{"id": "a"}\n', b'{"outcome": "perhaps"}\n', b'{"outcome": "unsent", "new": 1}\n'])
def test_an_object_that_is_no_attempt_is_refused(path: Path, line: bytes) -> None:
    """Missing, unknown or impossible fields mean another version or a changed file."""
    path.write_bytes(line)
    with pytest.raises(HarnessError, match="line 1 is not an attempt"):
        list(read_history(path))


def test_a_missing_file_is_the_users_mistake(path: Path) -> None:
    """Most likely the folder is not one of a run."""
    with pytest.raises(UsageError, match=r"history\.jsonl does not exist"):
        list(read_history(path))


def test_a_full_disk_is_said_in_words(tmp_path: Path) -> None:
    """Linux's /dev/full answers every write with ENOSPC; the close says it too, once, as the line is still missing."""
    path = tmp_path / "history.jsonl"
    path.symlink_to("/dev/full")
    writer = HistoryWriter(path)
    with pytest.raises(HarnessError, match=r"no space left on device .* run folder"):
        writer.write(ANSWERED)
    with pytest.raises(HarnessError, match=r"no space left on device .* run folder"):
        writer.close()
    writer.close()


def test_a_folder_that_is_gone_is_said_in_words(tmp_path: Path) -> None:
    """Opening fails with the path and the reason."""
    with pytest.raises(HarnessError, match=r"can't write .*history\.jsonl: No such file"):
        HistoryWriter(tmp_path / "gone" / "history.jsonl")


def test_the_journal_is_read_with_the_same_tolerance(tmp_path: Path) -> None:
    """Whole lines are hops, a torn last one is left out."""
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"t": 1, "hop": "api"}\n{"t": 2, "hop": "la')
    assert list(read_journal(path)) == [{"t": 1, "hop": "api"}]
