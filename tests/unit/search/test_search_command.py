"""The command: what it says when a search is broken off."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from testbed.errors import EngineDiedError, UsageError
from testbed.ledger.verdict import Verdict
from testbed.search import command
from testbed.search.hunt import Candidate, Find, Outcome
from testbed.search.session import Session

SCENARIO = Path(__file__).parents[2] / "integration" / "scenarios" / "searched.py"
FOUND = Find(Candidate((), 1), Outcome(Verdict.INVALID), (1, 3))
DIED = EngineDiedError("LocalStack", "was killed by SIGKILL")


def asked(out: Path, scenario: Path = SCENARIO) -> argparse.Namespace:
    return argparse.Namespace(
        scenario=str(scenario), runs=5, seed=1, architecture=["forgetful"], engine="process", scale=1.0, fault=[],
        out=out,
    )  # fmt: skip


def never(_: object) -> NoReturn:
    raise AssertionError("nothing is started")


@pytest.fixture
def broken_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException, Find | None], None]:
    """Breaks a search off, after it has found something or nothing."""

    def broken(error: BaseException, best: Find | None) -> None:
        def searched(session: Session, _: object) -> NoReturn:
            session.hunt.best = best
            if best:
                session.test.write_text("def test_it(): ...")
            raise error

        monkeypatch.setattr(command, "_searched", searched)

    return broken


@pytest.mark.parametrize("error", [DIED, KeyboardInterrupt()])
def test_what_was_found_before_the_end_is_told(
    broken_by: Callable[..., None], error: BaseException, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The test is printed, and says where it is."""
    broken_by(error, FOUND)
    said: list[str] = []
    ended: Any = None
    try:
        ended = command.search(asked(tmp_path), never, said.append)
    except EngineDiedError as died:
        ended = died
    assert ended == (DIED if error is DIED else 2)
    assert "def test_it" in capsys.readouterr().out
    [line] = said
    assert str(tmp_path) in line
    assert "the smallest find so far" in line


@pytest.mark.parametrize("error", [DIED, KeyboardInterrupt()])
def test_a_search_that_found_nothing_leaves_nothing(
    broken_by: Callable[..., None], error: BaseException, tmp_path: Path
) -> None:
    """No empty folder."""
    broken_by(error, None)
    with pytest.raises(type(error)):
        command.search(asked(tmp_path), never, never)
    assert [path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()] == []


def test_orders_that_cannot_be_made_are_told_before_anything_starts(tmp_path: Path) -> None:
    """As by a run."""
    broken = tmp_path / "broken.py"
    text = SCENARIO.read_text(encoding="utf-8")
    broken.write_text(
        text + "\nfrom dataclasses import replace\n"
        "SCENARIO = replace(SCENARIO, traffic=replace(SCENARIO.traffic, order=lambda *_: 1 / 0))\n"
    )
    with pytest.raises(UsageError, match="cannot be planned"):
        command.search(asked(tmp_path, broken), never, never)
