"""Invokes on real processes: what a function returns, raises, prints, and how it ends."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from deployed import Emulator, Journal, StartCompute, until

from testbed.compute.invoke import Compute
from testbed.compute.result import InvokeResult
from testbed.semantics.lifecycle import LifecycleProfile
from testbed.semantics.profiles import Profile

LONG_STORY = """
calls = 0

def handler(event, context):
    global calls
    calls += 1
    if calls == 1:
        raise ValueError("x" * 200_000)
    return calls
"""
COUNTER = """
import os
calls = 0
def handler(event, context):
    global calls
    calls += 1
    if event.get("fail"):
        raise ValueError("no such order")
    return {"calls": calls, "pid": os.getpid()}
"""


async def invoke(compute: Compute, event: Any = None, function: str = "orders", **options: Any) -> InvokeResult:
    return await compute.invoke(function, json.dumps(event or {}).encode(), caller="client", **options)


def body(result: InvokeResult) -> Any:
    return json.loads(result.payload)


def log_of(tmp_path: Path, function: str = "orders") -> str:
    return (tmp_path / "plane0" / "logs" / f"{function}.log").read_text()


async def test_the_handler_gets_event_and_context_and_its_answer_comes_back(
    emulator: Emulator, compute: Compute
) -> None:
    """A function sees the payload, its own settings and its trace; what it returns is the payload of the answer."""
    emulator.deploy(
        "orders",
        """
import os
def handler(event, context):
    return {"event": event, "name": context.function_name, "arn": context.invoked_function_arn,
            "id": context.aws_request_id, "left": context.get_remaining_time_in_millis(),
            "variable": os.environ["TABLE"], "endpoint": os.environ["AWS_ENDPOINT_URL"],
            "trace": os.environ["_X_AMZN_TRACE_ID"], "cwd": os.getcwd(), "root": os.environ["LAMBDA_TASK_ROOT"]}
""",
        Environment={"Variables": {"TABLE": "stock"}},
    )
    result = await invoke(compute, {"id": 7}, trace="Root=1-00000001-0123456789abcdef01234567")
    assert (result.status, result.function_error, result.error, result.cause) == (200, None, None, None)
    answer = body(result)
    assert answer["event"] == {"id": 7}
    assert answer["name"] == "orders"
    assert answer["arn"] == "arn:aws:lambda:us-east-1:000000000000:function:orders"
    assert answer["id"] == result.request_id
    assert 0 < answer["left"] <= 10_000
    assert answer["variable"] == "stock"
    assert answer["endpoint"] == "http://127.0.0.1:9"
    assert answer["trace"] == "Root=1-00000001-0123456789abcdef01234567"
    assert answer["cwd"] == answer["root"]


async def test_a_function_sees_only_what_lambda_gives_it(emulator: Emulator, compute: Compute) -> None:
    """Variables, arguments and modules of the testbed's own process do not reach the handler."""
    emulator.deploy(
        "orders",
        """
import os, sys
def handler(event, context):
    return {"environ": sorted(os.environ), "testbed": [m for m in sys.modules if m.startswith("testbed")],
            "stdin": sys.stdin.read(), "path": sys.path}
""",
    )
    answer = body(await invoke(compute))
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "PWD", "USER"} & set(answer["environ"])
    assert {"AWS_LAMBDA_FUNCTION_NAME", "_HANDLER", "TMPDIR", "TESTBED_RUN"} <= set(answer["environ"])
    assert answer["testbed"] == []
    assert answer["stdin"] == ""
    assert str(Path(__file__).parents[3]) not in answer["path"]


@pytest.mark.rule("environment.reset", "invoke.function-error")
async def test_a_handler_error_keeps_the_environment(emulator: Emulator, compute: Compute) -> None:
    """After an exception the same process serves the next invoke: its counter goes on."""
    emulator.deploy("orders", COUNTER)
    first = body(await invoke(compute))
    failed = await invoke(compute, {"fail": True})
    assert (failed.status, failed.function_error, failed.cause) == (200, "Unhandled", "function error")
    error = body(failed)
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no such order")
    assert error["requestId"] == failed.request_id
    assert error["stackTrace"]
    assert body(await invoke(compute)) == {"calls": 3, "pid": first["pid"]}


