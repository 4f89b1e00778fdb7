"""Faults of environments and invokes, on real processes: what the invoker sees, what was done, what comes next."""

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deployed import Emulator, StartCompute, until

from testbed.chaos.call import Effect
from testbed.chaos.faults.environment_lost import Killed, MemoryUsedUp, StartsSlowly
from testbed.chaos.faults.invocation import HandlerDelayed
from testbed.compute.environment import Environment, Event
from testbed.compute.invoke import Compute
from testbed.compute.result import InvokeResult
from testbed.compute.runtime_api import Invocation
from testbed.semantics.lifecycle import LifecycleProfile

BEFORE, AFTER = Killed("before", 0.0), Killed("after", 0.0)
WORK = """
import os, pathlib, time
folder = pathlib.Path(os.environ["FOLDER"])
def handler(event, context):
    (folder / f"{event['id']}.began").touch()
    print("working")
    time.sleep(event.get("seconds", 0))
    (folder / f"{event['id']}.done").touch()
    if event.get("fails"):
        raise ValueError("no")
    return os.getpid()
"""


async def invoke(compute: Compute, event: Any = None, *effects: Effect, function: str = "orders") -> InvokeResult:
    return await compute.invoke(function, json.dumps(event or {"id": "any"}).encode(), caller="client", effects=effects)


def told_by(effect: Effect) -> tuple[Effect, asyncio.Event]:
    """The same effect, and what is set where it says that it happened."""
    reported = asyncio.Event()
    return replace(effect, happened=reported.set), reported


@pytest.fixture
def orders(emulator: Emulator, tmp_path: Path) -> Path:
    """A function that leaves a file when it begins and one when it is done, and their folder."""
    emulator.deploy("orders", WORK, Timeout=2, Environment={"Variables": {"FOLDER": str(tmp_path)}})
    return tmp_path


def assert_killed(result: InvokeResult, error_type: str = "Runtime.ExitError") -> None:
    """It ended as AWS tells of a process that was killed."""
    assert (result.status, result.function_error, result.error, result.cause) == (200, "Unhandled", None, "crash")
    message = f"RequestId: {result.request_id} Error: Runtime exited with error: signal: killed"
    assert json.loads(result.payload) == {"errorType": error_type, "errorMessage": message}
    log = result.log_tail.decode()
    assert f"START RequestId: {result.request_id}" in log
    assert f"Status: error\tError Type: {error_type}\t\n" in log


def milliseconds(result: InvokeResult, what: str) -> float:
    """A number of the report line."""
    found = re.search(rf"\t{what}: ([0-9.]+) ms", result.log_tail.decode())
    assert found, result.log_tail.decode()
    return float(found[1])


async def test_killed_before_the_handler_nothing_was_done(compute: Compute, orders: Path) -> None:
    """Though the environment had been started; its Init Duration is in the log, no line of the handler."""
    result = await invoke(compute, {"id": "a"}, BEFORE)
    assert_killed(result)
    assert not (orders / "a.began").exists()
    assert b"working" not in result.log_tail
    assert milliseconds(result, "Init Duration") > 0


async def test_killed_during_the_handler_half_of_it_was_done(compute: Compute, orders: Path) -> None:
    """At its time: the duration says so, and what was printed until then is in the log."""
    warm = await invoke(compute)
    result = await invoke(compute, {"id": "a", "seconds": 1.5}, Killed("during", 0.2))
    assert_killed(result)
    assert (orders / "a.began").exists()
    assert not (orders / "a.done").exists()
    assert b"working" in result.log_tail
    assert 200 <= milliseconds(result, "Duration") < 1000
    assert (await invoke(compute)).payload != warm.payload


@pytest.mark.parametrize("fails", [False, True])
async def test_killed_after_the_handler_all_was_done(compute: Compute, orders: Path, fails: bool) -> None:
    """And the invoker is told of a crash, whatever the handler came to."""
    assert_killed(await invoke(compute, {"id": "a", "fails": fails}, AFTER))
    assert (orders / "a.done").exists()


@pytest.mark.parametrize("effect", [Killed("during", 9.0), MemoryUsedUp(9.0)])
async def test_a_handler_that_is_sooner_than_its_end_is_lost_all_the_same(
    compute: Compute, orders: Path, effect: Effect
) -> None:
    """On a fast machine as on a slow one the same invokes fail; nobody waits for the time of the fault."""
    result = await invoke(compute, {"id": "a"}, effect)
    assert_killed(result, "Runtime.ExitError" if isinstance(effect, Killed) else "Runtime.OutOfMemory")
    assert (orders / "a.done").exists()
    assert milliseconds(result, "Duration") < 2000


