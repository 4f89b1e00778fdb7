"""The ledger is proven: each planted bug is caught under its right name, and the same architecture mended is valid."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from beds import RunOnLoop, kept_up, loop_in_background
from engines import ENGINES
from planted_bugs import BUGS, MAX_CONNECTIONS, PlantedBug

from testbed.ledger.history import HistoryWriter
from testbed.ledger.reconcile import ANOMALIES
from testbed.ledger.verdict import ArchitectureVerdict, Verdict
from testbed.run_folder import RunFolder
from testbed.running import RunningTestbed
from testbed.trial import Trial

SEED = 42


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningTestbed, RunOnLoop[ArchitectureVerdict]]]:
    """One testbed for all of them."""
    logs = tmp_path_factory.mktemp("logs")
    with (
        loop_in_background() as run,
        kept_up(run, ENGINES.tested[0], logs, max_connections=MAX_CONNECTIONS) as running,
    ):
        yield running, run


@pytest.mark.one_engine
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_ledger_calls_it_by_its_name(
    bug: PlantedBug, bed: tuple[RunningTestbed, RunOnLoop[ArchitectureVerdict]], tmp_path: Path
) -> None:
    """Every anomaly that the bug makes and no other; never `valid`; and `valid` once it is mended."""
    running, run = bed
    naive, *mended = run(_judged(bug, running, tmp_path))
    found = tuple(name for name in ANOMALIES if getattr(naive.facts.ledger, name))
    assert found == bug.caught, naive.facts
    excused = "the machine was too slow" in naive.expectations[-1].observed  # for ghosts and collateral
    assert naive.verdict is (Verdict.UNKNOWN if bug.left or excused else Verdict.INVALID)
    assert (naive.facts.ledger.left > 0) is bug.left
    for each in mended:
        assert each.verdict is Verdict.VALID, (each.facts, [claim for claim in each.expectations if not claim.holds])
        assert each.facts.ledger.stored > 0


async def _judged(bug: PlantedBug, bed: RunningTestbed, tmp_path: Path) -> list[ArchitectureVerdict]:
    """What is found of the naive architecture and the mended one; several bugs are mended in the same way."""
    scenario = bug.scenario
    folder = RunFolder(tmp_path, scenario.name, SEED)
    requests = scenario.traffic.plan(SEED, scenario.poison)
    found = []
    with HistoryWriter(folder.history) as history:
        for architecture, way in zip(scenario.architectures, (bug.naive, bug.mended), strict=False):
            key = (repr(way), bug.fault, bug.orders)
            if key not in _judged_before:
                trial = Trial(
                    bed=bed,
                    scenario=scenario,
                    architecture=architecture,
                    seed=SEED,
                    requests=requests,
                    folder=folder,
                    history=history,
                )
                _judged_before[key] = await trial.run()
            found.append(_judged_before[key])
    return found


_judged_before: dict[tuple[str, str, int], ArchitectureVerdict] = {}
