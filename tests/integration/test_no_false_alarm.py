"""A good architecture under the faults of the catalogue: the ledger accuses it of nothing.

A few faults with one seed by default; ``TESTBED_SOAK=50`` tries every fault with fifty.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from beds import RunOnLoop, kept_up, loop_in_background
from engines import ENGINES
from planted_bugs import MAX_CONNECTIONS, SCHEMA, Queued, _order

from testbed import (
    Architecture,
    Constant,
    Database,
    Duplicate,
    EarlyVisibility,
    EnvironmentKilled,
    Expectation,
    InvocationError,
    InvocationHttpResponse,
    LateDelivery,
    Latency,
    LostReply,
    MappingOff,
    OutOfMemory,
    PartDown,
    PartialFailure,
    Poison,
    Scenario,
    ServiceError,
    SlowColdStart,
    SlowPostgres,
    Throttle,
    Traffic,
    Unreachable,
    profiles,
)
from testbed.chaos.catalogue import FAULTS
from testbed.chaos.database_busy import ConnectionsHogged, LockHeld
from testbed.chaos.fault import Fault
from testbed.chaos.invocation import InvocationDelay
from testbed.chaos.postgres_connection import PostgresBlackHole, PostgresRefused, PostgresReset
from testbed.chaos.slow_postgres import PostgresBandwidth
from testbed.chaos.sql_error import SqlError
from testbed.chaos.taken_away import ConcurrencyTaken
from testbed.ledger.history import HistoryWriter
from testbed.ledger.verdict import ArchitectureVerdict, Facts, Verdict
from testbed.run_folder import RunFolder
from testbed.running import RunningTestbed
from testbed.trial import Place, Trial, placed

SEEDS: Final = int(os.environ.get("TESTBED_SOAK") or 1)
NAME: Final = "good"
FRONT, CONSUMER = (f"{NAME}-front",), (f"{NAME}-consumer",)
SENT = ("SendMessage",)
CHAOS: Final[Mapping[str, Fault]] = {
    "throttled front": Throttle(service="sqs", operations=SENT, probability=0.2),
    "throttled consumer": Throttle(service="lambda", resources=CONSUMER, probability=0.3),
    "queue in trouble": ServiceError(service="sqs", operations=SENT, probability=0.2),
    "slow queue": Latency(service="sqs", operations=SENT, latency_ms=100, jitter_ms=50, probability=0.3),
    "answers lost": LostReply(service="sqs", operations=SENT, probability=0.2),
    "queue out of reach": Unreachable(service="sqs", operations=SENT, probability=0.2),
    "deletions that fail": PartialFailure(service="sqs", operations=("DeleteMessageBatch",), probability=0.3),
    "sent twice": Duplicate(service="sqs", operations=SENT, probability=0.5),
    "visible at once": EarlyVisibility(probability=0.5),
    "late": LateDelivery(probability=0.3),
    "slow front": InvocationDelay(resources=FRONT, seconds=0.3, probability=0.3),
    "failing consumer": InvocationError(resources=CONSUMER, probability=0.3),
    "failing front": InvocationHttpResponse(resources=FRONT, probability=0.2),
    "killed after the work": EnvironmentKilled(resources=CONSUMER, moment="after", probability=0.3),
    "killed in the work": EnvironmentKilled(resources=CONSUMER, moment="during", probability=0.3),
    "out of memory": OutOfMemory(resources=CONSUMER, probability=0.3),
    "slow start": SlowColdStart(resources=FRONT, seconds=0.5),
    "no concurrency": ConcurrencyTaken(at=0.1, seconds=0.5, function=CONSUMER[0]),
    "mapping off": MappingOff(at=0.1, seconds=0.5, function=CONSUMER[0]),
    "slow database": SlowPostgres(latency_ms=20, jitter_ms=10),
    "narrow database": PostgresBandwidth(bytes_per_second=4000),
    "connections broken": PostgresReset(operations=("Query",), probability=0.2),
    "connections broken after the work": PostgresReset(operations=("Query",), position="after", probability=0.2),
    "database silent": PostgresBlackHole(operations=("Query",), seconds=1.5, probability=0.1),
    "database refuses": PostgresRefused(probability=0.5),
    "serialization failures": SqlError(sqlstate="40001", probability=0.2),
    "connections hogged": ConnectionsHogged(at=0.1, seconds=0.5),
    "table locked": LockHeld(at=0.1, seconds=0.5, table="orders"),
    "database paused": PartDown(at=0.1, seconds=0.5, part="postgres"),
    "database killed": PartDown(at=0.1, seconds=0.5, part="postgres", action="kill"),
    "emulator paused": PartDown(at=0.1, seconds=0.5, part="localstack"),
    "poison": Poison(kinds=("broken_json", "missing_field", "wrong_type", "database_refuses"), every=6),
}
QUICK: Final = ("throttled front", "answers lost", "deletions that fail", "visible at once", "killed after the work")
ALWAYS: Final = ("lost", "duplicated", "unexpected", "refused_but_stored", "poison_stored", "collateral")


def _none(anomaly: str) -> Expectation:
    def check(facts: Facts) -> tuple[bool, str]:
        return getattr(facts.ledger, anomaly) == 0, f"{facts.ledger.examples.get(anomaly, ())}"

    return Expectation(f"nothing is {anomaly}", check)


def _poison_is_dead(facts: Facts) -> tuple[bool, str]:
    return facts.ledger.dead_lettered == facts.ledger.poison, f"{facts.ledger.dead_lettered} of {facts.ledger.poison}"


def _scenario(fault: Fault) -> Scenario:
    """Twenty orders in half a second; a receive count that no fault here uses up."""
    return Scenario(
        name=NAME,
        summary="a good architecture",
        database=Database(max_connections=MAX_CONNECTIONS, schema=SCHEMA),
        traffic=Traffic(arrivals=Constant(rate=40, seconds=0.5), order=_order, timeout=8),
        chaos=[fault],
        profile=profiles.aws.compress(10),
        architectures=[
            Architecture(
                name=NAME,
                summary="API Gateway -> Lambda -> SQS -> Lambda -> Postgres",
                deploy=lambda aws, db: Queued(receives=10)(NAME, aws, db),
                expectations=[*map(_none, ALWAYS), Expectation("poison is dead-lettered", _poison_is_dead)],
            )
        ],
        drain_seconds=40,
    )


@pytest.fixture(scope="module")
def stood(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RunningTestbed, Place, RunOnLoop[ArchitectureVerdict]]]:
    """One testbed for all, with the architecture deployed once."""
    scenario = _scenario(CHAOS["poison"])
    with (
        loop_in_background() as run,
        kept_up(run, ENGINES.tested[0], tmp_path_factory.mktemp("logs"), max_connections=MAX_CONNECTIONS) as running,
    ):
        yield running, run(placed(scenario, scenario.architectures[0], running)), run


def _emptied(bed: RunningTestbed, place: Place) -> None:
    place.db.execute("TRUNCATE orders")
    sqs = bed.aws.client("sqs")
    sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName=f"{NAME}-dead")["QueueUrl"])


@pytest.mark.one_engine
@pytest.mark.timeout(60 * SEEDS)
@pytest.mark.parametrize("chaos", CHAOS if "TESTBED_SOAK" in os.environ else QUICK)
def test_a_good_architecture_is_accused_of_nothing(
    chaos: str, stood: tuple[RunningTestbed, Place, RunOnLoop[ArchitectureVerdict]], tmp_path: Path
) -> None:
    """Valid where the fault fired; unknown where its seed let it hit nothing; never invalid."""
    bed, place, run = stood
    scenario = _scenario(CHAOS[chaos])
    for seed in range(1, SEEDS + 1):
        folder = RunFolder(tmp_path, scenario.name, seed)
        with HistoryWriter(folder.history) as history:
            trial = Trial(
                bed=bed,
                scenario=scenario,
                architecture=scenario.architectures[0],
                seed=seed,
                replayed=None,
                requests=scenario.traffic.plan(seed, scenario.poison),
                folder=folder,
                history=history,
                show=lambda _: None,
                place=place,
            )
            found = run(trial.run())
        _emptied(bed, place)
        fired = found.facts.faults.fired + trial.poisoned
        wrong = [claim for claim in found.expectations if not claim.holds]
        assert found.verdict is (Verdict.VALID if fired else Verdict.UNKNOWN), (seed, folder.path, wrong, found.facts)


def test_every_fault_of_the_catalogue_is_tried() -> None:
    """With ``TESTBED_SOAK``, and a new one is not forgotten."""
    assert {type(fault) for fault in CHAOS.values()} == set(FAULTS.values())
    assert set(QUICK) <= CHAOS.keys()
