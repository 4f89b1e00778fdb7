"""Lambda's queue of asynchronous invokes: accepted at once, tried until they succeed or are given up."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from testbed.chaos.decision import draw
from testbed.compute.aws import AwsSender
from testbed.compute.destinations import Destinations, Ending, Event, Settings
from testbed.compute.result import InvokeResult
from testbed.semantics.async_invoke import SUCCESS, AsyncInvoke, AsyncInvokeProfile, End, Outcome
from testbed.trace import parse_trace

_UNANSWERED: Final = 0
_NOT_ACTIVE: Final = 409
_SERVER_ERROR: Final = 500
_THROTTLED: Final = 429
_log: Final = logging.getLogger(__name__)

Attempt = Callable[[Settings], Awaitable[tuple[Settings, InvokeResult | None]]]
"""Invokes the function once: takes what it was last known to say of its asynchronous invokes and returns what it says
now, with the answer, which is None where a reserved concurrency of 0 forbids the attempt."""


class Journal(Protocol):
    """Where hops are recorded."""

    def record(self, hop: str, **fields: object) -> None:
        """Append one line."""
        ...


class AsyncQueue:
    """Events on their way to a function, each in a task of its own.

    Args:
        rules: When to try again.
        aws: Sends what became of them to destinations and dead-letter queues.
        journal: Takes an ``"async"`` hop for each event that is accepted, delivered or dropped, and for each delivery
            that failed.

    Attributes:
        dropped: Events that were given up.
    """

    def __init__(self, rules: AsyncInvokeProfile, aws: AwsSender, journal: Journal) -> None:
        self._rules = rules
        self._destinations = Destinations(aws, self._note, rules)
        self._journal = journal
        self._tasks: set[asyncio.Task[None]] = set()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def submit(self, event: Event, attempt: Attempt) -> None:
        """Accept one event."""
        self._note("accepted", event)
        task = asyncio.create_task(self._process(event, attempt))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def clear(self) -> None:
        """Forget every event, and how many were given up."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.dropped = 0

    async def _process(self, event: Event, attempt: Attempt) -> None:
        now = asyncio.get_running_loop().time
        way = AsyncInvoke(self._rules)
        settings = Settings()
        while True:
            settings, result = await attempt(settings)
            age = now() - event.accepted
            step = way.after(_outcome(result), age=age, config=settings.config, spread=_spread(event, way.tries))
            if isinstance(step, End):
                break
            await asyncio.sleep(step.wait)
        succeeded = step.condition == SUCCESS
        self.dropped += not succeeded
        self._note(
            "delivered" if succeeded else "dropped",
            event,
            attempts=way.invokes,
            cause=result.cause if result else step.condition,
            condition=step.condition,
            age=round(age, 3),
        )
        await self._destinations.deliver(
            event, settings, Ending(condition=step.condition, invokes=way.invokes, result=result)
        )

    def _note(self, happened: str, event: Event, **fields: object) -> None:
        trace = parse_trace(event.trace)
        self._journal.record(
            "async",
            event=happened,
            function=event.function,
            request_id=event.request_id,
            **fields,
            trace=trace[0] if trace else None,
        )

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._journal.record("async", event="error", cause=repr(error))
            _log.error("an asynchronous invoke was lost to a bug", exc_info=error)


def _outcome(result: InvokeResult | None) -> Outcome:
    if result is None:
        return Outcome.DISABLED
    if result.status in {_UNANSWERED, _THROTTLED, _NOT_ACTIVE} or result.status >= _SERVER_ERROR:
        return Outcome.REFUSED
    return Outcome.FAILED if result.function_error or result.error else Outcome.SUCCEEDED


def _spread(event: Event, tries: int) -> float:
    """The jitter of a wait, the same in every run where an order caused the event."""
    trace = parse_trace(event.trace)
    return draw(0, "async", trace[0] if trace else event.request_id, tries)
