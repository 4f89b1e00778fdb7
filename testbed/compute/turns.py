"""Who starts next, where only a few environments may start at the same time.

On AWS functions scale independently of each other. Here their starts share the processors of one machine, so functions
take turns: one that needs its first environment does not wait until another one has all of its hundred.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Lets so many run at once; of those that wait, one of each function after the other, in the order they came.

    Args:
        at_once: How many may run at the same time.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def of(self, function: str) -> AsyncIterator[None]:
        """Run the body when it is the turn of ``function``."""
        if self._free:
            self._free -= 1
        else:
            await self._turn(function)
        try:
            yield
        finally:
            self._pass_on()

    async def _turn(self, function: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(function, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it came at the same moment
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            function = next(iter(self._waiting))
            queue = self._waiting.pop(function)
            turn = queue.popleft()
            if queue:
                self._waiting[function] = queue  # behind the others
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
