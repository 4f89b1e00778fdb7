"""How many executions of state machines are under way: one that waits holds an order, and nothing else is busy."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final

from multidict import CIMultiDict

from testbed.gateway.emulator import EmulatorUnreachableError
from testbed.gateway.message import Inbound, Reply

_REQUEST: Final = Inbound("GET", "/_testbed/plugin/executions", CIMultiDict())
_ANSWER_SECONDS: Final = 5.0  # as for the depths of queues


class Executions:
    """Those that began under test; who uses a testbed that stands may have others there, which nobody waits for.

    Args:
        forward: Sends a request to the emulator.

    Attributes:
        running: How many have not ended; None where the emulator did not say.
    """

    def __init__(self, forward: Callable[[Inbound], Awaitable[Reply]]) -> None:
        self._forward = forward
        self._others: frozenset[str] = frozenset()
        self.running: int | None = 0

    async def begin(self) -> None:
        """What runs now does not count."""
        self._others = await self._ask() or frozenset()
        self.running = 0

    async def measure(self) -> None:
        """Look once."""
        found = await self._ask()
        self.running = None if found is None else len(found - self._others)

    async def _ask(self) -> frozenset[str] | None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                reply = await self._forward(_REQUEST)
                return frozenset(json.loads(await reply.whole())["running"])
        except (EmulatorUnreachableError, TimeoutError, ValueError, LookupError):
            return None
