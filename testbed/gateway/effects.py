"""What faults do to calls of AWS services, beyond making them wait: their answers and their effects, carried out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from multidict import CIMultiDict

from testbed.chaos.call import Answer, AwsError, Effect, FunctionAnswer, HttpAnswer
from testbed.compute.result import InvokeResult
from testbed.gateway.classify import Target
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.wire import error_reply

Execute = Callable[[Target, Inbound], Awaitable[Reply]]
"""Does what a request asks for."""

Carry = Callable[[Effect, Target, Inbound, Execute], Awaitable[Reply]]
"""Does it under an effect."""

_CARRIED: Final[Mapping[type[Effect], Carry]] = {}


async def under(effects: Sequence[Effect], target: Target, request: Inbound, execute: Execute) -> Reply:
    """Execute ``request`` under ``effects``, the first of them outermost."""
    if not effects:
        return await execute(target, request)
    first, rest = effects[0], effects[1:]

    async def inner(target: Target, request: Inbound) -> Reply:
        return await under(rest, target, request, execute)

    return await _CARRIED[type(first)](first, target, request, inner)


def answer_reply(answer: Answer, target: Target, request: Inbound, cause: str | None) -> Reply:
    """What a fault answers, on its way to the caller; a reply without a status is a broken connection."""
    match answer:
        case AwsError(status=0, code=code):
            return Reply(0, error=code, cause=cause)
        case AwsError():
            return error_reply(answer, target, request, cause=cause)
        case HttpAnswer(status=status, body=body, content_type=content_type):
            return Reply(status, CIMultiDict({"Content-Type": content_type}), body, error=str(status), cause=cause)
        case FunctionAnswer(payload=payload):
            return Reply(200, CIMultiDict({"Content-Type": "application/json"}), payload, cause=cause)


def answer_result(answer: Answer, cause: str) -> InvokeResult:
    """What a fault answers to an invoke."""
    match answer:
        case AwsError(status=status):
            return InvokeResult(status, b"", None, answer, cause)
        case FunctionAnswer(payload=payload, failed=failed):
            return InvokeResult(200, payload, "Unhandled" if failed else None, None, cause if failed else None)
        case HttpAnswer(status=status):
            error = AwsError("ServiceException", status, "an injected fault")
            return InvokeResult(status, b"", None, error, cause)
