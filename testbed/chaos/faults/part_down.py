"""A part of the engine that is killed, frozen or cut off, and comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal

from testbed.chaos.timed import TimedFault, World, to_its_end

_UNDONE_BY: Final = {"kill": "start", "pause": "resume", "disconnect": "reconnect"}


@dataclass(frozen=True, kw_only=True)
class PartDown(TimedFault):
    """Takes a part of the engine away for a while.

    Postgres recovers what was committed. LocalStack keeps nothing when it is killed: what was deployed is gone, so
    an architecture does not survive that here, as it would on AWS.

    Attributes:
        part: ``"localstack"`` or ``"postgres"``.
        action: ``"kill"`` ends it at once and starts it again at the end; ``"pause"`` freezes it, with its connections
            open; ``"disconnect"`` cuts it off from the network.
    """

    part: Literal["localstack", "postgres"]
    action: Literal["kill", "pause", "disconnect"] = "pause"

    @asynccontextmanager
    async def happening(self, world: World) -> AsyncIterator[bool]:
        """The part is away while the context is open."""
        part = world.part(self.part)
        doing = asyncio.ensure_future(getattr(part, self.action)())
        try:
            await to_its_end(doing)
            yield True
        finally:
            if doing.exception() is None:  # else it is as it was
                await getattr(part, _UNDONE_BY[self.action])()
