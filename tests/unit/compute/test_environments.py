"""Execution environments on real processes: their initialisation, their failures, and what comes after those."""

import json
from pathlib import Path
from typing import Any

import pytest
from deployed import Emulator, StartCompute, until

from testbed.compute.invoke import Compute
from testbed.compute.result import InvokeResult
from testbed.semantics.lifecycle import LifecycleProfile

SECOND_TIME = """
import os, pathlib
marker = pathlib.Path({marker!r})
if not marker.exists():
    marker.touch()
    raise RuntimeError("the first initialisation fails")
def handler(event, context):
    if event.get("crash"):
        os._exit(3)
    return os.getpid()
"""


async def invoke(compute: Compute, event: Any = None) -> InvokeResult:
    return await compute.invoke("orders", json.dumps(event or {}).encode(), caller="client")


@pytest.mark.rule("environment.init-phase", "environment.init-report")
async def test_an_init_that_fails_is_done_again_as_part_of_the_invoke(
    emulator: Emulator, compute: Compute, tmp_path: Path
) -> None:
    """The second attempt succeeds, so the invoke does; it counts as duration, and the first one is in the log."""
    emulator.deploy("orders", SECOND_TIME.format(marker=str(tmp_path / "marker")))
    result = await invoke(compute)
    assert result.cause is None
    log = result.log_tail.decode()
    assert "\tPhase: init\tStatus: error\tError Type: RuntimeError\n" in log
    assert "Phase: invoke" not in log
    assert "\tInit Duration" not in log


@pytest.mark.rule("environment.suppressed-init", "environment.reset")
async def test_after_a_crash_the_next_invoke_initialises_in_its_own_time(
    emulator: Emulator, compute: Compute, tmp_path: Path
) -> None:
    """No Init Duration then, and AWS counts no further environment; the one after that is warm."""
    (tmp_path / "marker").touch()
    emulator.deploy("orders", SECOND_TIME.format(marker=str(tmp_path / "marker")))
    first = await invoke(compute)
    assert b"\tInit Duration" in first.log_tail
    crashed = await invoke(compute, {"crash": True})
    assert crashed.cause == "crash"
    assert b"\tStatus: error\tError Type: Runtime.ExitError\t\n" in crashed.log_tail
    again = await invoke(compute)
    assert b"\tInit Duration" not in again.log_tail
    assert again.payload not in (first.payload, b"null")
    assert (await invoke(compute)).payload == again.payload
    assert compute.stats().cold_starts == {"orders": 2}
    assert compute._concurrency.environments.total() == 1


@pytest.mark.rule("environment.suppressed-init")
async def test_a_suppressed_init_has_the_time_of_the_function(emulator: Emulator, start_compute: StartCompute) -> None:
    """It is not cut off where the Init phase would be, but at the function's timeout; INIT_REPORT names the phase."""
    compute = await start_compute(lifecycle=LifecycleProfile(init_seconds=0.2))
    emulator.deploy("orders", "import time\ntime.sleep(60)", Timeout=1)
    log = (await invoke(compute)).log_tail.decode()
    assert "\tPhase: init\tStatus: timeout\n" in log
    assert "\tPhase: invoke\tStatus: timeout\n" in log
    assert "Billed Duration: 1000 ms" in log
    log = (await invoke(compute)).log_tail.decode()
    assert "\tPhase: init\t" not in log
    assert "\tPhase: invoke\tStatus: timeout\n" in log


@pytest.mark.rule("environment.idle-lifetime")
async def test_a_reset_environment_goes_away_after_the_idle_lifetime(
    emulator: Emulator, start_compute: StartCompute
) -> None:
    """From then on an invoke starts a new environment, with an Init phase of its own."""
    compute = await start_compute(lifecycle=LifecycleProfile(idle_seconds=0.05))
    emulator.deploy("orders", "import os\ndef handler(event, context): os._exit(1) if event else None")
    await invoke(compute, {"crash": True})
    await until(lambda: compute._concurrency.environments.total() == 0)
    assert b"\tInit Duration" in (await invoke(compute)).log_tail


@pytest.mark.rule("environment.reuse")
async def test_an_environment_keeps_globals_and_files_between_its_invokes(emulator: Emulator, compute: Compute) -> None:
    """Nothing is set back, and the next environment begins with an empty folder."""
    source = """
import os, tempfile
calls = []
def handler(event, context):
    if event:
        os._exit(1)
    calls.append(1)
    open(os.path.join(tempfile.gettempdir(), f"call-{len(calls)}"), "w").close()
    return sorted(os.listdir(tempfile.gettempdir()))
"""
    emulator.deploy("orders", source)
    assert [json.loads((await invoke(compute)).payload) for _ in range(2)] == [["call-1"], ["call-1", "call-2"]]
    await invoke(compute, {"crash": True})
    assert json.loads((await invoke(compute)).payload) == ["call-1"]


@pytest.mark.rule("limits.descriptors")
async def test_an_environment_has_1024_file_descriptors(emulator: Emulator, compute: Compute) -> None:
    """Opening files until that fails ends at number 1,023."""
    source = """
import os
def handler(event, context):
    opened = []
    try:
        while True:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        for each in opened:
            os.close(each)
        return [opened[-1], error.strerror]
"""
    emulator.deploy("orders", source)
    assert json.loads((await invoke(compute)).payload) == [1023, "Too many open files"]
