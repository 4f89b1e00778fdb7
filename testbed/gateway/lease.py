"""Who may run a scenario on a standing testbed: one at a time, and nobody for ever.

Whoever holds the lease renews it all the time. When it is given back, or was not renewed for a while because its
holder was killed, the test is ended and what was deployed meanwhile is removed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from testbed.gateway.inventory import Known
from testbed.threads import in_daemon_thread

LEASE_SECONDS: Final = 10.0


class Resources(Protocol):
    """What is deployed."""

    def take(self) -> Known:
        """Everything that is there now."""

    def remove_others(self, known: Known) -> list[str]:
        """Delete all that is not ``known``; returns what could not be deleted, for people."""


class Lease:
    """The one lease of a testbed.

    Args:
        resources: Called for each holder: what is deployed.
        end: Takes the architecture, should there be one, out of test.
        clock: Seconds.
    """

    def __init__(
        self,
        resources: Callable[[], Resources],
        end: Callable[[], Awaitable[object]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resources = resources
        self._end = end
        self._clock = clock
        self._holder: str | None = None
        self._until = 0.0
        self._known: Known = {}
        self._changing = asyncio.Lock()

    @property
    def is_held(self) -> bool:
        """Whether a run has it."""
        return self._holder is not None

    async def take(self, run: str) -> Known | None:
        """Give the lease to ``run``: what is deployed already; None where another run holds it."""
        async with self._changing:
            if self._holder is not None and not self._lapsed:
                return None
            await self._free()
            self._known = await in_daemon_thread(lambda: self._resources().take())
            self._holder = run
            self._until = self._clock() + LEASE_SECONDS
            return self._known

    def renew(self, run: str) -> bool:
        """Whether ``run`` holds the lease still; if so, for ten more seconds."""
        if self._holder != run:
            return False
        self._until = self._clock() + LEASE_SECONDS
        return True

    async def give_back(self, run: str) -> list[str]:
        """The run is over: remove what it deployed; returns what could not be removed, for people."""
        async with self._changing:
            return await self._free() if self._holder == run else []

    async def expire(self) -> None:
        """End the lease if its holder has not been heard of for too long."""
        async with self._changing:
            if self._lapsed:
                await self._free()

    @property
    def _lapsed(self) -> bool:
        return self._holder is not None and self._clock() >= self._until

    async def _free(self) -> list[str]:
        if self._holder is None:
            return []
        self._holder = None  # from now on it is not renewed any more
        await self._end()
        return await in_daemon_thread(lambda: self._resources().remove_others(self._known))