async def test_out_of_memory_is_what_aws_reports(compute: Compute, orders: Path) -> None:
    """All memory was used, says the report; the function has the same memory as before."""
    result = await invoke(compute, {"id": "a", "seconds": 1.5}, MemoryUsedUp(0.05))
    assert_killed(result, "Runtime.OutOfMemory")
    assert b"Memory Size: 128 MB\tMax Memory Used: 128 MB\t" in result.log_tail
    assert not (orders / "a.done").exists()
    assert (await invoke(compute)).cause is None


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize("effect", [BEFORE, Killed("during", 0.0), AFTER, MemoryUsedUp(0.0)])
async def test_a_killed_environment_is_replaced(compute: Compute, effect: Effect) -> None:
    """The next invoke initialises in its own time, without an Init Duration; the one after it is warm."""
    first = await invoke(compute)
    await invoke(compute, None, effect)
    again = await invoke(compute)
    assert again.payload != first.payload
    assert b"Init Duration" not in again.log_tail
    assert (await invoke(compute)).payload == again.payload
    assert compute.stats().concurrency == {}


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize("effect", [Killed("during", 0.3), MemoryUsedUp(0.3)])
async def test_no_timer_outlives_its_invoke(compute: Compute, effect: Effect) -> None:
    """The time of the fault finds nobody to kill: who is served by then is served to the end."""
    result = await invoke(compute, {"id": "a", "fails": True}, effect)
    assert_killed(result, "Runtime.ExitError" if isinstance(effect, Killed) else "Runtime.OutOfMemory")
    timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]  # nothing public tells of them
    assert [timer for timer in timers if not timer.cancelled() and "_end(" in repr(timer)] == []
    assert (await invoke(compute, {"id": "b", "seconds": 0.5})).cause is None


@pytest.mark.usefixtures("orders")
async def test_a_timeout_before_the_kill_is_a_timeout(compute: Compute) -> None:
    """What comes first counts, and is reported once."""
    result = await invoke(compute, {"id": "a", "seconds": 9}, Killed("during", 5.0))
    assert (result.cause, json.loads(result.payload)["errorType"]) == ("timeout", "Sandbox.Timedout")


@pytest.mark.usefixtures("orders")
async def test_a_slow_cold_start_counts_as_initialisation(compute: Compute) -> None:
    """Not as duration; a warm invoke under the same fault is as fast as any."""
    cold = await invoke(compute, None, StartsSlowly(0.4))
    assert milliseconds(cold, "Init Duration") >= 400
    assert milliseconds(cold, "Duration") < 400
    warm = await invoke(compute, None, StartsSlowly(5.0))
    assert warm.payload == cold.payload
    assert b"Init Duration" not in warm.log_tail
    assert milliseconds(warm, "Duration") < 400


@pytest.mark.usefixtures("orders")
async def test_after_a_crash_a_slow_start_is_the_invokes_own_time(compute: Compute) -> None:
    """As all of that initialisation is: no Init Duration."""
    await invoke(compute, None, BEFORE)
    again = await invoke(compute, {"id": "a"}, StartsSlowly(0.4))
    assert b"Init Duration" not in again.log_tail
    assert milliseconds(again, "Duration") >= 400


@pytest.mark.parametrize("ending", [(), (BEFORE, HandlerDelayed(1.0))], ids=["alone", "with other faults"])
async def test_a_start_that_uses_up_the_time_begins_no_handler(
    compute: Compute, orders: Path, monkeypatch: pytest.MonkeyPatch, ending: tuple[Effect, ...]
) -> None:
    """The answer comes at the timeout, not when the environment would be ready; other faults come too late."""
    effects, reported = zip(*map(told_by, ending), strict=True) if ending else ((), ())
    handed: list[Invocation] = []
    serve = Environment.serve

    async def told(environment: Environment, invocation: Invocation, limit: float) -> Event:
        handed.append(invocation)
        return await serve(environment, invocation, limit)

    await invoke(compute, None, BEFORE)
    monkeypatch.setattr(Environment, "serve", told)
    loop = asyncio.get_running_loop()
    began = loop.time()
    late = await invoke(compute, {"id": "b"}, StartsSlowly(9.0), *effects)
    assert loop.time() - began < 6
    assert (late.cause, handed, (orders / "b.began").exists()) == ("timeout", [], False)
    assert milliseconds(late, "Duration") == 2000
    assert not any(event.is_set() for event in reported)
    assert (await invoke(compute, {"id": "c"})).cause is None
    assert (orders / "c.done").exists()


