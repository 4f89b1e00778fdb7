"""What ``lambda:Invoke`` answers when the function fails; pure data in, pure data out.

A function that fails is a success of the invoke: HTTP 200, the header ``X-Amz-Function-Error: Unhandled`` and a
document that names the error (AWS Lambda API reference, Invoke). The documents of errors that the runtime reports, such
as an exception of the handler or ``Runtime.ImportModuleError``, come from AWS's own runtime client.
"""

import json
import os
import signal
from typing import Final

UNHANDLED: Final = "Unhandled"

SYNC_REQUEST_BYTES: Final = 6 * 1024 * 1024
"""Largest payload of a synchronous invoke (AWS Lambda developer guide, Lambda quotas)."""
ASYNC_REQUEST_BYTES: Final = 1024 * 1024
"""Largest payload of an asynchronous invoke (AWS Compute blog, January 2026: payloads up to 1 MB)."""
RESPONSE_BYTES: Final = 6 * 1024 * 1024 + 100
"""Largest response of a synchronous invoke; the last hundred bytes are measured, not documented."""

INVALID_ENTRYPOINT: Final = "Runtime.InvalidEntrypoint"
"""A custom runtime without an executable ``bootstrap`` (AWS Lambda developer guide, Building a custom runtime)."""

FUNCTION_ERROR: Final = "function error"
TIMEOUT: Final = "timeout"
CRASH: Final = "crash"
INIT_ERROR: Final = "init error"
THROTTLE: Final = "throttle"


def keeps_environment(cause: str | None) -> bool:
    """Whether the execution environment serves the next invoke after this one ended with ``cause``.

    A handler that raises leaves its process alive. After a timeout, a crash or a failed initialisation Lambda resets
    the environment (AWS Lambda developer guide, Lambda execution environment lifecycle).
    """
    return cause in (None, FUNCTION_ERROR)


def timed_out(request_id: str, timeout: float) -> bytes:
    """Document of an invoke that ran into the function's timeout, in seconds.

    The form of AWS's Runtime Interface Emulator, which is what Lambda answers.
    """
    message = f"RequestId: {request_id} Error: {timeout_text(timeout)}"
    return _document("Sandbox.Timedout", message)


def timeout_text(timeout: float) -> str:
    """What the log says of a timeout, in seconds."""
    return f"Task timed out after {timeout:.2f} seconds"


def exited(request_id: str, reason: str, error_type: str = "Runtime.ExitError") -> bytes:
    """Document of an invoke, or an initialisation, whose process ended; ``reason`` is that of ``exit_reason``."""
    return _document(error_type, f"RequestId: {request_id} Error: {reason}")


def exit_reason(wait_status: int) -> str:
    """How Lambda says that a runtime process ended with ``wait_status``, as of waitpid(2)."""
    code = os.waitstatus_to_exitcode(wait_status)
    if code == 0:
        return "Runtime exited without providing a reason"
    if code > 0:
        return f"Runtime exited with error: exit status {code}"
    text = signal.strsignal(-code) or f"signal {-code}"
    return f"Runtime exited with error: signal: {text.lower()}"


def exit_error_type(wait_status: int, peak_bytes: int, memory_bytes: int) -> str:
    """``Runtime.OutOfMemory`` for a process that was killed with its memory used up, else ``Runtime.ExitError``.

    AWS Lambda developer guide, Troubleshoot invocation issues: memory errors.
    """
    killed = os.WIFSIGNALED(wait_status) and os.WTERMSIG(wait_status) == signal.SIGKILL
    return "Runtime.OutOfMemory" if killed and peak_bytes >= memory_bytes else "Runtime.ExitError"


def type_of(document: bytes) -> str:
    """The type that an error document names; ``Runtime.Unknown`` where it names none: runtimes may write anything."""
    try:
        named = json.loads(document)["errorType"]
    except (ValueError, TypeError, KeyError):
        return "Runtime.Unknown"
    return str(named)


def response_too_large(size: int) -> bytes:
    """Document of an invoke whose response of ``size`` bytes is over the limit of a synchronous one."""
    message = f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({RESPONSE_BYTES} bytes)."
    return _document("Function.ResponseSizeTooLarge", message)


def _document(error_type: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()
