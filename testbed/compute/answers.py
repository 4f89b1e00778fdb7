"""What an invoke answers, by what became of its environment."""

import json
import time

from testbed.compute.environment import Event, Kind
from testbed.compute.functions import Function
from testbed.compute.processes import Exit
from testbed.semantics import function_errors


def answer(function: Function, request_id: str, event: Event, memory: int) -> tuple[bytes, str | None, bytes]:
    """Payload, cause of failure, and what the platform adds to the log."""
    match event.kind:
        case Kind.RESPONSE if len(event.body) <= function_errors.RESPONSE_BYTES:
            return event.body, None, b""
        case Kind.RESPONSE:
            too_large = function_errors.response_too_large(len(event.body))
            return too_large, function_errors.FUNCTION_ERROR, too_large + b"\n"
        case Kind.ERROR:
            return event.body, function_errors.FUNCTION_ERROR, b""
        case Kind.TIMEOUT:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
            text = f"{stamp} {request_id} {function_errors.timeout_text(function.timeout)}\n\n"
            return function_errors.timed_out(request_id, function.timeout), function_errors.TIMEOUT, text.encode()
        case Kind.INIT_ERROR:
            document, text = _init_error(event.body, request_id)
            return document, function_errors.INIT_ERROR, text.encode()
        case _:
            how = event.exit or Exit(0, 0)
            reason = function_errors.exit_reason(how.status)
            error_type = function_errors.exit_error_type(how.status, memory, function.memory_mb * 2**20)
            text = f"RequestId: {request_id} Error: {reason}\n{error_type}\n"
            return function_errors.exited(request_id, reason, error_type), function_errors.CRASH, text.encode()


def _init_error(document: bytes, request_id: str) -> tuple[bytes, str]:
    """The document that a runtime has sent, and what the platform adds to the log: only of a runtime that is not there.

    That one was sent by a process of ours, which knows of no request.
    """
    if function_errors.type_of(document) != function_errors.INVALID_ENTRYPOINT:
        return document, ""
    error_type, problem = function_errors.INVALID_ENTRYPOINT, json.loads(document)["errorMessage"]
    return function_errors.exited(request_id, problem, error_type), (
        f"RequestId: {request_id} Error: {problem}\n{error_type}\n"
    )


def report_status(cause: str | None, payload: bytes) -> str:
    """How the report line ends after a failure of the environment that was answered with ``payload``."""
    if function_errors.keeps_environment(cause):
        return ""
    if cause == function_errors.TIMEOUT:
        return "Status: timeout"
    return f"Status: error\tError Type: {function_errors.type_of(payload)}"


def init_failure(function: Function, event: Event, memory: int) -> str | None:
    """Type of the error that an initialisation came to; None where it ran out of time."""
    if event.kind is Kind.TIMEOUT:
        return None
    return function_errors.type_of(answer(function, "", event, memory)[0])
