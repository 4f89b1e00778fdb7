"""Speed of the compute plane alone: cold starts, warm invokes, many environments at once.

Run it with ``python tests/bench/bench_cold_start.py``; it prints one line for each figure and fails none.
"""

import asyncio
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from testbed.compute.functions import Reference
from testbed.compute.invoke import Compute

ROOT = Path(__file__).resolve().parents[2]
COLD = "import boto3\nclient = boto3.client('sqs')\ndef handler(event, context): return 1\n"
HELD = """
import os, time

def handler(event, context):
    while not os.path.exists(event["until"]):
        time.sleep(0.5)
"""
HELD_CLIENT = "import boto3\nclient = boto3.client('sqs')\n" + HELD
WARM = "def handler(event, context): return event\n"
COLD_STARTS = 40
INVOKES = 8000
CALLERS = 16
ENVIRONMENTS = 1000


def _deployed() -> Any:
    spec = importlib.util.spec_from_file_location("deployed", ROOT / "tests/unit/compute/deployed.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def _cold_starts(compute: Compute) -> str:
    """From the request for an environment to its first request for an invoke, one at a time."""
    times = []
    function = await compute._functions.get(Reference("cold"))
    for _ in range(COLD_STARTS):
        started = time.perf_counter()
        start = await compute._pool.start(function)
        times.append((time.perf_counter() - started) * 1000)
        await start.environment.end()
    return f"cold start with boto3 client (25 ms): p50 {statistics.median(times):.1f} ms, max {max(times):.1f} ms"


async def _warm_invokes(compute: Compute) -> str:
    """Invokes per second of a function that returns at once."""
    await asyncio.gather(*(compute.invoke("warm", b"{}", caller="client") for _ in range(CALLERS)))
    times: list[float] = []

    async def call() -> None:
        for _ in range(INVOKES // CALLERS):
            started = time.perf_counter()
            result = await compute.invoke("warm", b'{"id": 1}', caller="client")
            assert result.cause is None
            times.append((time.perf_counter() - started) * 1000)

    started = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(CALLERS)))
    rate = len(times) / (time.perf_counter() - started)
    times.sort()
    return (
        f"invokes, {CALLERS} callers: {rate:.0f}/s, p50 {times[len(times) // 2]:.1f} ms, "
        f"p99 {times[len(times) * 99 // 100]:.1f} ms"
    )


async def _at_once(compute: Compute) -> str:
    """Cold starts of many environments at the same time; each is held until all are up."""
    plain, client = await _held(compute, "held"), await _held(compute, "held-client")
    return f"{ENVIRONMENTS} environments busy at once (30 s, 12 MB): {plain}; with a boto3 client each: {client}"


async def _held(compute: Compute, function: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        may_go = Path(folder) / "go"
        event = json.dumps({"until": str(may_go)}).encode()
        started = time.perf_counter()
        running = [asyncio.create_task(compute.invoke(function, event, caller="client")) for _ in range(ENVIRONMENTS)]
        while sum(each.started for each in compute._pool._all) < ENVIRONMENTS:
            assert not any(each.done() for each in running), "an environment ended before all were up"
            await asyncio.sleep(0.02)
        seconds = time.perf_counter() - started
        pss = [_pss(pid) for pid in compute._processes.pids.values()]
        may_go.touch()
        results = await asyncio.gather(*running)
    failed = sum(result.cause is not None for result in results)
    assert not failed, results[0]
    await compute._pool.end_all()
    return f"{seconds:.1f} s, {failed} failed, {statistics.median(pss):.1f} MB PSS each"


def _pss(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return int(rollup.split("Pss:")[1].split()[0]) / 1024


async def main() -> None:
    """Print every figure."""
    deployed = _deployed()
    with tempfile.TemporaryDirectory() as folder:
        emulator = deployed.Emulator()
        started = time.perf_counter()
        compute = Compute(
            emulator,
            deployed.Journal(),
            sender=emulator,
            folder=Path(folder),
            gateway_url="http://127.0.0.1:9",
            run=f"bench-{os.getpid()}",
        )
        async with deployed.serving(emulator):
            await compute.start()
            emulator.deploy("held", HELD, Timeout=300)
            emulator.deploy("held-client", HELD_CLIENT, Timeout=300)
            emulator.deploy("cold", COLD)
            emulator.deploy("warm", WARM, MemorySize=1024)
            await compute.invoke("warm", b"{}", caller="client")
            sys.stdout.write(f"plane ready after {time.perf_counter() - started:.2f} s\n")
            for figure in (_cold_starts, _at_once, _warm_invokes):
                sys.stdout.write(f"{await figure(compute)}\n")
            await compute.stop()


if __name__ == "__main__":
    uvloop.run(main())
