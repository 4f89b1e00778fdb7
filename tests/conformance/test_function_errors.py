"""What Lambda answers when a function fails, against documents seen on AWS."""

import json
import os
import signal

import pytest

from testbed.semantics import function_errors


def test_a_timeout_names_the_request_and_the_limit() -> None:
    """The document that callers of Lambda match on."""
    assert json.loads(function_errors.timed_out("00000000-0000-0000-0000-000000000000", 1.0)) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": "RequestId: 00000000-0000-0000-0000-000000000000 Error: Task timed out after 1.00 seconds",
    }


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (0, "Runtime exited without providing a reason"),
        (1 << 8, "Runtime exited with error: exit status 1"),
        (255 << 8, "Runtime exited with error: exit status 255"),
        (signal.SIGKILL, "Runtime exited with error: signal: killed"),
        (signal.SIGSEGV | 0x80, "Runtime exited with error: signal: segmentation fault"),
    ],
)
def test_a_crash_says_how_the_process_ended(status: int, reason: str) -> None:
    """Exit statuses by number, signals by name."""
    assert function_errors.exit_reason(int(status)) == reason
    assert json.loads(function_errors.exited("r-1", reason)) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: r-1 Error: {reason}",
    }


def test_a_process_killed_with_its_memory_used_up_is_out_of_memory() -> None:
    """A kill alone is not, nor is a full memory without one."""
    kind = function_errors.exit_error_type
    killed = int(signal.SIGKILL)
    assert os.WIFSIGNALED(killed)
    assert kind(killed, 128, 128) == "Runtime.OutOfMemory"
    assert kind(killed, 127, 128) == "Runtime.ExitError"
    assert kind(1 << 8, 500, 128) == "Runtime.ExitError"
    assert kind(int(signal.SIGTERM), 500, 128) == "Runtime.ExitError"


@pytest.mark.rule("environment.reset")
def test_only_a_handler_error_keeps_the_environment() -> None:
    """Success and an exception keep it, everything else replaces it."""
    kept = {
        cause: function_errors.keeps_environment(cause)
        for cause in (None, "function error", "timeout", "crash", "init error")
    }
    assert kept == {None: True, "function error": True, "timeout": False, "crash": False, "init error": False}


@pytest.mark.rule("limits.synchronous-payload")
def test_a_response_that_is_too_large_says_both_sizes() -> None:
    """Six megabytes and a hundred bytes, as measured."""
    assert json.loads(function_errors.response_too_large(6291557)) == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": (
            "Response payload size (6291557 bytes) exceeded maximum allowed payload size (6291556 bytes)."
        ),
    }
