"""What a replay reads of the run that it repeats, and what it refuses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed import Architecture, Constant, Deployment, Scenario, Throttle, Traffic
from testbed.chaos.faults.part_down import PartDown
from testbed.chaos.trigger import at_most
from testbed.errors import HarnessError, UsageError
from testbed.load.orders import Request
from testbed.replay import EarlierRun, deciding, earlier_run, missed_line
from testbed.run_folder import BROKEN_OFF, RunFolder, RunOptions

SCENARIO = Scenario(
    name="s",
    summary="",
    traffic=Traffic(arrivals=Constant(rate=10, seconds=1), order=lambda order_id, _: {"id": order_id}),
    chaos=[Throttle(service="sqs", probability=0.5), PartDown(name="down", part="postgres", at=1, seconds=1)],
    architectures=[
        Architecture(name="a", summary="", deploy=lambda *_: Deployment(url=""), expectations=[]),
        Architecture(
            name="b",
            summary="",
            deploy=lambda *_: Deployment(url=""),
            expectations=[],
            chaos=[Throttle(name="own", service="lambda", during=(0, 2), when=at_most(3))],
        ),
    ],
)
HOPS: list[dict[str, Any]] = [
    {"architecture": "a", "hop": "sample"},
    {"architecture": "a", "hop": "fault", "fault": "throttle-1", "identity": "i", "attempt": 1},
    {"architecture": "a", "hop": "fault", "fault": "down", "event": "began"},
    {"architecture": "a", "hop": "fault", "fault": "throttle-1", "identity": "i", "attempt": 2},
    {"architecture": "b", "hop": "fault", "fault": "own", "identity": "j", "attempt": 1},
]


def planned(scenario: Scenario, seed: int = 1) -> list[Request]:
    """Its traffic."""
    return scenario.traffic.plan(seed, scenario.poison)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """The folder of a run that came to its end."""
    folder = RunFolder(tmp_path, "s", 1)
    folder.write_manifest(RunOptions(scenario="s", seed=1), {}, {}, deciding(SCENARIO, planned(SCENARIO)))
    folder.write_json("verdict.json", {})
    journal(folder.path, HOPS)
    return folder.path


def journal(folder: Path, hops: Sequence[Mapping[str, Any]], torn: str = "") -> None:
    """Write the journal."""
    (folder / "journal.jsonl").write_text("".join(json.dumps(hop) + "\n" for hop in hops) + torn)


def read(folder: Path, scenario: Scenario = SCENARIO, seed: int = 1) -> EarlierRun:
    """What a replay by this scenario reads."""
    return earlier_run(folder, scenario, planned(scenario, seed))


def test_the_hits_of_calls_are_repeated_by_architecture(run_dir: Path) -> None:
    """In the order of the journal; timed faults are none: they begin at their times again."""
    earlier = read(run_dir)
    assert earlier.hits == {"a": [("throttle-1", "i", 1), ("throttle-1", "i", 2)], "b": [("own", "j", 1)]}
    assert earlier.is_whole


def test_a_torn_journal_tells_what_it_has(run_dir: Path) -> None:
    """The half line of a killed run is none, and it is said that there was more; so it is without a verdict."""
    journal(run_dir, HOPS[:2], torn='{"architecture": "a", "ho')
    assert read(run_dir) == EarlierRun({"a": [("throttle-1", "i", 1)]}, is_whole=False)
    journal(run_dir, HOPS)
    (run_dir / "verdict.json").unlink()
    assert not read(run_dir).is_whole


def test_an_interrupted_run_is_not_whole(run_dir: Path) -> None:
    """It has a verdict all the same, and says why it broke off."""
    (run_dir / BROKEN_OFF).write_text('{"reason": "the run was interrupted"}')
    assert not read(run_dir).is_whole


def test_an_empty_journal_is_whole(run_dir: Path) -> None:
    """A run without faults that ended before its first hop."""
    journal(run_dir, [])
    assert read(run_dir) == EarlierRun({}, is_whole=True)


def test_a_damaged_or_missing_journal_is_refused(run_dir: Path) -> None:
    """Nothing should be concluded from it."""
    (run_dir / "journal.jsonl").write_text("no JSON\n" + json.dumps(HOPS[1]) + "\n")
    with pytest.raises(HarnessError, match="line 1 is not a JSON object"):
        read(run_dir)
    (run_dir / "journal.jsonl").unlink()
    with pytest.raises(UsageError, match="has no journal") as refused:
        read(run_dir)
    assert "testbed run" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("chaos", "named"),
    [
        ([*SCENARIO.chaos, Throttle(service="kinesis")], "throttle-3"),
        ([Throttle(service="sqs", probability=0.6), *SCENARIO.chaos[1:]], "throttle-1"),
        ([SCENARIO.chaos[0], PartDown(name="down", part="postgres", at=2, seconds=1)], "down"),
        ([], "down, throttle-1"),
        ([replace(SCENARIO.chaos[1]), replace(SCENARIO.chaos[0], name="throttle-1")], "their order"),
    ],
)
def test_changed_faults_are_refused_by_name(run_dir: Path, chaos: list[Any], named: str) -> None:
    """One more, another probability, another time, none at all, another order."""
    with pytest.raises(UsageError, match=f"architecture 'a' are not those of .*: {named}$"):
        read(run_dir, replace(SCENARIO, chaos=chaos))


def test_changed_traffic_is_refused(run_dir: Path) -> None:
    """Other orders or other times: no hit would find its call."""
    faster = replace(SCENARIO, traffic=replace(SCENARIO.traffic, arrivals=Constant(rate=20, seconds=1)))
    with pytest.raises(UsageError, match="the scenario's traffic has changed"):
        read(run_dir, faster)
    with pytest.raises(UsageError, match="the scenario's traffic has changed"):
        read(run_dir, seed=2)


def test_the_content_of_orders_may_change(run_dir: Path) -> None:
    """What they say decides no fault."""
    other = replace(SCENARIO, traffic=replace(SCENARIO.traffic, order=lambda order_id, _: {"id": order_id, "n": 2}))
    assert read(run_dir, other).hits


@pytest.mark.parametrize("hop", [HOPS[4] | {"architecture": "gone"}, HOPS[4] | {"fault": "gone"}])
def test_a_run_of_an_earlier_version_is_checked_by_its_journal(run_dir: Path, hop: dict[str, Any]) -> None:
    """Its manifest does not tell the faults; a hit of one that is gone does."""
    manifest = json.loads((run_dir / "manifest.json").read_text())
    del manifest["deciding"]
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    assert read(run_dir).is_whole
    journal(run_dir, [*HOPS, hop])
    with pytest.raises(UsageError, match="the scenario does not have both any more"):
        read(run_dir)


def test_people_are_told_what_found_no_call_again() -> None:
    """How many of how many, of which faults, and why that can be."""
    assert missed_line("a", 7, {}) == "replay: a: all 7 hits of faults were repeated"
    line = missed_line("a", 7, {"throttle-1": 2, "slow": 1})
    assert line.startswith("replay: a: 3 of 7 hits of faults found no call again (throttle-1: 2, slow: 1). ")
    assert "batches" in line
