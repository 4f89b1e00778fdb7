"""Provisioned concurrency on real processes: started ahead, used, spilled over, ended."""

import asyncio
import json
from typing import Any

import pytest
from deployed import Emulator, Journal, StartCompute, until

from testbed.compute.invoke import Compute
from testbed.semantics.lifecycle import LifecycleProfile
from testbed.semantics.provisioned import ProvisionedProfile

SOON = ProvisionedProfile(allocation_delay=0.05, allocation_per_minute=60_000)
SOURCE = """
import os, time
print("initialised ahead")
def handler(event, context):
    time.sleep(event.get("s", 0))
    if event.get("crash"):
        os._exit(1)
    return [os.getpid(), os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]]
"""


def deploy(emulator: Emulator, count: int, source: str = SOURCE, qualifier: str = "1") -> None:
    """``orders`` with a version 1, ``count`` of which are provisioned."""
    emulator.deploy("orders", source)
    emulator.publish("orders", "1", source)
    emulator.provisioned["orders"] = {qualifier: count}


async def invoke(compute: Compute, event: Any = None, qualifier: str = "1") -> Any:
    result = await compute.invoke("orders", json.dumps(event or {}).encode(), caller="client", qualifier=qualifier)
    return json.loads(result.payload) if result.payload else result.status


def state(compute: Compute) -> tuple[Any, ...]:
    status = compute.provisioned("orders")["1"]
    return status["status"], status["allocated"], status["available"]


async def ready(compute: Compute, count: int) -> None:
    """Announce the configuration, and wait until it is ready."""
    compute.invalidate("orders", "PutProvisionedConcurrencyConfig")
    await until(lambda: compute.provisioned("orders") and state(compute) == ("READY", count, count))


@pytest.mark.rule("provisioned.initialised-ahead", "provisioned.all-or-nothing")
async def test_environments_start_before_anybody_invokes(
    emulator: Emulator, start_compute: StartCompute, journal: Journal
) -> None:
    """Two are up when it is READY; an invoke finds one, is no cold start, and has the log of its initialisation."""
    compute = await start_compute(provisioned=SOON)
    deploy(emulator, 2)
    compute.invalidate("orders", "PutProvisionedConcurrencyConfig")
    await until(lambda: compute.provisioned("orders"))
    assert state(compute) == ("IN_PROGRESS", 0, 0)
    await until(lambda: state(compute) == ("READY", 2, 2))
    pids = set(compute._processes.pids.values())
    assert len(pids) == 2
    result = await compute.invoke("orders", b"{}", caller="client", qualifier="1")
    pid, initialization = json.loads(result.payload)
    assert (pid in pids, initialization) == (True, "provisioned-concurrency")
    assert b"initialised ahead" in result.log_tail
    assert [(hop["cold"], hop["provisioned"]) for hop in journal.hops] == [(False, True)]
    assert compute.stats().cold_starts == {}


@pytest.mark.rule("provisioned.spillover")
async def test_what_is_over_the_provisioned_number_runs_on_demand(
    emulator: Emulator, start_compute: StartCompute, journal: Journal
) -> None:
    """Of three at once two are served by what is provisioned; other versions never are."""
    compute = await start_compute(provisioned=SOON)
    deploy(emulator, 2)
    await ready(compute, 2)
    answers = await asyncio.gather(*(invoke(compute, {"s": 0.5}) for _ in range(3)))
    kinds = sorted(kind for _, kind in answers)
    assert kinds == ["on-demand", "provisioned-concurrency", "provisioned-concurrency"]
    assert (await invoke(compute, qualifier="$LATEST"))[1] == "on-demand"
    assert sorted(str(hop["provisioned"]) for hop in journal.hops) == ["False", "True", "True", "spillover"]


@pytest.mark.rule("provisioned.counts-against", "provisioned.equals-reserved")
async def test_with_all_that_is_reserved_provisioned_the_rest_is_throttled(
    emulator: Emulator, start_compute: StartCompute
) -> None:
    """Until it is usable the reservation serves on demand; then $LATEST gets nothing."""
    compute = await start_compute(provisioned=ProvisionedProfile(allocation_delay=0.3))
    deploy(emulator, 1)
    emulator.reserved["orders"] = 1
    assert (await invoke(compute))[1] == "on-demand"
    await until(lambda: state(compute) == ("READY", 1, 1))
    assert await invoke(compute, qualifier="$LATEST") == 429
    assert (await invoke(compute))[1] == "provisioned-concurrency"


@pytest.mark.rule("provisioned.failed")
async def test_a_function_that_does_not_initialise_fails(emulator: Emulator, start_compute: StartCompute) -> None:
    """FAILED with its reason, and no process is left; the version can still be invoked, on demand."""
    compute = await start_compute(provisioned=SOON)
    deploy(emulator, 3, "import os\nif 'provisioned' in os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']: 1 / 0\n" + SOURCE)
    compute.invalidate("orders", "PutProvisionedConcurrencyConfig")
    await until(lambda: compute.provisioned("orders") and state(compute)[0] == "FAILED")
    assert compute.provisioned("orders")["1"]["reason"] == "FUNCTION_ERROR_INIT_FAILURE"
    await until(lambda: not compute._processes.pids)
    assert (await invoke(compute))[1] == "on-demand"


