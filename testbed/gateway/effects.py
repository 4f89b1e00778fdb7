"""What faults do to calls of AWS services, beyond making them wait: their answers and their effects, carried out."""

from collections.abc import Sequence
from dataclasses import replace

from multidict import CIMultiDict

from testbed.chaos.call import Answer, AwsError, Effect, FunctionAnswer, HttpAnswer
from testbed.chaos.faults.delivery import SentLate, VisibleAgain
from testbed.chaos.faults.duplicate import Twice
from testbed.chaos.faults.partial_failure import EntriesFail
from testbed.compute.result import InvokeResult
from testbed.gateway.batches import entries_fail
from testbed.gateway.classify import Target
from testbed.gateway.limits.wire import Forward
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.queue_effects import sent_late, visible_again
from testbed.gateway.wire import error_reply


async def under(effects: Sequence[Effect], target: Target, request: Inbound, forward: Forward) -> Reply:
    """Execute ``request`` by ``forward`` under ``effects``, the first of them outermost."""
    if not effects:
        return await forward(request, target)
    first, rest = effects[0], effects[1:]

    async def inner(request: Inbound, target: Target) -> Reply:
        return await under(rest, target, request, forward)

    match first:
        case EntriesFail():
            return await entries_fail(first, target, request, inner)
        case VisibleAgain():
            return await visible_again(first, target, request, inner)
        case SentLate():
            return await sent_late(first, target, request, inner)
        case Twice():
            return await _twice(first, target, request, inner)
    raise TypeError(f"{first} is no effect on calls of AWS services")


async def _twice(effect: Twice, target: Target, request: Inbound, forward: Forward) -> Reply:
    if request.stream is not None:
        body = b"".join([piece async for piece in request.stream])
        request = replace(request, body=body, stream=None)
    first = await forward(request, target)
    await first.whole()
    if first.refused:
        return first
    effect.happened()
    return await forward(request, target)


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