async def test_an_error_with_a_long_story_keeps_the_environment(emulator: Emulator, compute: Compute) -> None:
    """The runtime client repeats message and traceback in a header, however long they are."""
    emulator.deploy("orders", LONG_STORY)
    failed = await compute.invoke("orders", b"{}", caller="client")
    assert (failed.function_error, failed.cause) == ("Unhandled", "function error")
    assert len(json.loads(failed.payload)["errorMessage"]) == 200_000
    assert (await compute.invoke("orders", b"{}", caller="client")).payload == b"2"


@pytest.mark.rule("limits.timeout", "environment.reset")
async def test_a_timeout_kills_the_process_and_replaces_the_environment(
    emulator: Emulator, compute: Compute, tmp_path: Path
) -> None:
    """A function over its timeout is dead when the answer arrives, with what it had started."""
    emulator.deploy(
        "orders",
        """
import os, subprocess, time
def handler(event, context):
    if event.get("hang"):
        child = subprocess.Popen(["sleep", "1000"])
        print("pids", os.getpid(), child.pid)
        time.sleep(1000)
    return os.getpid()
""",
        Timeout=1,
    )
    pid = body(await invoke(compute))
    result = await invoke(compute, {"hang": True})
    assert (result.status, result.function_error, result.cause) == (200, "Unhandled", "timeout")
    message = f"RequestId: {result.request_id} Error: Task timed out after 1.00 seconds"
    assert body(result) == {"errorType": "Sandbox.Timedout", "errorMessage": message}
    printed = re.search(r"pids (\d+) (\d+)", log_of(tmp_path))
    assert printed
    assert int(printed[1]) == pid
    assert not psutil.pid_exists(pid)
    await until(lambda: not is_running(int(printed[2])))
    assert "Status: timeout" in log_of(tmp_path)
    assert body(await invoke(compute)) != pid


def is_running(pid: int) -> bool:
    """Whether ``pid`` is more than a zombie that nobody has waited for."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_a_crash_is_a_function_error_and_replaces_the_environment(emulator: Emulator, compute: Compute) -> None:
    """Whatever ends the process is answered as Runtime.ExitError, and the next invoke works."""
    emulator.deploy(
        "orders",
        """
import os, signal, sys
def handler(event, context):
    match event.get("how"):
        case "_exit": os._exit(1)
        case "sys.exit": sys.exit(3)
        case "clean": sys.exit(0)
        case "kill": os.kill(os.getpid(), signal.SIGKILL)
        case "segfault": os.kill(os.getpid(), signal.SIGSEGV)
    return "fine"
""",
        MemorySize=10240,
    )
    expected = {
        "_exit": "Runtime exited with error: exit status 1",
        "sys.exit": "Runtime exited with error: exit status 3",
        "clean": "Runtime exited without providing a reason",
        "kill": "Runtime exited with error: signal: killed",
        "segfault": "Runtime exited with error: signal: segmentation fault",
    }
    for how, text in expected.items():
        result = await invoke(compute, {"how": how})
        assert (result.status, result.function_error, result.cause) == (200, "Unhandled", "crash"), how
        message = f"RequestId: {result.request_id} Error: {text}"
        assert body(result) == {"errorType": "Runtime.ExitError", "errorMessage": message}
        assert body(await invoke(compute)) == "fine"


async def test_what_a_crashed_handler_has_started_ends_with_it(
    emulator: Emulator, compute: Compute, tmp_path: Path
) -> None:
    """A child process does not outlive its environment, however that ends."""
    emulator.deploy(
        "orders",
        """
import os, subprocess
def handler(event, context):
    print("child", subprocess.Popen(["sleep", "1000"]).pid)
    os._exit(1)
