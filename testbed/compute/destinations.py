"""Where the ends of asynchronous invokes are told of: destinations and dead-letter queues."""

import asyncio
import functools
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Protocol

from testbed.compute import delivery
from testbed.compute.aws import AwsCallError, AwsSender
from testbed.compute.delivery import Document
from testbed.compute.result import InvokeResult
from testbed.semantics.async_invoke import SUCCESS, AsyncInvokeProfile, EventInvokeConfig
from testbed.semantics.invocation_record import (
    Response,
    dead_letter_attributes,
    detail_type,
    invocation_record,
    object_key,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """An asynchronous invoke.

    Attributes:
        function: Name of the function.
        arn: Its ARN with the qualifier, ``$LATEST`` where there is none.
        request_id: Of the invoke, in all attempts.
        payload: The event, JSON.
        trace: The trace header.
        accepted: When it was accepted, by the loop's clock: its age counts from there.
    """

    function: str
    arn: str
    request_id: str
    payload: bytes
    trace: str | None
    accepted: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the function says of it.

    Attributes:
        config: Of the qualifier.
        dead_letter: ARN of the dead-letter queue of the version that ran, a queue or a topic.
    """

    config: EventInvokeConfig = field(default=EventInvokeConfig())
    dead_letter: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How an event ended.

    Attributes:
        condition: ``"Success"``, or why it was given up.
        invokes: How often it reached the function.
        result: The last answer; None where no attempt was made.
    """

    condition: str
    invokes: int
    result: InvokeResult | None


class Note(Protocol):
    """Writes a line about an event into the journal."""

    def __call__(self, happened: str, event: Event, **fields: object) -> None:
        """``happened`` to ``event``."""


class Destinations:
    """Sends what became of events to where their functions say.

    Args:
        aws: Calls AWS; faults may act on it.
        note: Told of what could not be sent.
        rules: How often it is tried.
    """

    def __init__(self, aws: AwsSender, note: Note, rules: AsyncInvokeProfile) -> None:
        self._aws = aws
        self._note = note
        self._rules = rules

    async def deliver(self, event: Event, settings: Settings, ending: Ending) -> None:
        """Tell the destination and, of a failure, the dead-letter queue; both, where there are both."""
        config = settings.config
        succeeded = ending.condition == SUCCESS
        sent = []
        if destination := config.on_success if succeeded else config.on_failure:
            sent.append(self._send(event, destination, _record(event, destination, ending), "destination failed"))
        if settings.dead_letter and not succeeded:
            attributes = dead_letter_attributes(event.request_id, _response(ending.result))
            letter = Document(text=event.payload.decode(), attributes=attributes)
            sent.append(self._send(event, settings.dead_letter, letter, "dead-letter failed"))
        await asyncio.gather(*sent)

    async def _send(self, event: Event, arn: str, document: Document, failed: str) -> None:
        """Send ``document``, once it is not throttled any more; note that it ``failed`` where it cannot be sent."""
        call = functools.partial(self._aws.call, caller=f"async:{event.function}", trace=event.trace)
        for attempt in range(1, self._rules.delivery_attempts + 1):
            try:
                await delivery.send(call, arn, document)
            except AwsCallError as error:
                if delivery.is_final(error) or attempt == self._rules.delivery_attempts:
                    self._note(failed, event, attempts=attempt, cause=error.code, destination=arn)
                    return
                await asyncio.sleep(self._rules.delivery_retry.delay(attempt))
            else:
                return


def _record(event: Event, destination: str, ending: Ending) -> Document:
    now = time.time()
    record = invocation_record(
        request_id=event.request_id,
        function_arn=event.arn,
        condition=ending.condition,
        invokes=ending.invokes,
        payload=event.payload,
        response=_response(ending.result),
        now=now,
    )
    return Document(
        text=json.dumps(record, separators=(",", ":")),
        key=object_key(event.function, now, str(uuid.uuid4())),
        detail_type=detail_type(succeeded=ending.condition == SUCCESS),
        resources=(destination, event.arn),
    )


def _response(result: InvokeResult | None) -> Response | None:
    if result is None:
        return None
    if result.error is not None:
        return Response(status=result.status, message=result.error.message)
    return Response(
        status=result.status,
        executed_version=result.executed_version,
        function_error=result.function_error,
        payload=result.payload or b"null",
    )
