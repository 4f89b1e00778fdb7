"""A run is drained when nothing is on its way any more, though nobody may wait for it, or know of it."""

from pathlib import Path
from typing import Any

import pytest
from beds import RunOnLoop

from testbed.catalog import load_scenario
from testbed.ledger.verdict import Verdict
from testbed.run_folder import RunFolder, RunOptions
from testbed.runner import run_on
from testbed.running import RunningTestbed

SCENARIO = load_scenario(str(Path(__file__).parent / "scenarios" / "late_effects.py"))
ORDERS = 10


@pytest.mark.one_engine
@pytest.mark.parametrize("name", [each.name for each in SCENARIO.architectures])
def test_an_order_that_comes_late_is_stored(
    bed: RunningTestbed, run_on_loop: RunOnLoop[Any], tmp_path: Path, name: str
) -> None:
    """All of them are, whether their clients were told so or had given up; and none of it comes into another run."""
    options = RunOptions(scenario=SCENARIO.name, seed=1)
    folder = RunFolder(tmp_path, SCENARIO.name, 1)
    run = run_on(bed, SCENARIO.only([name]), options, folder, show=lambda _: None, tell=lambda _: None)
    found = run_on_loop(run).architectures[name]
    ledger = found.facts.ledger
    assert (ledger.attempted, ledger.stored, ledger.lost) == (ORDERS, ORDERS, 0)
    if name == "late-waiting":
        assert (ledger.acknowledged, found.verdict) == (ORDERS, Verdict.VALID)
    else:
        assert ledger.acknowledged == 0
