"""The fork server: whatever ends, nothing is left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from deployed import Emulator, StartCompute, until

from testbed.compute.invoke import Compute
from testbed.errors import EngineDiedError

CHILD = "import subprocess\nchild = subprocess.Popen(['sleep', '1000'])\ndef handler(event, context): return child.pid"
SLOW = "import time\ndef handler(event, context): time.sleep(1000)"


def family(root: psutil.Process) -> list[psutil.Process]:
    """The processes under ``root``."""
    return root.children(recursive=True)


def processes_of(compute: Compute) -> list[psutil.Process]:
    """The fork server and all that came of it."""
    server = psutil.Process(compute._processes._server.pid)
    return [server, *family(server)]


def gone(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those of ``processes`` that are still there after five seconds; dead ones that nobody waits for do not count."""
    _, alive = psutil.wait_procs(processes, timeout=5)
    return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


async def test_stop_leaves_no_process(emulator: Emulator, start_compute: StartCompute) -> None:
    """Environments, busy or idle, what they have started, and the fork server are gone when stop returns."""
    compute = await start_compute()
    emulator.deploy("idle", CHILD)
    emulator.deploy("busy", SLOW, Timeout=900)
    await compute.invoke("idle", b"", caller="client")
    running = asyncio.create_task(compute.invoke("busy", b"", caller="client"))
    await until(lambda: len(compute._processes.pids) >= 2)
    processes = processes_of(compute)
    assert len(processes) == 4
    await compute.stop()
    assert (await running).function_error == "Unhandled"
    assert gone(processes) == []


async def test_every_process_carries_the_token_of_the_run(emulator: Emulator, compute: Compute) -> None:
    """A guard finds the fork server, forked environments and those with their own interpreter by it."""
    emulator.deploy("forked", "def handler(event, context): pass")
    emulator.deploy("fresh", "import boto3\ndef handler(event, context): pass", files={"boto3.py": ""})
    for name in ("forked", "fresh"):
        assert (await compute.invoke(name, b"", caller="client")).cause is None
    processes = processes_of(compute)
    assert len(processes) == 3
    for process in processes:
        assert process.environ()["TESTBED_RUN"] == "unit-test"


async def test_the_death_of_the_fork_server_is_reported_and_ends_its_environments(
    emulator: Emulator, start_compute: StartCompute
) -> None:
    """Running invokes end, later ones fail with 500, and the owner is told which part died."""
    deaths = []
    compute = await start_compute(on_death=deaths.append)
    emulator.deploy("busy", SLOW, Timeout=900)
    running = asyncio.create_task(compute.invoke("busy", b"", caller="client"))
    await until(lambda: compute._processes.pids)
    processes = processes_of(compute)
    os.kill(compute._processes._server.pid, signal.SIGKILL)
    assert (await running).function_error == "Unhandled"
    assert [death.part for death in deaths] == ["the fork server of the Lambda plane"]
    assert gone(processes) == []
    refused = await compute.invoke("busy", b"", caller="client")
    assert (refused.status, refused.error.code) == (500, "ServiceException")


async def test_a_fork_server_that_cannot_start_says_why(
    start_compute: StartCompute, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The start fails, with the last words of the process."""
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no libraries here')")
    monkeypatch.setattr("testbed.compute.forkserver.__file__", str(broken))
    with pytest.raises(EngineDiedError) as died:
        await start_compute()
    assert "no libraries here" in died.value.log_tail


PLANE = """
import asyncio, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell starts in the background
sys.path.insert(0, {tests!r})
from conftest import Emulator, Journal, serving
from testbed.compute.invoke import Compute
from testbed.errors import EngineDiedError

async def main():
    emulator = Emulator()
    places = {{"folder": Path({folder!r}), "gateway_url": "http://127.0.0.1:9"}}
    compute = Compute(emulator, Journal(), sender=emulator, **places, run="parent")
    async with serving(emulator):
        await compute.start()
        emulator.deploy("idle", {child!r})
        emulator.deploy("busy", {slow!r}, Timeout=900)
        await compute.invoke("idle", b"", caller="client")
        running = asyncio.create_task(compute.invoke("busy", b"", caller="client"))
        while len(compute._processes.pids) < 2:
            await asyncio.sleep(0.01)
        print("ready", flush=True)
        await running

asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_plane(tmp_path: Path, how: signal.Signals) -> None:
    """However the plane ends, kill -9 included, the fork server and every environment end too."""
    program = textwrap.dedent(PLANE).format(
        tests=str(Path(__file__).parent), folder=str(tmp_path), child=CHILD, slow=SLOW
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as plane:
        try:
            assert plane.stdout
            assert plane.stdout.readline() == b"ready\n"
            processes = family(psutil.Process(plane.pid))
            assert len(processes) == 4
            plane.send_signal(how)
            plane.wait(timeout=30)
            assert gone(processes) == []
        finally:
            plane.kill()


async def test_more_requests_than_the_socket_holds_are_sent_when_there_is_room(
    emulator: Emulator, compute: Compute
) -> None:
    """A fork server that is slow to answer loses no request."""
    emulator.deploy(
        "orders", "def handler(event, context): return 1", Environment={"Variables": {"BIG": "x" * 120_000}}
    )
    server = psutil.Process(compute._processes._server.pid)
    assert json.loads((await compute.invoke("orders", b"", caller="client")).payload) == 1
    server.suspend()
    running = [asyncio.create_task(compute.invoke("orders", b"", caller="client")) for _ in range(20)]
    await until(lambda: compute._processes._outbox)
    server.resume()
    assert {result.payload for result in await asyncio.gather(*running)} == {b"1"}
