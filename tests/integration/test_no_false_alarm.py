"""Good architectures under the faults of the catalogue: the ledger accuses them of nothing.

A few faults with one seed by default; ``TESTBED_SOAK=50`` tries every fault on every architecture with fifty, and
``TESTBED_SOAK=11-20`` with those.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from beds import RunOnLoop, kept_up, loop_in_background
from engines import ENGINES
from good_architectures import ARCHITECTURES, Chaos, Good
from planted_bugs import MAX_CONNECTIONS

from testbed import EnvironmentKilled, LockHeld, MappingOff, SqlError, Throttle
from testbed.chaos.catalogue import FAULTS
from testbed.chaos.fault import Fault
from testbed.chaos.faults.poison import Poison
from testbed.chaos.schedule import named
from testbed.errors import UsageError
from testbed.ledger.history import HistoryWriter, Outcome, read_history
from testbed.ledger.jsonl import read_journal
from testbed.ledger.verdict import ArchitectureVerdict, Verdict
from testbed.run_folder import RunFolder
from testbed.running import RunningTestbed
from testbed.trial import Place, Trial, placed

SOAK: Final = os.environ.get("TESTBED_SOAK", "")
FIRST, LAST = (SOAK if "-" in SOAK else f"1-{SOAK or 1}").split("-")
SEEDS: Final = range(int(FIRST), int(LAST) + 1)
QUICK: Final = {
    "direct": ("lost-replies", "reset-after"),
    "queue": ("lost-replies", "deletions-that-fail"),
    "stream": ("errors",),
    "event": ("killed-after",),
}
NEVER: Final[Chaos] = (
    Throttle(name="of a service that nobody calls", service="sns"),
    EnvironmentKilled(name="of a function that nobody invokes", resources=("nobody",)),
    SqlError(name="of transactions that nobody opens", sqlstate="40001", operations=("Commit",)),
    LockHeld(name="after the end", at=100, seconds=1, table="orders"),
)


@dataclass(frozen=True)
class Tried:
    """A trial that is over.

    Attributes:
        found: What was found.
        silent: Names of the faults that did nothing, by journal and history.
        taken: How many orders were acknowledged, by the history.
        folder: Where these are.
    """

    found: ArchitectureVerdict
    silent: frozenset[str]
    taken: int
    folder: Path

    @property
    def wrong(self) -> str:
        """What is wrong with the verdict.

        It must be valid where all faults fired and an order got through, and unknown where not.
        """
        if self.found.verdict is (Verdict.UNKNOWN if self.silent or not self.taken else Verdict.VALID):
            return ""
        claims = [claim for claim in self.found.expectations if not claim.holds]
        silent = sorted(self.silent)
        return f"{self.found.verdict} in {self.folder}, {silent=}: {claims}, {self.found.facts.ledger}"


Try = Callable[[Good, str, Chaos, int], Tried]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningTestbed, RunOnLoop[object]]]:
    """One testbed for all."""
    logs = tmp_path_factory.mktemp("logs")
    with (
        loop_in_background() as run,
        kept_up(run, ENGINES.tested[0], logs, max_connections=MAX_CONNECTIONS) as running,
    ):
        yield running, run


@pytest.fixture(scope="module")
def places() -> dict[str, Place]:
    """What is deployed, by name; it stays, and is emptied after each trial."""
    return {}


@pytest.fixture
def tried(bed: tuple[RunningTestbed, RunOnLoop[object]], places: dict[str, Place], tmp_path: Path) -> Try:
    """Puts an architecture under chaos with a seed."""
    running, run = bed
    sqs = running.aws.client("sqs")

    def tried(good: Good, chaos: str, faults: Chaos, seed: int) -> Tried:
        scenario, requests = good.scenario(chaos, faults).planned(seed)
        (architecture,) = scenario.architectures
        if architecture.name not in places:
            places[architecture.name] = run(placed(scenario, architecture, running))  # type: ignore[assignment]
        place = places[architecture.name]
        folder = RunFolder(tmp_path, scenario.name, seed)
        with HistoryWriter(folder.history) as history:
            trial = Trial(
                bed=running,
                scenario=scenario,
                architecture=architecture,
                seed=seed,
                requests=requests,
                folder=folder,
                history=history,
                place=place,
            )
            found = run(trial.run())
        _emptied(sqs, place)
        assert isinstance(found, ArchitectureVerdict)
        taken = sum(attempt.outcome is Outcome.ACKNOWLEDGED for attempt in read_history(folder.history))
        return Tried(found, _silent(tuple(scenario.chaos), folder), taken, folder.path)

    return tried


def _silent(faults: Chaos, folder: RunFolder) -> frozenset[str]:
    acted = {hop["fault"] for hop in read_journal(folder.journal) if hop["hop"] == "fault"}
    poisoned = any(attempt.poison for attempt in read_history(folder.history))
    return frozenset(
        fault.name for fault in named(faults) if not (poisoned if isinstance(fault, Poison) else fault.name in acted)
    )


def _emptied(sqs: Any, place: Place) -> None:
    place.db.execute("TRUNCATE orders")
    for destination in place.deployment.dead_letters:
        name = getattr(destination, "queue", None) or getattr(destination, "name", None)
        sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])


def _trials() -> list[tuple[Good, str]]:
    return [(good, chaos) for good in ARCHITECTURES for chaos in (good.chaos if SOAK else QUICK[good.name])]


@pytest.mark.one_engine
@pytest.mark.timeout(60 * len(SEEDS))
@pytest.mark.parametrize(("good", "chaos"), [pytest.param(*each, id=f"{each[0].name}-{each[1]}") for each in _trials()])
def test_a_good_architecture_is_accused_of_nothing(good: Good, chaos: str, tried: Try) -> None:
    """Valid where the fault fired; unknown where its seed let it hit nothing, or everything; never invalid."""
    started = time.monotonic()
    trials = {seed: tried(good, chaos, good.chaos[chaos], seed) for seed in SEEDS}
    seconds = (time.monotonic() - started) / len(SEEDS)
    verdicts = Counter(each.found.verdict.value for each in trials.values())
    wrong = [f"seed {seed}: {each.wrong}" for seed, each in trials.items() if each.wrong]
    print("\n".join([f"{good.name} {chaos}: {dict(verdicts)}, {seconds:.2f} s each", *wrong]))  # noqa: T201 - pytest -s
    assert not wrong, "\n".join(wrong)


@pytest.mark.one_engine
@pytest.mark.parametrize("good", ARCHITECTURES if SOAK else ARCHITECTURES[2:3], ids=lambda good: good.name)
def test_what_cannot_act_leaves_the_verdict_unknown(good: Good, tried: Try) -> None:
    """Each fault that did nothing is named, whatever else fired."""
    never = [fault for fault, _ in good.cannot.values() if fault]
    faults = tuple(named([*NEVER, *never]))
    acts = Throttle(name="acts", service="execute-api", probability=0.5)
    each = tried(good, "never", (*faults, acts), 1)
    assert each.silent == {fault.name for fault in faults}
    assert each.found.verdict is Verdict.UNKNOWN
    unknown = {claim.observed for claim in each.found.expectations if claim.holds is None}
    assert unknown == {f"the armed fault {fault.name} never fired" for fault in faults}
    assert all(claim.holds is not False for claim in each.found.expectations)


@pytest.mark.one_engine
def test_a_fault_without_anything_to_act_on_is_refused(tried: Try) -> None:
    """A mapping cannot be switched off where there is none."""
    (direct,) = (good for good in ARCHITECTURES if good.name == "direct")
    with pytest.raises(UsageError, match="no event source mapping"):
        tried(direct, "never", (MappingOff(at=0, seconds=1, function="direct"),), 1)


def test_every_fault_of_the_catalogue_is_tried() -> None:
    """With ``TESTBED_SOAK``, on each architecture unless it is said why it cannot act there; none is forgotten."""
    for good in ARCHITECTURES:
        acts: set[type[Fault]] = {type(fault) for faults in good.chaos.values() for fault in faults}
        assert not acts & good.cannot.keys()
        assert acts | good.cannot.keys() == set(FAULTS.values())
        assert set(QUICK[good.name]) <= good.chaos.keys()