@pytest.mark.usefixtures("orders")
async def test_only_the_invoke_that_is_hit_starts_slowly(compute: Compute) -> None:
    """Others that need an environment at the same time get theirs, however many start at once."""
    event = {"id": "a", "seconds": 0.5}
    hit = [1, 3]
    effects = [(StartsSlowly(1.0),) if number in hit else () for number in range(5)]
    results = await asyncio.gather(*(invoke(compute, event, *effect) for effect in effects))
    slow = [number for number, result in enumerate(results) if milliseconds(result, "Init Duration") >= 1000]
    assert slow == hit


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize("before", [(), (BEFORE,)], ids=["its own time", "the invoke's time"])
async def test_a_reset_does_not_wait_for_a_slow_start(compute: Compute, before: tuple[Effect, ...]) -> None:
    """The environment that would be ready is gone, and so is the wait for it."""
    for effect in before:
        await invoke(compute, None, effect)
    invoked = asyncio.create_task(invoke(compute, None, StartsSlowly(9.0)))
    await until(lambda: any(environment.started for environment in compute._pool._all))
    await compute.reset()
    assert (await invoked).cause == "crash"


async def test_a_delayed_handler_is_billed_and_holds_its_concurrency(compute: Compute, orders: Path) -> None:
    """In a warm environment as well; a slow cold start comes on top of it."""
    cold = await invoke(compute, {"id": "a"}, HandlerDelayed(0.3), StartsSlowly(0.3))
    assert milliseconds(cold, "Init Duration") >= 300
    assert milliseconds(cold, "Duration") >= 300
    invoked = asyncio.create_task(invoke(compute, {"id": "b"}, HandlerDelayed(0.3)))
    await asyncio.sleep(0.1)
    assert compute.stats().concurrency == {"orders": 1}
    assert not (orders / "b.began").exists()
    warm = await invoked
    assert warm.payload == cold.payload
    assert milliseconds(warm, "Duration") >= 300


async def test_a_delay_beyond_the_timeout_is_a_timeout(
    start_compute: StartCompute, emulator: Emulator, orders: Path
) -> None:
    """The handler does not run, and the environment is replaced."""
    compute = await start_compute(lifecycle=LifecycleProfile(init_seconds=9))
    emulator.functions["orders"]["Timeout"] = 1
    warm = await invoke(compute)
    result = await invoke(compute, {"id": "a"}, HandlerDelayed(60.0))
    assert (result.cause, json.loads(result.payload)["errorType"]) == ("timeout", "Sandbox.Timedout")
    assert 1000 <= milliseconds(result, "Duration") < 2000
    assert not (orders / "a.began").exists()
    assert (await invoke(compute)).payload != warm.payload


ALL_OF_AN_INVOKE = [BEFORE, Killed("during", 0.0), AFTER, MemoryUsedUp(0.0), HandlerDelayed(0.01)]


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize("effect", ALL_OF_AN_INVOKE, ids=str)
async def test_what_is_done_to_an_environment_is_reported(compute: Compute, effect: Effect) -> None:
    """Once it is done, in a warm environment as in a cold one."""
    for _ in range(2):
        reporting, reported = told_by(effect)
        await invoke(compute, None, reporting)
        assert reported.is_set()


@pytest.mark.usefixtures("orders")
async def test_a_slow_start_is_reported_where_there_is_a_start(compute: Compute) -> None:
    """An invoke that finds a warm environment was not slowed."""
    cold, started = told_by(StartsSlowly(0.1))
    warm, found = told_by(StartsSlowly(0.1))
    await invoke(compute, None, cold)
    await invoke(compute, None, warm)
    assert (started.is_set(), found.is_set()) == (True, False)


@pytest.mark.parametrize("effect", [*ALL_OF_AN_INVOKE, StartsSlowly(0.1)], ids=str)
async def test_what_finds_no_handler_is_not_reported(compute: Compute, emulator: Emulator, effect: Effect) -> None:
    """The function cannot be initialised, or does not exist."""
    emulator.deploy("orders", "raise RuntimeError('broken')", Timeout=2)
    for function in ("orders", "nobody"):
        reporting, reported = told_by(effect)
        await invoke(compute, None, reporting, function=function)
        assert not reported.is_set()


@pytest.mark.usefixtures("orders")
async def test_an_end_that_comes_too_late_is_not_reported(compute: Compute) -> None:
    """The function's timeout, or a fault that ends the invoke before it, was first."""
    killed, reported = told_by(Killed("during", 5.0))
    await invoke(compute, {"id": "a", "seconds": 9}, killed)
    assert not reported.is_set()
    await invoke(compute, None, BEFORE, killed)
    await invoke(compute, None, HandlerDelayed(60.0), killed)
    assert not reported.is_set()
