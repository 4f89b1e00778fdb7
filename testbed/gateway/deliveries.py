"""Deliveries of topics and rules: what SNS and EventBridge send, tried until it arrives or is given up.

The emulator's plugin hands each delivery over before the first attempt. Every attempt is one call through the gateway,
in the emulator's name: faults and limits act on it, and the journal has it.
"""

import asyncio
import base64
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from testbed.chaos.decision import draw
from testbed.compute import delivery
from testbed.compute.async_queue import Journal
from testbed.compute.aws import AwsCallError, AwsSender
from testbed.semantics.delivery_retries import (
    EventsDelivery,
    Failure,
    GiveUp,
    RetryPolicy,
    SnsDelivery,
    dead_letter_attributes,
)
from testbed.semantics.profiles import Profile
from testbed.semantics.profiles import aws as aws_profile
from testbed.trace import fresh_trace_header, parse_trace

CALLER: Final = "emulator"
_SERVER_ERROR: Final = 500
_ANSWERED_AFTER: Final = 1.0
"""Seconds for which the emulator waits for the first attempt, so that what arrives at once is there when it answers."""

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One message for one subscription, or one event for one target.

    Attributes:
        by: Who delivers, ``"sns"`` or ``"events"``.
        source: ARN of the subscription or of the rule.
        target: ARN of what it is delivered to.
        service: What is called, by botocore's name.
        operation: The operation.
        params: Its parameters; of a queue's, the URL is filled in.
        trace: The trace header of all attempts.
        policy: What the target says of retries.
        dead_letter: ARN of the dead-letter queue.
        letter: What goes there, as parameters of SendMessage.
    """

    by: str
    source: str
    target: str
    service: str
    operation: str
    params: dict[str, Any]
    trace: str
    policy: RetryPolicy
    dead_letter: str | None
    letter: dict[str, Any]

    @property
    def lane(self) -> tuple[str, str] | None:
        """Subscription and message group, where deliveries keep their order: from a FIFO topic to a FIFO queue.

        Source: Amazon SNS developer guide, Amazon SNS message ordering details for FIFO topics.
        """
        group = self.params.get("MessageGroupId")
        return (self.source, group) if self.by == "sns" and self.target.endswith(".fifo") and group else None

    @classmethod
    def from_json(cls, order: Mapping[str, Any]) -> "Delivery":
        """What the plugin sends; blobs are objects with the one member ``base64``."""
        policy = order.get("retry_policy") or {}
        return cls(
            by=order["by"],
            source=order["source"],
            target=order["target"],
            service=order["service"],
            operation=order["operation"],
            params=_with_blobs(order["params"]),
            trace=order.get("trace") or fresh_trace_header(),
            policy=RetryPolicy(
                maximum_retry_attempts=policy.get("MaximumRetryAttempts"),
                maximum_event_age=policy.get("MaximumEventAgeInSeconds"),
            ),
            dead_letter=order.get("dead_letter"),
            letter=_with_blobs(order.get("letter") or {}),
        )


class Deliveries:
    """All that is being delivered, each delivery in a task of its own.

    Args:
        aws: Takes the attempts.
        host: Host and port of the gateway, for queue URLs.
        journal: Takes a ``"delivery"`` hop for each delivery that waits for its first retry, arrives after retries,
            goes to a dead-letter queue or is dropped.
    """

    def __init__(self, aws: AwsSender, host: str, journal: Journal) -> None:
        self._aws = aws
        self._host = host
        self._journal = journal
        self._profile = aws_profile
        self._tasks: set[asyncio.Task[bool]] = set()
        self._last: dict[tuple[str, str], asyncio.Task[bool]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def use(self, profile: Profile) -> None:
        """Go by other numbers from the next delivery on."""
        self._profile = profile

    async def accept(self, order: Mapping[str, Any]) -> bool:
        """Take a delivery over; says, once the first attempt has ended, whether it has arrived."""
        first = asyncio.Event()
        each = Delivery.from_json(order)
        task = asyncio.create_task(self._deliver(each, first, self._last.get(each.lane) if each.lane else None))
        self._tasks.add(task)
        if each.lane:
            self._last[each.lane] = task
        task.add_done_callback(lambda _: self._done(task, each.lane))
        task.add_done_callback(lambda _: first.set())
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWERED_AFTER):
                await first.wait()
        return task.done() and not task.cancelled() and task.exception() is None and task.result()

    async def clear(self) -> None:
        """Forget every delivery."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, each: Delivery, first: asyncio.Event, earlier: "asyncio.Task[bool] | None") -> bool:
        if earlier and not earlier.done():
            first.set()
            await asyncio.wait({earlier})
        profile, now = self._profile, asyncio.get_running_loop().time
        way = SnsDelivery(profile.sns) if each.by == "sns" else EventsDelivery(profile.events, each.policy)
        started, attempts = now(), 0
        params = each.params | (self._queue(each.target) if each.service == "sqs" else {})
        while True:
            attempts += 1
            failure = await self._try(each, params)
            age = now() - started
            if failure is None:
                if attempts > 1:
                    self._note("delivered", each, attempts=attempts, age=round(age, 3))
                return True
            step = way.after(failure, attempts=attempts, age=age, spread=_spread(each, attempts))
            if isinstance(step, GiveUp):
                break
            if attempts == 1:
                self._note("waiting", each, attempts=attempts, cause=failure.code)
            first.set()
            await asyncio.sleep(step.wait)
        told = {"attempts": attempts, "cause": failure.code, "condition": step.condition, "age": round(age, 3)}
        if each.dead_letter is None:
            self._note("dropped", each, **told)
        elif await self._dead_letter(each, each.dead_letter, failure, step, attempts):
            self._note("dead-lettered", each, **told)
        else:
            self._note("dead-letter failed", each, **told)
        return False

    async def _dead_letter(self, each: Delivery, queue: str, failure: Failure, end: GiveUp, attempts: int) -> bool:
        """Send what was given up to its dead-letter queue; whether that took it."""
        rules = self._profile.sns if each.by == "sns" else self._profile.events
        letter = each.letter | self._queue(queue)
        if each.by == "events":
            letter["MessageAttributes"] = dead_letter_attributes(each.source, each.target, failure, end, attempts)
        for attempt in range(1, rules.dead_letter_attempts + 1):
            try:
                await self._aws.call("sqs", "SendMessage", letter, caller=CALLER, trace=each.trace)
            except AwsCallError as error:
                if delivery.is_final(error):
                    return False
                await asyncio.sleep(rules.dead_letter_retry.delay(attempt))
            else:
                return True
        return False

    async def _try(self, each: Delivery, params: dict[str, Any]) -> Failure | None:
        try:
            answer = await self._aws.call(each.service, each.operation, params, caller=CALLER, trace=each.trace)
        except AwsCallError as error:
            return Failure(error.code, error.status, error.message)
        if answer.get("FailedEntryCount"):  # of PutEvents, whose answer has status 200 all the same
            failed = answer["Entries"][0]
            return Failure(failed.get("ErrorCode", ""), _SERVER_ERROR, failed.get("ErrorMessage", ""))
        return None

    def _queue(self, arn: str) -> dict[str, str]:
        account, name = arn.split(":")[4:6]
        return {"QueueUrl": f"http://{self._host}/{account}/{name}"}

    def _note(self, happened: str, each: Delivery, **fields: object) -> None:
        trace = parse_trace(each.trace)
        self._journal.record(
            "delivery", event=happened, by=each.by, source=each.source, target=each.target, **fields,
            trace=trace[0] if trace else None,
        )  # fmt: skip

    def _done(self, task: "asyncio.Task[bool]", lane: tuple[str, str] | None) -> None:
        self._tasks.discard(task)
        if lane and self._last.get(lane) is task:
            del self._last[lane]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._journal.record("delivery", event="error", cause=repr(error))
            _log.error("a delivery was lost to a bug", exc_info=error)


def _spread(each: Delivery, attempts: int) -> float:
    """The jitter of a wait, the same in every run where an order caused the delivery."""
    trace = parse_trace(each.trace)
    return draw(0, each.by, f"{each.target} {trace[0] if trace else ''}", attempts)


def _with_blobs(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_blobs(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"base64"}:
        return base64.b64decode(value["base64"])
    return {name: _with_blobs(member) for name, member in value.items()}
