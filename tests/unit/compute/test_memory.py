"""MemorySize as a limit, on real processes."""

import asyncio
import json
import time
from typing import Any

import pytest
from deployed import Emulator

from testbed.compute.invoke import Compute
from testbed.compute.memory import resident_bytes
from testbed.compute.result import InvokeResult

MB = 2**20
HUNGRY = """
import time
def handler(event, context):
    kept = []
    for _ in range(event.get("megabytes", 0)):
        kept.append(b"x" * 2**20)
    time.sleep(event.get("seconds", 0))
    return len(kept)
"""
BURST = 'def handler(event, context): return len(b"x" * (2 << 30))'
LIBRARIES = """
import boto3, psycopg
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
clients = [boto3.client(name) for name in ("sqs", "dynamodb", "kinesis", "s3", "sns")]
processor = BatchProcessor(event_type=EventType.SQS)
def handler(event, context): return len(b"x" * (20 << 20))
"""


async def invoke(compute: Compute, event: Any = None) -> InvokeResult:
    return await compute.invoke("orders", json.dumps(event or {}).encode(), caller="client")


@pytest.mark.rule("limits.memory")
async def test_an_environment_over_its_memory_is_killed_as_out_of_memory(emulator: Emulator, compute: Compute) -> None:
    """With AWS's error document and report line; the same function with less to do, or with more memory, works."""
    emulator.deploy("orders", HUNGRY, MemorySize=192)
    assert (await invoke(compute, {"megabytes": 60, "seconds": 0.1})).payload == b"60"
    result = await invoke(compute, {"megabytes": 200, "seconds": 9})
    assert (result.status, result.function_error, result.cause) == (200, "Unhandled", "crash")
    assert json.loads(result.payload) == {
        "errorType": "Runtime.OutOfMemory",
        "errorMessage": f"RequestId: {result.request_id} Error: Runtime exited with error: signal: killed",
    }
    report = "Memory Size: 192 MB\tMax Memory Used: 192 MB\tStatus: error\tError Type: Runtime.OutOfMemory"
    assert report in result.log_tail.decode()
    emulator.deploy("orders", HUNGRY, MemorySize=512)
    compute.invalidate("orders")
    assert (await invoke(compute, {"megabytes": 200, "seconds": 0.1})).payload == b"200"


@pytest.mark.rule("limits.memory")
async def test_an_initialisation_may_not_have_more_memory_either(emulator: Emulator, compute: Compute) -> None:
    """Both attempts end as out of memory."""
    emulator.deploy("orders", "import time\nkept = b'x' * (200 << 20)\ntime.sleep(9)")
    result = await invoke(compute)
    assert result.cause == "init error"
    assert json.loads(result.payload)["errorType"] == "Runtime.OutOfMemory"
    for phase in ("init", "invoke"):
        assert f"Phase: {phase}\tStatus: error\tError Type: Runtime.OutOfMemory" in result.log_tail.decode()


@pytest.mark.rule("limits.memory")
async def test_two_gigabytes_at_once_are_stopped_on_the_way(emulator: Emulator, compute: Compute) -> None:
    """The process is gone long before it has them."""
    emulator.deploy("orders", BURST)
    peaks: list[int] = []
    invoked = asyncio.create_task(invoke(compute))
    deadline = time.monotonic() + 9
    while not invoked.done() and time.monotonic() < deadline:
        peaks += [resident_bytes(pid) for pid in compute._processes.pids.values()]
        await asyncio.sleep(0.005)
    assert json.loads((await invoked).payload)["errorType"] == "Runtime.OutOfMemory"
    assert 0 < max(peaks) < 1024 * MB


async def test_128_mb_are_enough_for_the_libraries_of_functions(emulator: Emulator, compute: Compute) -> None:
    """boto3 with five clients, powertools, psycopg and 20 MB for an invoke, in an environment that shares them."""
    emulator.deploy("orders", LIBRARIES, MemorySize=128)
    for _ in range(3):
        result = await invoke(compute)
        assert result.payload == str(20 * MB).encode(), result.log_tail


async def test_nothing_is_looked_at_while_nothing_is_busy(emulator: Emulator, compute: Compute) -> None:
    """The watch ends by itself, and is there again for the next invoke."""
    emulator.deploy("orders", HUNGRY)
    await invoke(compute, {"seconds": 0.05})
    memory = compute._processes.memory
    while memory._timer is not None:  # noqa: ASYNC110 - a timer has no event to wait for
        await asyncio.sleep(0.002)
    assert memory._busy == set()
    running = asyncio.create_task(invoke(compute, {"seconds": 0.05}))
    while not memory._busy:  # noqa: ASYNC110 - the same
        await asyncio.sleep(0.002)
    await running


def test_a_process_that_is_gone_has_no_memory() -> None:
    """Which process id is free cannot be known, but none is as high as this."""
    assert resident_bytes(2**22 + 1) == 0


async def test_where_the_machine_runs_out_of_memory_environments_go_first(emulator: Emulator, compute: Compute) -> None:
    """What the kernel sees of each: the highest score there is."""
    emulator.deploy("orders", "def handler(event, context): return int(open('/proc/self/oom_score_adj').read())")
    assert (await invoke(compute)).payload == b"1000"
