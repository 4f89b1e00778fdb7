"""The fixture ``run_scenario``: what a failing test shows of its runs."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.ledger.verdict import ArchitectureVerdict, Claim, EngineFacts, Facts, RunVerdict

pytest_plugins = ["pytester"]

ENGINE = EngineFacts(
    mode="process", emulator="localstack", emulator_version="4", postgres_version="16", max_connections=20
)
TEST = """
def test_orders(run_scenario):
    assert run_scenario("flash-sale").verdict == "valid"
"""


def runs(*claims: Claim) -> Callable[..., Any]:
    """In place of the run: one architecture with these claims."""

    async def run_scenario(scenario: Any, options: Any, *_: Any) -> RunVerdict:
        await asyncio.sleep(0)
        found = {"sync": ArchitectureVerdict(Facts(), claims)}
        return RunVerdict(scenario=scenario.name, seed=options.seed, engine=ENGINE, architectures=found)

    return run_scenario


def test_a_test_that_fails_shows_what_was_broken(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And what could not be seen, the report and the replay; not what holds."""
    claims = (
        Claim("no order is lost", holds=False, observed="3 of 7"),
        Claim("the harness could see everything", holds=None, observed="never drained"),
        Claim("no poison is stored", holds=True, observed="0 of 1"),
    )
    monkeypatch.setattr("testbed.runner.run_scenario", runs(*claims))
    pytester.makepyfile(TEST)
    result = pytester.runpytest_inprocess("-p", "no:asyncio", "--testbed-out", str(tmp_path))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "flash-sale: unknown",
            "broken: sync: no order is lost: 3 of 7",
            "not known: sync: the harness could see everything: never drained",
            f"Report: {tmp_path}/*/report.html",
            f"Replay: testbed replay {tmp_path}/*",
        ],
        consecutive=True,
    )
    assert "no poison is stored" not in result.stdout.str()