""",
    )
    assert (await invoke(compute)).cause == "crash"
    printed = re.search(r"child (\d+)", log_of(tmp_path))
    assert printed
    await until(lambda: not is_running(int(printed[1])))


async def test_an_environment_that_is_killed_while_idle_is_not_used_again(emulator: Emulator, compute: Compute) -> None:
    """Kill -9 of an idle environment goes unnoticed by the next caller."""
    emulator.deploy("orders", COUNTER)
    pid = body(await invoke(compute))["pid"]
    ended = asyncio.Event()
    compute._pool._all.copy().pop()._on_end = lambda _: ended.set()
    os.kill(pid, signal.SIGKILL)
    await ended.wait()
    again = await invoke(compute)
    assert again.cause is None
    assert body(again)["calls"] == 1


async def test_an_environment_that_is_killed_while_busy_is_a_crash(emulator: Emulator, compute: Compute) -> None:
    """Kill -9 in the middle of an invoke is answered at once, not after the timeout."""
    emulator.deploy("orders", "import time\ndef handler(event, context):\n    time.sleep(event.get('seconds', 0))")
    await invoke(compute)
    running = asyncio.create_task(invoke(compute, {"seconds": 1000}))
    await until(lambda: compute.stats().concurrency)
    os.kill(next(iter(compute._processes.pids.values())), signal.SIGKILL)
    assert (await running).cause == "crash"


async def test_a_handler_that_cannot_be_loaded_is_an_init_error(emulator: Emulator, compute: Compute) -> None:
    """The runtime's own error documents come back, and a mended function works."""
    broken = {
        "import no_such_library": "Runtime.ImportModuleError",
        "def handler(event, context)\n    pass": "Runtime.UserCodeSyntaxError",
        "def other(event, context):\n    pass": "Runtime.HandlerNotFound",
        "1 / 0": "ZeroDivisionError",
        "import sys; sys.exit(4)": "Runtime.ExitError",
    }
    for source, error_type in broken.items():
        emulator.deploy("orders", source)
        compute.invalidate("orders")
        result = await invoke(compute)
        assert (result.status, result.function_error, result.cause) == (200, "Unhandled", "init error"), source
        assert body(result)["errorType"] == error_type
    emulator.deploy("orders", COUNTER)
    compute.invalidate("orders")
    assert body(await invoke(compute))["calls"] == 1


async def test_an_init_that_takes_too_long_is_done_again_on_the_time_of_the_invoke(
    emulator: Emulator, start_compute: StartCompute
) -> None:
    """Ten seconds of initialisation, here a quarter: the second try counts as duration, up to the timeout."""
    compute = await start_compute(lifecycle=LifecycleProfile(init_seconds=0.25))
    emulator.deploy("orders", "import time\ntime.sleep(0.5)\ndef handler(event, context): return 'late'", Timeout=5)
    result = await invoke(compute)
    assert body(result) == "late"
    assert b"\tInit Duration" not in result.log_tail
    assert compute.stats().cold_starts == {"orders": 2}
    emulator.deploy("orders", "import time\ntime.sleep(100)", Timeout=1)
    compute.invalidate("orders")
    assert (await invoke(compute)).cause == "timeout"


@pytest.mark.rule("invoke.log-tail")
async def test_everything_printed_is_in_the_log_before_the_invoke_resolves(
    emulator: Emulator, compute: Compute, tmp_path: Path
) -> None:
    """A thousand lines, standard error included, stand between START and END when the caller gets the answer."""
    emulator.deploy(
        "orders",
        """
import sys
def handler(event, context):
    for number in range(1000):
        print("line", event["n"], number, "x" * 100, file=sys.stderr if number % 2 else sys.stdout)
""",
    )
    for n in range(5):
        result = await invoke(compute, {"n": n})
        log = log_of(tmp_path)
        assert [int(found) for found in re.findall(rf"line {n} (\d+)", log)] == list(range(1000))
        assert log.index(f"START RequestId: {result.request_id} Version: $LATEST") < log.index(f"line {n} 0 ")
        assert log.index(f"line {n} 999 ") < log.index(f"END RequestId: {result.request_id}")
        assert len(result.log_tail) == 4096
        assert result.log_tail.endswith(b"\t\n")
    assert len(re.findall(r"Init Duration: [\d.]+ ms", log)) == 1
    assert len(re.findall(r"REPORT RequestId: \S+\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\t", log)) == 5


