"""Lambda's queue of asynchronous invokes: accepted at once, tried until they succeed or their retries are used up."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from testbed.compute.result import InvokeResult
from testbed.semantics.async_invoke import AsyncInvokeProfile

_SERVER_ERROR: Final = 500
_THROTTLED: Final = 429


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """An asynchronous invoke.

    Attributes:
        attempt: Invokes the function once.
        is_hopeless: Whether a failed attempt is not to be tried again: a reserved concurrency of 0 drops at once.
        on_drop: Told the last result and the number of attempts when the event is given up.
    """

    attempt: Callable[[], Awaitable[InvokeResult]]
    is_hopeless: Callable[[], bool]
    on_drop: Callable[[InvokeResult, int], None]


class AsyncQueue:
    """Events on their way to a function, each in a task of its own.

    Args:
        rules: When to try again.
    """

    def __init__(self, rules: AsyncInvokeProfile) -> None:
        self._rules = rules
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def submit(self, event: Event) -> None:
        """Deliver one event."""
        task = asyncio.create_task(self._deliver(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def clear(self) -> None:
        """Forget every event."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, event: Event) -> None:
        rules = self._rules
        now = asyncio.get_running_loop().time
        expires = now() + rules.maximum_age
        error_waits = iter(rules.error_waits)
        throttle_wait = rules.throttle_wait
        attempts = 0
        while True:
            result = await event.attempt()
            attempts += 1
            wait: float | None = None
            if result.status == _THROTTLED or result.status >= _SERVER_ERROR:
                wait = throttle_wait
                throttle_wait = min(2 * throttle_wait, rules.throttle_wait_limit)
            elif result.function_error:
                wait = next(error_waits, None)
            elif result.error is None:
                return
            if wait is None or now() + wait > expires or event.is_hopeless():
                event.on_drop(result, attempts)
                return
            await asyncio.sleep(wait)
