"""What is configured changes under a running system: concurrency is taken away, a mapping is switched off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from testbed.chaos.timed import TimedFault, World

_TRANSIENT: Final = frozenset({"Creating", "Enabling", "Disabling", "Updating"})
_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class ConcurrencyTaken(TimedFault):
    """Lowers the reserved concurrency of a function for a while, as a noisy neighbour or a wrong deployment does.

    A function that has no more than ``left`` already keeps what it has, and the fault has not fired.

    Attributes:
        function: Its name.
        left: What it is left with. 0 turns the function off: synchronous invokes are throttled, and asynchronous ones
            are given up at once, without a retry (AWS Lambda developer guide, Configuring reserved concurrency).

    Raises:
        UsageError: A field makes no sense.
    """

    function: str
    left: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.left < 0:
            raise self.refused(f"left={self.left} is negative")

    @asynccontextmanager
    async def happening(self, world: World) -> AsyncIterator[bool]:
        """The function has that much while the context is open; then what it had before."""
        name = self.function
        before = await world.aws("lambda", "get_function_concurrency", FunctionName=name)
        reserved = before.get("ReservedConcurrentExecutions")
        if reserved is not None and reserved <= self.left:
            yield False
            return
        try:
            await world.aws(
                "lambda", "put_function_concurrency", FunctionName=name, ReservedConcurrentExecutions=self.left
            )
            yield True
        finally:
            if reserved is None:
                await world.aws("lambda", "delete_function_concurrency", FunctionName=name)
            else:
                await world.aws(
                    "lambda", "put_function_concurrency", FunctionName=name, ReservedConcurrentExecutions=reserved
                )


@dataclass(frozen=True, kw_only=True)
class MappingOff(TimedFault):
    """Disables the event source mappings of a function for a while, those that are enabled when it begins.

    What they have taken in is processed to the end; what comes meanwhile waits in its source, or expires there.

    Attributes:
        function: Its name.
    """

    function: str

    @asynccontextmanager
    async def happening(self, world: World) -> AsyncIterator[bool]:
        """They are disabled while the context is open.

        Raises:
            UsageError: No mapping of the function is enabled.
        """
        answer = await world.aws("lambda", "list_event_source_mappings", FunctionName=self.function)
        uuids = [each["UUID"] for each in answer["EventSourceMappings"]]
        enabled = [uuid for uuid in uuids if await _settled(world, uuid) == "Enabled"]
        if not enabled:
            raise self.refused(f"function {self.function!r} has no event source mapping that is enabled")
        async with AsyncExitStack() as undoing:  # each is undone, whatever becomes of the others
            for uuid in enabled:
                undoing.push_async_callback(_switch, world, uuid, on=True)
                await _switch(world, uuid, on=False)
            for uuid in enabled:
                await _settled(world, uuid)
            yield True


async def _switch(world: World, uuid: str, *, on: bool) -> None:
    await _settled(world, uuid)
    await world.aws("lambda", "update_event_source_mapping", UUID=uuid, Enabled=on)


async def _settled(world: World, uuid: str) -> str:
    """The state of a mapping once it is on its way into no other; until then Lambda takes no change of it.

    API reference, UpdateEventSourceMapping: ResourceInUseException.
    """
    while True:
        mapping = await world.aws("lambda", "get_event_source_mapping", UUID=uuid)
        state: str = mapping["State"]
        if state not in _TRANSIENT:
            return state
        await asyncio.sleep(_LOOK_SECONDS)