async def test_a_library_in_the_package_wins_over_the_preloaded_one(emulator: Emulator, compute: Compute) -> None:
    """As on AWS, what the zip brings is what is imported, whatever the runtime has at hand."""
    emulator.deploy(
        "orders",
        "import boto3\ndef handler(event, context): return boto3.__version__",
        files={"boto3/__init__.py": "__version__ = 'mine'"},
    )
    emulator.deploy("plain", "import boto3\ndef handler(event, context): return boto3.__version__")
    assert body(await invoke(compute)) == "mine"
    assert body(await invoke(compute, function="plain")) != "mine"


@pytest.mark.rule("environment.one-invoke-at-a-time")
async def test_concurrent_invokes_never_share_an_environment(
    emulator: Emulator, compute: Compute, journal: Journal, tmp_path: Path
) -> None:
    """A hundred at once run in a hundred processes; one after the other, they share the one used last."""
    there, enough = tmp_path / "there", tmp_path / "enough"
    there.mkdir()
    emulator.deploy(
        "orders",
        f"""
import os, pathlib, time
def handler(event, context):
    pathlib.Path({str(there)!r}, str(os.getpid())).touch()
    while not os.path.exists({str(enough)!r}):
        time.sleep(0.05)
    return os.getpid()
""",
        Timeout=60,
    )
    invokes = asyncio.gather(*(invoke(compute) for _ in range(100)))
    await until(lambda: len(list(there.iterdir())) == 100)
    enough.touch()
    results = await invokes
    pids = [body(result) for result in results]
    assert len(set(pids)) == 100
    assert {result.cause for result in results} == {None}
    assert compute.stats().peak_concurrency == {"orders": 100}
    assert compute.stats().cold_starts == {"orders": 100}
    serial = {body(await invoke(compute)) for _ in range(20)}
    assert len(serial) == 1
    assert serial < set(pids)
    assert sum(hop["cold"] for hop in journal.hops) == 100


async def test_there_are_never_more_environments_than_invokes_at_once(emulator: Emulator, compute: Compute) -> None:
    """Environments that become free serve whoever waits, and the starts that are then not needed do not happen."""
    emulator.deploy("orders", "import time\ndef handler(event, context): time.sleep(0.01)")

    async def caller() -> None:
        for _ in range(20):
            assert (await invoke(compute)).cause is None

    await asyncio.gather(*(caller() for _ in range(6)))
    assert compute.stats().cold_starts["orders"] <= 6


