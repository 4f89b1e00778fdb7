"""A try is a run in short: the same traffic, the same faults."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from testbed import Architecture, Aws, Constant, Db, Deployment, EnvironmentKilled, Poison, Scenario, Throttle, Traffic
from testbed.ledger.verdict import ArchitectureVerdict, Facts
from testbed.search import tries as tries_module
from testbed.search.hunt import Candidate
from testbed.search.tries import Tries


def no_deploy(_aws: Aws, _db: Db) -> Deployment:
    raise NotImplementedError


async def test_poison_that_kills_does_so_in_a_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its faults of invokes are armed beside those that are tried, as in the run of what was found."""
    trials: list[Any] = []

    class FakeTrial:
        drained = True

        def __init__(self, **given: Any) -> None:
            trials.append(SimpleNamespace(**given))

        async def run(self) -> ArchitectureVerdict:
            return ArchitectureVerdict(Facts(), ())

    async def nothing(*_: Any) -> None:
        return None

    scenario = Scenario(
        name="s",
        summary="",
        traffic=Traffic(arrivals=Constant(rate=10, seconds=2), order=lambda order_id, _: {"id": order_id, "n": 1}),
        architectures=[Architecture(name="a", summary="", deploy=no_deploy, expectations=[])],
        chaos=[Poison(every=5, kinds=("crashes",))],
    )
    monkeypatch.setattr(tries_module, "Trial", FakeTrial)
    monkeypatch.setattr(Tries, "_deploy", nothing)
    bed: Any = SimpleNamespace(engine=SimpleNamespace(localstack_url=""))
    tries = Tries(bed, scenario, 1, tmp_path / "tries", lambda _: None)
    await tries.once(Candidate((Throttle(name="tried", service="sqs"),), 1))
    [trial] = trials
    assert [type(fault) for fault in trial.scenario.chaos] == [Poison, Throttle, EnvironmentKilled]
    assert {request.poison for request in trial.requests} == {None, "crashes"}
