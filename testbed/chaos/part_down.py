"""A part of the engine that is killed, frozen or cut off, and comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal

from testbed.chaos.timed import TimedFault, World, to_its_end

PARTS: Final = ("localstack", "postgres")
_ACTIONS: Final = {"kill": "start", "pause": "resume", "disconnect": "reconnect"}


@dataclass(frozen=True, kw_only=True)
class PartDown(TimedFault):
    """Takes a part of the engine away for a while.

    Postgres recovers what was committed. LocalStack keeps nothing when it is killed: what was deployed is gone, so
    an architecture does not survive that here, as it would on AWS.

    Attributes:
        part: ``"localstack"`` or ``"postgres"``.
        action: ``"kill"`` ends it at once and starts it again at the end; ``"pause"`` freezes it, with its connections
            open; ``"disconnect"`` cuts it off from the network.

    Raises:
        UsageError: A field makes no sense.
    """

    part: Literal["localstack", "postgres"]
    action: Literal["kill", "pause", "disconnect"] = "pause"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.part not in PARTS:
            raise self.refused(f"part={self.part!r} is none of {', '.join(PARTS)}")
        if self.action not in _ACTIONS:
            raise self.refused(f"action={self.action!r} is none of {', '.join(_ACTIONS)}")

    def happening(self, world: World) -> AbstractAsyncContextManager[bool]:
        """The part is away while the context is open."""
        return self._happening(world)

    @asynccontextmanager
    async def _happening(self, world: World) -> AsyncIterator[bool]:
        part = world.part(self.part)
        doing = asyncio.ensure_future(getattr(part, self.action)())
        try:
            await to_its_end(doing)
            yield True
        finally:
            if doing.exception() is None:  # else it is as it was
                await getattr(part, _ACTIONS[self.action])()
