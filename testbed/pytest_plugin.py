"""The testbed in other people's tests (entry point ``pytest11``).

    def test_no_order_is_lost(run_scenario):
        verdict = run_scenario("scenarios/flash_sale.py", architectures=["buffered-sqs"], scale=0.3)
        assert verdict.verdict == "valid"

Every pytest run of somebody who has the testbed installed loads this module: it imports nothing heavy by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import pytest

from testbed.engine_option import ENGINES, VARIABLE, default_engine

if TYPE_CHECKING:
    from testbed.chaos.fault import Fault
    from testbed.ledger.verdict import RunVerdict

_SEED: Final = 42


class RunScenario(Protocol):
    """What the fixture ``run_scenario`` is."""

    def __call__(
        self,
        scenario: str | Path,
        *,
        architectures: Sequence[str] = (),
        scale: float = 1.0,
        seed: int | None = None,
        chaos: Sequence[Fault] | None = None,
    ) -> RunVerdict:
        """Run a scenario, by name or by path, and return its verdict; the run folder is kept.

        Args:
            scenario: Name or path.
            architectures: Only these; empty for all.
            scale: Factor for the length of the traffic.
            seed: Seed of everything random; ``--testbed-seed`` where it is None.
            chaos: Faults in place of the scenario's, whose poison stays; None leaves the scenario's.

        Raises:
            TestbedError: The testbed cannot do its work.
        """
        ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the testbed's options."""
    group = parser.getgroup("testbed")
    group.addoption("--testbed-seed", type=int, default=_SEED, help=f"seed of scenario runs (default {_SEED})")
    group.addoption("--testbed-out", type=Path, default=None, help="keep run folders here instead of in tmp_path")
    group.addoption("--testbed-engine", choices=ENGINES, default=None, help=f"default: {VARIABLE}, else auto")


@pytest.fixture
def run_scenario(request: pytest.FixtureRequest, tmp_path: Path) -> RunScenario:
    """Runs scenarios; a test that fails shows what each run broke, its report and how to replay it."""

    def run(
        scenario: str | Path,
        *,
        architectures: Sequence[str] = (),
        scale: float = 1.0,
        seed: int | None = None,
        chaos: Sequence[Fault] | None = None,
    ) -> RunVerdict:
        from testbed.catalog import load_scenario, prepared  # noqa: PLC0415 - see the module's docstring
        from testbed.chaos.catalogue import to_json  # noqa: PLC0415 - the same
        from testbed.run_folder import RunFolder, RunOptions  # noqa: PLC0415 - the same
        from testbed.runner import run_scenario  # noqa: PLC0415 - the same

        options = RunOptions(
            scenario=str(scenario),
            seed=request.config.getoption("--testbed-seed") if seed is None else seed,
            architectures=tuple(architectures),
            engine=request.config.getoption("--testbed-engine") or default_engine(),
            scale=scale,
            chaos=None if chaos is None else to_json(chaos),
        )
        chosen = prepared(load_scenario(options.scenario), options)
        folder = RunFolder(request.config.getoption("--testbed-out") or tmp_path / "runs", chosen.name, options.seed)
        verdict = asyncio.run(run_scenario(chosen, options, folder, lambda _: None, lambda _: None))
        lines = [
            f"{chosen.name}: {verdict.verdict}",
            *(
                f"{'not known' if claim.holds is None else 'broken'}: {name}: {claim.claim}: {claim.observed}"
                for name, found in verdict.architectures.items()
                for claim in found.expectations
                if not claim.holds
            ),
            f"Report: {folder.path / 'report.html'}",
            f"Replay: testbed replay {folder.path}",
        ]
        request.node.add_report_section("call", "testbed", "\n".join(lines))
        return verdict

    return run
