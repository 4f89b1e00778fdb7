"""Concurrency and mappings that are taken away in a trial: begun, ended, undone, and written down."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from beds import RunOnLoop
from observing import JournalReader

from testbed.catalog import load_scenario
from testbed.chaos.timed import TimedFault
from testbed.ledger.history import HistoryWriter
from testbed.run_folder import RunFolder
from testbed.running import RunningTestbed
from testbed.trial import Place, Trial, placed

pytestmark = pytest.mark.one_engine

SCENARIO = load_scenario(str(Path(__file__).parent / "scenarios" / "taken_away.py"))
SEED = 1
Places = dict[str, Place]


@pytest.fixture(scope="module")
def places(bed: RunningTestbed, run_on_loop: RunOnLoop[Any]) -> Iterator[Places]:
    """Each architecture, deployed once."""
    yield {each.name: run_on_loop(placed(SCENARIO, each, bed)) for each in SCENARIO.architectures}
    client = bed.aws.client("lambda")
    for mapping in mappings(bed):
        client.delete_event_source_mapping(UUID=mapping["UUID"])


@contextmanager
def trial(
    bed: RunningTestbed, places: Places, name: str, folder: Path, *, at: float, seconds: float
) -> Iterator[Trial]:
    """A trial of one of them, whose fault has other times than in the scenario."""
    architecture = next(each for each in SCENARIO.architectures if each.name == name)
    (fault,) = architecture.chaos
    assert isinstance(fault, TimedFault)
    architecture = replace(architecture, chaos=[replace(fault, at=at, seconds=seconds)])
    run_folder = RunFolder(folder, SCENARIO.name, SEED)
    with HistoryWriter(run_folder.history) as history:
        yield Trial(
            bed=bed,
            scenario=SCENARIO,
            architecture=architecture,
            seed=SEED,
            requests=SCENARIO.traffic.plan(SEED, SCENARIO.poison),
            folder=run_folder,
            history=history,
            place=places[name],
        )


def mappings(bed: RunningTestbed) -> list[dict[str, Any]]:
    """Those of the consumer."""
    answer = bed.aws.client("lambda").list_event_source_mappings(FunctionName="taken-consumer")
    return list(answer["EventSourceMappings"])


def reserved(bed: RunningTestbed) -> int | None:
    """The concurrency that is reserved for the direct function."""
    answer = bed.aws.client("lambda").get_function_concurrency(FunctionName="taken-direct")
    return answer.get("ReservedConcurrentExecutions")  # type: ignore[no-any-return]


def events(trial: Trial) -> dict[str, float]:
    """When the fault began and ended, by the journal: each once."""
    lines = [line for line in JournalReader(trial.folder.journal).lines("fault") if "event" in line]
    found = {line["event"]: line["t"] for line in lines}
    assert len(lines) == len(found)
    return found


def test_concurrency_is_taken_until_the_drain_is_done(
    bed: RunningTestbed, places: Places, run_on_loop: RunOnLoop[Any], tmp_path: Path
) -> None:
    """Orders are throttled from its begin on; it would last longer than the run."""
    with trial(bed, places, "taken-direct", tmp_path, at=0.2, seconds=60.0) as under_test:
        verdict = run_on_loop(under_test.run())
    ledger = verdict.facts.ledger
    assert (ledger.lost, ledger.acknowledged + ledger.refused) == (0, 20)
    assert ledger.refused > 0
    assert {cause: len(ids) for cause, ids in verdict.facts.causes.items()} == {"throttle": ledger.refused}
    assert (verdict.facts.faults.armed, verdict.facts.faults.fired) == (1, 1)
    seen = events(under_test)
    assert 0.2 <= seen["began"] < seen["ended"] < 30
    throttled = JournalReader(under_test.folder.journal).lines("lambda", function="taken-direct", status=429)
    assert len(throttled) == ledger.refused
    assert {line["reason"] for line in throttled} == {"ReservedFunctionConcurrentInvocationLimitExceeded"}
    assert all(seen["began"] - 0.3 <= line["t"] <= seen["ended"] for line in throttled)
    assert reserved(bed) == 40


def test_a_mapping_is_off_for_its_time(
    bed: RunningTestbed, places: Places, run_on_loop: RunOnLoop[Any], tmp_path: Path
) -> None:
    """Nobody is invoked then; the orders of that time wait in the queue, and are stored afterwards."""
    with trial(bed, places, "taken-queued", tmp_path, at=0.1, seconds=2.9) as under_test:
        verdict = run_on_loop(under_test.run())
    ledger = verdict.facts.ledger
    assert (ledger.acknowledged, ledger.stored, ledger.lost, ledger.left) == (20, 20, 0, 0)
    seen = events(under_test)
    assert seen["began"] < seen["ended"]
    assert seen["ended"] >= 3.0
    invokes = JournalReader(under_test.folder.journal).lines("lambda", function="taken-consumer")
    times = [line["t"] - line["ms"] / 1000 for line in invokes]
    assert not [time for time in times if seen["began"] + 1.0 < time < 2.95]
    assert [each["State"] for each in mappings(bed)] in (["Enabled"], ["Enabling"])


@pytest.mark.parametrize(
    ("name", "is_undone"),
    [
        ("taken-direct", lambda bed: reserved(bed) == 40),
        ("taken-queued", lambda bed: [each["State"] for each in mappings(bed)] in (["Enabled"], ["Enabling"])),
    ],
)
def test_a_run_that_is_interrupted_undoes_it(  # noqa: PLR0917 - fixtures
    bed: RunningTestbed,
    places: Places,
    run_on_loop: RunOnLoop[Any],
    tmp_path: Path,
    name: str,
    is_undone: Callable[[RunningTestbed], bool],
) -> None:
    """In the middle of its traffic; the journal has the end as well."""
    with trial(bed, places, name, tmp_path, at=0.0, seconds=60.0) as under_test:

        async def interrupted() -> None:
            running = asyncio.create_task(under_test.run())
            while "began" not in events(under_test):  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.02)
            assert not await asyncio.to_thread(is_undone, bed)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await bed.plane.call("end")

        run_on_loop(interrupted())
    assert is_undone(bed)
    seen = events(under_test)
    assert seen["began"] <= seen["ended"] < 30
