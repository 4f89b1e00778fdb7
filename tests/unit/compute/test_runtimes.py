"""Functions that bring their own runtime, as real processes."""

import io
import json
import stat
import sys
import zipfile
from typing import Any

import pytest
from deployed import Emulator

from testbed.compute.invoke import Compute
from testbed.compute.result import InvokeResult

SHELL = """#!/bin/sh
api="http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime"
"""
URLLIB = (
    f"#!{sys.executable} -I\n"
    """
import json, os, urllib.request
api = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime"
def post(path, document):
    urllib.request.urlopen(urllib.request.Request(f"{api}/{path}", json.dumps(document).encode())).close()
print("starting", flush=True)
while True:
    with urllib.request.urlopen(f"{api}/invocation/next") as answer:
        event, request = json.load(answer), answer.headers["Lambda-Runtime-Aws-Request-Id"]
    if event.get("fail"):
        post(f"invocation/{request}/error", {"errorType": "OrderError", "errorMessage": "no such order"})
        continue
    kept = {name: os.environ.get(name) for name in ("_HANDLER", "LAMBDA_TASK_ROOT", "AWS_EXECUTION_ENV", "SHOP")}
    post(f"invocation/{request}/response", {"event": event, "pid": os.getpid(), "folder": os.getcwd(), **kept})
"""
)
BROKEN = {
    "not a program": ("\x7fnothing", 0o755, "exec format error"),
    "not executable": (SHELL, 0o644, "permission denied"),
}


def deploy(emulator: Emulator, files: dict[str, tuple[str, int]], **configuration: Any) -> None:
    """Function ``orders`` with ``files``, each with its text and its mode."""
    emulator.deploy("orders", repr(files), Runtime="provided.al2023", **configuration)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, (text, mode) in files.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (stat.S_IFREG | mode) << 16
            archive.writestr(entry, text)
    emulator.archives["orders"] = buffer.getvalue()


async def invoke(compute: Compute, event: Any = None) -> InvokeResult:
    return await compute.invoke("orders", json.dumps(event or {}).encode(), caller="client")


@pytest.mark.rule("runtime.custom")
async def test_a_bootstrap_is_the_runtime(emulator: Emulator, compute: Compute) -> None:
    """It takes invokes by concatenating the address with the API's path, serves several, and sees its handler."""
    deploy(emulator, {"bootstrap": (URLLIB, 0o755)}, Handler="orders", Environment={"Variables": {"SHOP": "books"}})
    first, failed, last = [await invoke(compute, event) for event in ({"id": 1}, {"fail": True}, {"id": 2})]
    answer = json.loads(first.payload)
    assert answer == {
        "event": {"id": 1},
        "pid": next(iter(compute._processes.pids.values())),
        "folder": answer["LAMBDA_TASK_ROOT"],
        "_HANDLER": "orders",
        "LAMBDA_TASK_ROOT": answer["folder"],
        "AWS_EXECUTION_ENV": None,
        "SHOP": "books",
    }
    assert b"starting\nSTART RequestId" in first.log_tail
    assert (failed.function_error, failed.cause) == ("Unhandled", "function error")
    assert json.loads(failed.payload) == {"errorType": "OrderError", "errorMessage": "no such order"}
    assert json.loads(last.payload)["pid"] == answer["pid"]


@pytest.mark.rule("runtime.custom")
async def test_a_bootstrap_that_ends_is_a_crash(emulator: Emulator, compute: Compute) -> None:
    """Before it asks for an invoke it is a failed initialisation, tried twice."""
    deploy(emulator, {"bootstrap": (SHELL + "echo no luck\nexit 4", 0o755)})
    result = await invoke(compute)
    assert result.cause == "init error"
    assert json.loads(result.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {result.request_id} Error: Runtime exited with error: exit status 4",
    }
    assert result.log_tail.count(b"no luck\n") == 2


@pytest.mark.rule("runtime.no-bootstrap")
@pytest.mark.parametrize("case", [*BROKEN, "missing", "a folder"])
async def test_without_a_program_to_start_the_entrypoint_is_invalid(
    emulator: Emulator, compute: Compute, case: str
) -> None:
    """Missing, not executable, or nothing that the kernel can run: each is told apart."""
    text, mode, problem = BROKEN.get(case, ("", 0o644, ""))
    name = {"missing": "main", "a folder": "bootstrap/main"}.get(case, "bootstrap")
    deploy(emulator, {name: (text, mode)})
    result = await invoke(compute)
    nothing = "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
    message = f"RequestId: {result.request_id} Error: " + (
        f"fork/exec /var/task/bootstrap: {problem}" if problem else nothing
    )
    assert (result.status, result.function_error, result.cause) == (200, "Unhandled", "init error")
    assert json.loads(result.payload) == {"errorType": "Runtime.InvalidEntrypoint", "errorMessage": message}
    log = result.log_tail.decode()
    assert f"{message}\nRuntime.InvalidEntrypoint\n" in log
    assert "Phase: init\tStatus: error\tError Type: Runtime.InvalidEntrypoint\n" in log
    assert "\tStatus: error\tError Type: Runtime.InvalidEntrypoint\t\n" in log