async def test_a_start_that_fails_ends_the_invoke_that_waits_for_it(
    emulator: Emulator, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure is the invoke's own; nobody waits for an environment that will never come."""
    emulator.deploy("orders", "def handler(event, context): return 1")

    async def fails(*_arguments: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(compute._pool, "start", fails)
    with pytest.raises(OSError, match="no more processes"):
        await asyncio.wait_for(invoke(compute), 5)


@pytest.mark.rule("throttle.not-stored", "concurrency.reserved")
async def test_reserved_concurrency_throttles_with_its_reason(
    emulator: Emulator, compute: Compute, journal: Journal
) -> None:
    """The invoke over the reservation is refused with 429; the one that runs is not disturbed."""
    emulator.deploy("orders", "import time\ndef handler(event, context): time.sleep(0.5)")
    emulator.reserved["orders"] = 1
    results = await asyncio.gather(invoke(compute), invoke(compute))
    assert sorted(result.status for result in results) == [200, 429]
    refused = max(results, key=lambda result: result.status)
    assert refused.cause == "throttle"
    assert refused.error
    assert refused.error.code == "TooManyRequestsException"
    assert refused.error.members["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert {hop["reason"] for hop in journal.hops} == {None, "ReservedFunctionConcurrentInvocationLimitExceeded"}
    assert compute.stats().throttles == 1


async def test_a_changed_reservation_counts_from_its_announcement(emulator: Emulator, compute: Compute) -> None:
    """PutFunctionConcurrency of one function takes from the pool of the others, whether it ever ran or not."""
    emulator.deploy("orders", COUNTER)
    emulator.deploy("greedy", COUNTER)
    assert (await invoke(compute)).status == 200
    emulator.reserved["greedy"] = 1000
    compute.invalidate("greedy")
    refused = await invoke(compute)
    assert refused.error
    assert refused.error.members["Reason"] == "ConcurrentInvocationLimitExceeded"
    del emulator.functions["greedy"]
    compute.invalidate("greedy")
    assert (await invoke(compute)).status == 200


async def test_configuration_is_read_once_until_it_changes(emulator: Emulator, compute: Compute) -> None:
    """Twenty first invokes at once read the function once; after a change old environments serve no more."""
    emulator.deploy("orders", COUNTER)
    await asyncio.gather(*(invoke(compute) for _ in range(20)))
    reads = ["GetFunction", "GetFunctionConcurrency", "ListProvisionedConcurrencyConfigs"]
    assert emulator.calls == [f"{each} orders" for each in reads]
    emulator.deploy("orders", "def handler(event, context): return 'new'")
    assert body(await invoke(compute)) != "new"
    compute.invalidate("orders")
    assert body(await invoke(compute)) == "new"


async def test_an_invoke_that_runs_during_a_change_ends_undisturbed_and_its_environment_after_it(
    emulator: Emulator, compute: Compute
) -> None:
    """A busy environment of the old code answers, and is never used again."""
    emulator.deploy("orders", "import time\ndef handler(event, context):\n    time.sleep(0.3)\n    return 'old'")
    running = asyncio.create_task(invoke(compute))
    await until(lambda: compute._pool._all)
    emulator.deploy("orders", "def handler(event, context): return 'new'")
    compute.invalidate("orders")
    assert body(await running) == "old"
    assert body(await invoke(compute)) == "new"
    assert {environment.function.revision for environment in compute._pool._all if environment.alive} == {
        emulator.functions["orders"]["RevisionId"]
    }


@pytest.mark.rule("invoke.refusals")
async def test_a_function_that_does_not_exist_is_not_found(compute: Compute) -> None:
    """404 with AWS's text, and nothing is cached."""
    result = await invoke(compute, function="nobody:live")
    assert result.status == 404
    assert result.error
    assert result.error.code == "ResourceNotFoundException"
    assert result.error.message == ("Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody:live")


@pytest.mark.rule("limits.synchronous-payload", "invoke.refusals")
async def test_refusals_before_the_function_have_awss_codes(emulator: Emulator, compute: Compute) -> None:
    """Too large, not JSON, not active: each its own error, none reaches a process."""
    emulator.deploy("orders", COUNTER)
    emulator.deploy("young", COUNTER, State="Pending")
    huge = json.dumps("x" * 6 * 1024 * 1024).encode()
    refused = [
        await compute.invoke("orders", huge, caller="client"),
        await compute.invoke("orders", huge[: 1024 * 1024] + b'"', caller="client", invocation_type="Event"),
        await compute.invoke("orders", b"{not json", caller="client"),
        await invoke(compute, function="young"),
    ]
    assert [(result.status, result.error.code) for result in refused if result.error] == [
        (413, "RequestTooLargeException"),
        (413, "RequestTooLargeException"),
        (400, "InvalidRequestContentException"),
        (409, "ResourceConflictException"),
    ]
    assert compute.stats().cold_starts == {}
    emulator.functions["young"]["State"] = "Active"
    assert (await invoke(compute, function="young")).status == 200


@pytest.mark.rule("limits.synchronous-payload")
async def test_a_response_over_six_megabytes_is_a_function_error_that_keeps_the_environment(
    emulator: Emulator, compute: Compute
) -> None:
    """The size is refused, the process is not to blame."""
    emulator.deploy(
        "orders", "import os\ndef handler(event, context): return 'x' * event.get('size', 0) or os.getpid()"
    )
    pid = body(await invoke(compute))
    result = await invoke(compute, {"size": 6 * 1024 * 1024 + 101})
    assert (result.function_error, body(result)["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")
    assert len((await invoke(compute, {"size": 6 * 1024 * 1024})).payload) == 6 * 1024 * 1024 + 2
    assert body(await invoke(compute)) == pid


async def test_a_caller_that_goes_away_does_not_stop_the_function(
    emulator: Emulator, compute: Compute, journal: Journal, tmp_path: Path
) -> None:
    """As on AWS, the invoke runs to its end and its environment is free again."""
    emulator.deploy("orders", "import time\ndef handler(event, context):\n    time.sleep(0.3)\n    print('finished')")
    running = asyncio.create_task(invoke(compute))
    await until(lambda: compute.stats().concurrency)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    await until(lambda: not compute.stats().concurrency)
    assert "finished" in log_of(tmp_path)
    assert [hop["cause"] for hop in journal.hops] == [None]


async def test_a_client_context_reaches_the_handler(emulator: Emulator, compute: Compute) -> None:
    """As AWS's runtime client reads it."""
    emulator.deploy("orders", "def handler(event, context): return context.client_context.custom")
    assert body(await invoke(compute, client_context='{"custom": {"tenant": "a"}}')) == {"tenant": "a"}


@pytest.mark.rule("invoke.dry-run")
async def test_a_dry_run_checks_and_runs_nothing(emulator: Emulator, compute: Compute) -> None:
    """DryRun answers 204."""
    emulator.deploy("orders", COUNTER)
    result = await invoke(compute, invocation_type="DryRun")
    assert (result.status, result.payload) == (204, b"")
    assert compute.stats().invokes == 0


async def test_reset_ends_every_environment_and_starts_the_counts_again(emulator: Emulator, compute: Compute) -> None:
    """Between two architectures nothing of the first one is left, idle or busy."""
    emulator.deploy("orders", COUNTER)
    emulator.deploy("slow", "import time\ndef handler(event, context): time.sleep(1000)", Timeout=900)
    pid = body(await invoke(compute))["pid"]
    running = asyncio.create_task(invoke(compute, function="slow"))
    await until(lambda: len(compute._processes.pids) >= 2)
    pids = [pid, *compute._processes.pids.values()]
    await compute.reset()
    assert (await running).function_error == "Unhandled"
    await until(lambda: not any(is_running(each) for each in pids))
    assert compute.stats().cold_starts == {}
    assert compute.stats().peak_account_concurrency == 0
    assert body(await invoke(compute))["calls"] == 1


async def test_what_waits_for_an_environment_is_not_run_after_a_reset(
    emulator: Emulator, compute: Compute, tmp_path: Path
) -> None:
    """Nor does it count for the architecture that comes next, whatever profile that runs by."""
    marks = tmp_path / "marks"
    marks.mkdir()
    emulator.deploy(
        "orders",
        "import time, pathlib, uuid\ntime.sleep(0.5)\n"
        f"def handler(event, context): (pathlib.Path({str(marks)!r}) / uuid.uuid4().hex).touch()",
    )
    waiting = [asyncio.create_task(invoke(compute)) for _ in range(12)]
    await until(lambda: compute.stats().concurrency == {"orders": 12} and compute._processes.pids)
    await compute.use(Profile())
    results = await asyncio.gather(*waiting)
    assert {result.status for result in results} <= {200, 500}
    assert all(result.function_error or result.error for result in results)
    assert compute.stats().cold_starts == {}
    assert compute.stats().concurrency == {}
    assert set(compute._concurrency.in_use("orders").values()) == {0}
    assert body(await invoke(compute)) is None
    assert len(list(marks.iterdir())) == 1


async def test_what_is_looked_up_during_a_reset_does_not_run(
    emulator: Emulator, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LocalStack answers late: the function may be another one's by then."""
    emulator.deploy("orders", COUNTER)
    asked, may_answer = asyncio.Event(), asyncio.Event()
    call = emulator.call

    async def late(*given: Any, **more: Any) -> Any:
        asked.set()
        await may_answer.wait()
        return await call(*given, **more)

    monkeypatch.setattr(emulator, "call", late)
    invoked = asyncio.create_task(invoke(compute))
    await asked.wait()
    await compute.reset()
    may_answer.set()
    assert (await invoked).status == 500
    assert compute.stats().invokes == 0


async def test_idle_environments_end_after_their_lifetime(emulator: Emulator, start_compute: StartCompute) -> None:
    """An environment that nobody needs goes away by itself."""
    compute = await start_compute(lifecycle=LifecycleProfile(idle_seconds=0.05))
    emulator.deploy("orders", COUNTER)
    await invoke(compute)
    await until(lambda: not compute._pool._all)
    assert compute._processes.pids == {}
