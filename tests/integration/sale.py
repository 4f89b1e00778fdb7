"""The reference scenario in short, once per engine and session: what is known of it besides its run folder."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from testbed.catalog import load_scenario, prepared
from testbed.ledger.history import Attempt, read_history
from testbed.ledger.jsonl import read_journal
from testbed.ledger.reconcile import Observed
from testbed.ledger.verdict import RunVerdict
from testbed.run_folder import RunFolder, RunOptions
from testbed.runner import run_scenario
from testbed.running import RunningTestbed, running_testbed
from testbed.trial import Trial

SCENARIO: Final = Path(__file__).parents[2] / "scenarios" / "flash_sale.py"
SEED: Final = 42
SCALE: Final = 0.3
Fault = tuple[str, str, int]
"""Name of the fault, identity of the call that it hit, and the attempt."""


@dataclass(frozen=True)
class Fate:
    """What became of an order: what its client saw, where it is, and its kind of poison."""

    outcome: str
    error: str | None
    where: str
    poison: str | None


@dataclass(frozen=True)
class Sale:
    """A run of the flash sale.

    Attributes:
        verdict: Of the run.
        folder: Its run folder.
        fates: By architecture and order.
        invocations: By function: the sum of CloudWatch's metric of that name at the end.
        ready: Seconds until the testbed was up.
        stop: Seconds until all was gone.
    """

    verdict: RunVerdict
    folder: Path
    fates: Mapping[str, Mapping[str, Fate]]
    invocations: Mapping[str, float]
    ready: float
    stop: float

    def decided(self, architecture: str) -> set[Fault]:
        """The faults that the seed alone decides: those of calls that are made for one order.

        A batch is hit by what is in it, which is a matter of timing, and so is which orders get to a busy Postgres.
        """
        return {
            (line["fault"], line["identity"], line["attempt"])
            for line in read_journal(self.folder / "journal.jsonl")
            if (line["architecture"], line["hop"]) == (architecture, "fault")
            and line["service"] != "postgres"
            and not line["caller"].startswith("mapping:")
        }

    def throttled(self, architecture: str) -> set[str]:
        """The orders that a fault has kept from the one invoke that they are worth."""
        traces = {identity.rpartition(":")[2] for _, identity, _ in self.decided(architecture)}
        attempts = read_history(self.folder / "history.jsonl")
        return {each.id for each in attempts if each.architecture == architecture and each.trace in traces}


SALES: Final[dict[str, Sale]] = {}
"""The runs of this session, by engine."""


def sale_on(mode: str, runs: Path) -> Sale:
    """The run on this engine, which takes place at the first call.

    Args:
        mode: The engine.
        runs: Folder for the run folder.
    """
    if mode not in SALES:
        SALES[mode] = _hold(mode, runs)
    return SALES[mode]


def table() -> list[str]:
    """The timings of all runs, as lines for people."""
    lines = []
    for mode, sale in SALES.items():
        lines.append(f"flash-sale x {SCALE} on {mode}: ready {sale.ready:.1f} s, stop {sale.stop:.1f} s")
        for name, found in sale.verdict.architectures.items():
            latency, drain = found.facts.latency_ms, found.facts.resources.drain_seconds
            lines.append(f"  {name:17} p50 {latency.p50:7.1f} ms  p99 {latency.p99:8.1f} ms  drain {drain:5.2f} s")
    return lines


def _hold(mode: str, runs: Path) -> Sale:
    options = RunOptions(scenario=str(SCENARIO), seed=SEED, engine=mode, scale=SCALE)
    scenario = prepared(load_scenario(options.scenario), options)
    folder = RunFolder(runs, scenario.name, options.seed)
    seconds: dict[str, float] = {}
    invocations: dict[str, float] = {}

    @asynccontextmanager
    async def timed(**arguments: Any) -> AsyncIterator[RunningTestbed]:
        asked = time.monotonic()
        async with running_testbed(**arguments) as bed:
            seconds["ready"] = time.monotonic() - asked
            yield bed
            invocations.update(_invocations(bed))
            done = time.monotonic()
        seconds["stop"] = time.monotonic() - done

    observed: dict[str, Observed] = {}
    look = Trial._look

    def noted(trial: Trial, *where: Any) -> Observed:
        found = observed[trial.architecture.name] = look(trial, *where)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("testbed.runner.running_testbed", timed)
        patch.setattr(Trial, "_look", noted)
        verdict = asyncio.run(run_scenario(scenario, options, folder, lambda _: None, lambda _: None))
    attempts = list(read_history(folder.history))
    fates = {
        name: _fates((each for each in attempts if each.architecture == name), found)
        for name, found in observed.items()
    }
    return Sale(verdict, folder.path, fates, invocations, **seconds)


def _invocations(bed: RunningTestbed) -> dict[str, float]:
    """The sums of CloudWatch's metric Invocations of the last hour, by function."""
    cloudwatch, now = bed.aws.client("cloudwatch"), datetime.now(UTC)
    metrics = cloudwatch.list_metrics(Namespace="AWS/Lambda", MetricName="Invocations")["Metrics"]
    return {
        metric["Dimensions"][0]["Value"]: sum(
            point["Sum"]
            for point in cloudwatch.get_metric_statistics(
                **metric, StartTime=now - timedelta(hours=1), EndTime=now, Period=3600, Statistics=["Sum"]
            )["Datapoints"]
        )
        for metric in metrics
        if [each["Name"] for each in metric.get("Dimensions", ())] == ["FunctionName"]
    }


def _fates(attempts: Iterable[Attempt], observed: Observed) -> dict[str, Fate]:
    places = {"stored": observed.stored, "dead-lettered": observed.dead_lettered, "left": observed.left}
    return {
        attempt.id: Fate(
            outcome=attempt.outcome.value,
            error=attempt.error,
            where=" and ".join(name for name, ids in places.items() if attempt.id in ids) or "nowhere",
            poison=attempt.poison,
        )
        for attempt in attempts
    }