async def test_it_is_changed_and_taken_away_while_it_runs(emulator: Emulator, start_compute: StartCompute) -> None:
    """From two to three to one to none: processes follow; what runs meanwhile answers."""
    compute = await start_compute(provisioned=SOON)
    deploy(emulator, 2)
    await ready(compute, 2)
    first = set(compute._processes.pids.values())
    emulator.provisioned["orders"] = {"1": 3}
    await ready(compute, 3)
    assert first < set(compute._processes.pids.values())
    busy = asyncio.create_task(invoke(compute, {"s": 0.5}))
    await until(lambda: compute.stats().concurrency)
    emulator.provisioned["orders"] = {"1": 1}
    await ready(compute, 1)
    await until(lambda: len(compute._processes.pids) == 1)
    emulator.provisioned["orders"] = {}
    compute.invalidate("orders", "DeleteProvisionedConcurrencyConfig")
    await until(lambda: not compute.provisioned("orders"))
    assert (await busy)[1] == "provisioned-concurrency"
    await until(lambda: not compute._processes.pids)
    assert (await invoke(compute))[1] == "on-demand"


async def test_a_change_in_the_middle_of_an_allocation_starts_it_anew(
    emulator: Emulator, start_compute: StartCompute
) -> None:
    """Nothing of the first request is left over."""
    slow = ProvisionedProfile(allocation_delay=0.05, allocation_per_minute=120)
    compute = await start_compute(provisioned=slow)
    deploy(emulator, 50)
    compute.invalidate("orders", "PutProvisionedConcurrencyConfig")
    await until(lambda: compute.provisioned("orders") and state(compute)[1] == 1)
    emulator.provisioned["orders"] = {"1": 2}
    await ready(compute, 2)
    await until(lambda: len(compute._processes.pids) == 2)


@pytest.mark.rule("provisioned.alias")
async def test_that_of_an_alias_moves_with_it(emulator: Emulator, start_compute: StartCompute) -> None:
    """The version that the alias stands for has it, the one before has it no more."""
    compute = await start_compute(provisioned=SOON)
    deploy(emulator, 1, qualifier="live")
    emulator.publish("orders", "2", SOURCE)
    emulator.aliases["orders:live"] = {"FunctionVersion": "1"}
    await ready(compute, 1)
    assert (await invoke(compute, qualifier="live"))[1] == "provisioned-concurrency"
    emulator.aliases["orders:live"] = {"FunctionVersion": "2"}
    compute.invalidate("orders", "UpdateAlias")
    await until(lambda: compute.provisioned("orders").get("2", {}).get("status") == "READY")
    assert list(compute.provisioned("orders")) == ["2"]
    assert (await invoke(compute, qualifier="live"))[1] == "provisioned-concurrency"
    assert (await invoke(compute))[1] == "on-demand"


async def test_an_environment_that_crashed_is_initialised_again_and_stays_provisioned(
    emulator: Emulator, start_compute: StartCompute
) -> None:
    """The next invoke gets a new process of the same kind, and no idle one ever ends for its age."""
    compute = await start_compute(provisioned=SOON, lifecycle=LifecycleProfile(idle_seconds=0.05))
    deploy(emulator, 1)
    await ready(compute, 1)
    assert (await invoke(compute, {"crash": True}))["errorType"] == "Runtime.ExitError"
    pid, kind = await invoke(compute)
    assert kind == "provisioned-concurrency"
    await asyncio.sleep(0.2)  # several sweeps
    assert await invoke(compute) == [pid, kind]


async def test_a_reset_ends_it(emulator: Emulator, start_compute: StartCompute) -> None:
    """Between two architectures nothing is left; asked for again, it is allocated again."""
    compute = await start_compute(provisioned=SOON)
    deploy(emulator, 1)
    await ready(compute, 1)
    await compute.reset()
    assert compute.provisioned("orders") == {}
    await until(lambda: compute.provisioned("orders") and state(compute)[0] == "READY")


async def test_a_reset_and_a_deletion_at_once_both_succeed(emulator: Emulator, start_compute: StartCompute) -> None:
    """As when a scenario removes what it deployed, and the next profile is chosen."""
    compute = await start_compute(provisioned=SOON)
    deploy(emulator, 1)
    await ready(compute, 1)
    emulator.provisioned["orders"] = {}
    await asyncio.gather(compute._provisioning.clear(), compute._provisioning.read("orders"))
    assert compute.provisioned("orders") == {}
    await until(lambda: not compute._processes.pids)


async def test_what_is_being_read_during_a_reset_is_not_started(
    emulator: Emulator, start_compute: StartCompute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would end it."""
    compute = await start_compute(provisioned=ProvisionedProfile(allocation_delay=0.0))
    deploy(emulator, 1)
    asked, may_answer, call = asyncio.Event(), asyncio.Event(), emulator.call

    async def slow(service: str, operation: str, params: dict[str, Any], **who: Any) -> dict[str, Any]:
        answer = await call(service, operation, params, **who)
        if operation == "ListProvisionedConcurrencyConfigs":
            asked.set()
            await may_answer.wait()
        return answer

    monkeypatch.setattr(emulator, "call", slow)
    compute.invalidate("orders", "PutProvisionedConcurrencyConfig")
    await asked.wait()
    await compute.reset()
    may_answer.set()
    async with compute._reservations:  # the reading is done
        assert not compute._provisioning.has("orders")
    assert not compute._processes.pids
