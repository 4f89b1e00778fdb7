"""Child processes and containers are the same testbed: one seed decides the same on both."""

import asyncio
from pathlib import Path

import pytest
from engines import ENGINES, MODES
from sale import Fate, Sale, sale_on

from testbed.catalog import load_scenario
from testbed.chaos.schedule import named
from testbed.ledger.jsonl import read_journal
from testbed.run_folder import RunFolder, RunOptions
from testbed.runner import run_scenario

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(ENGINES.missing), reason=f"not tested here: {dict(ENGINES.missing)}"),
]
MANY_FAULTS = load_scenario(str(Path(__file__).parent / "scenarios" / "many_faults.py"))
ARCHITECTURES = ["sync", "buffered-sqs", "buffered-kinesis"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[Sale]:
    """The same sale on each engine."""
    return [sale_on(mode, tmp_path_factory.mktemp(mode)) for mode in MODES]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_calls_are_hit(both: list[Sale], architecture: str) -> None:
    """Each fault hits the same attempts of the same invokes, SendMessage and PutRecord calls."""
    process, container = (sale.decided(architecture) for sale in both)
    assert len(process) > 10
    assert process == container


@pytest.mark.parametrize("architecture", ["buffered-sqs", "buffered-kinesis"])
def test_every_buffered_order_meets_the_same_fate(both: list[Sale], architecture: str) -> None:
    """All are accepted; the good ones are stored, the poison is dead-lettered."""
    process, container = (sale.fates[architecture] for sale in both)
    assert process == container
    for fate in process.values():
        assert fate == Fate("acknowledged", None, "dead-lettered" if fate.poison else "stored", fate.poison)


def test_every_order_that_the_seed_refuses_is_refused_alike(both: list[Sale]) -> None:
    """Throttled invokes, and poison that needs no database to be seen: the connection limit is a matter of timing."""
    process, container = (refused_by_seed(sale) for sale in both)
    assert process == container
    assert {(fate.outcome, fate.where) for fate in process.values()} == {("refused", "nowhere")}
    assert {fate.error for fate in process.values()} == {None, "invalid order"}


def refused_by_seed(sale: Sale) -> dict[str, Fate]:
    """The orders that `sync` cannot take whatever the timing."""
    throttled = sale.throttled("sync")
    return {
        order: fate
        for order, fate in sale.fates["sync"].items()
        if order in throttled or fate.poison not in {None, "database_refuses"}
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_orders_are_poison_and_none_is_stored(both: list[Sale], architecture: str) -> None:
    """Of each kind."""
    process, container = (
        {order: fate for order, fate in sale.fates[architecture].items() if fate.poison} for sale in both
    )
    assert {order: fate.poison for order, fate in process.items()} == {
        order: fate.poison for order, fate in container.items()
    }
    assert {fate.where for found in (process, container) for fate in found.values()} <= {"nowhere", "dead-lettered"}


def test_faults_of_every_hop_hit_the_same_calls(tmp_path: Path) -> None:
    """Those of APIs, invokes and functions' calls alike: each hit, with its delay, its answer and its effect."""
    process, container = (hits_on(mode, tmp_path / mode) for mode in MODES)
    assert {fault for fault, *_ in process} == {fault.name for fault in named(MANY_FAULTS.chaos)}
    assert process == container


def hits_on(mode: str, runs: Path) -> set[tuple[object, ...]]:
    """What the journal says of the faults in a run on an engine."""
    options = RunOptions(scenario=MANY_FAULTS.name, seed=4, engine=mode)
    folder = RunFolder(runs, MANY_FAULTS.name, options.seed)
    asyncio.run(run_scenario(MANY_FAULTS, options, folder, lambda _: None, lambda _: None))
    return {
        tuple(hop[field] for field in ("fault", "identity", "attempt", "at", "delay_ms", "error", "effect"))
        for hop in read_journal(folder.journal)
        if hop["hop"] == "fault"
    }
