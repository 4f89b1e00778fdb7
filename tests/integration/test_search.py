"""Searches on a testbed that runs: what loses orders is found, and what does not is left alone."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command import assert_nothing_is_left, command, ran

from testbed.engine.installation import cache_folder

SEARCHED = Path(__file__).parent / "scenarios" / "searched.py"


def search(architecture: str, runs: int) -> list[str | Path]:
    """The arguments of a quick search."""
    return [
        "search", SEARCHED, "--architecture", architecture, "--runs", str(runs), "--seed", "5", "--fault", "Throttle",
    ]  # fmt: skip


@pytest.mark.one_engine
def test_a_forgetful_front_is_found_out(tmp_path: Path) -> None:
    """By a throttle of its queue; the test that is printed fails for the same reason."""
    found = ran(tmp_path, *search("forgetful", 2), XDG_CACHE_HOME=_cache(tmp_path))
    assert found.process.returncode == 1, found.err
    assert 'service="sqs"' in found.out
    assert (found.run_folder / "test_found.py").read_text(encoding="utf-8").strip() == found.out.strip()
    assert found.document("verdict.json")["architectures"]["forgetful"]["ledger"]["lost"] > 0
    saved = tmp_path / "test_saved.py"
    saved.write_text(found.out, encoding="utf-8")
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", saved],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert tested.returncode == 1, tested.stdout
    assert "searched: invalid" in tested.stdout
    assert "1 failed" in tested.stdout


@pytest.mark.one_engine
def test_an_honest_front_is_left_alone(tmp_path: Path) -> None:
    """Three schedules, and no find; nothing is left in the folder for runs."""
    done = ran(tmp_path, *search("honest", 3), XDG_CACHE_HOME=_cache(tmp_path))
    assert done.process.returncode == 0, done.err
    assert "honest: nothing found with seed 5; " in done.err
    assert done.out == ""
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.one_engine
def test_ctrl_c_leaves_the_best_find(tmp_path: Path) -> None:
    """And no process."""
    with command(tmp_path, *search("forgetful", 2), XDG_CACHE_HOME=_cache(tmp_path)) as searching:
        token = searching.token()
        searching.until(lambda: "looking for a smaller one" in searching.err, "a find")
        searching.process.send_signal(signal.SIGINT)
        assert searching.wait() == 2
    assert "def test_forgetful_keeps_what_it_promises(run_scenario):" in searching.out
    assert (searching.run_folder / "test_found.py").exists()
    assert_nothing_is_left(token)


def _cache(folder: Path) -> str:
    """A cache of its own for finds, with the user's installation of LocalStack in it."""
    own = folder / "cache" / "serverless-testbed"
    own.mkdir(parents=True)
    for each in cache_folder().iterdir():
        if each.name != "search":
            (own / each.name).symlink_to(each)
    return str(own.parent)
