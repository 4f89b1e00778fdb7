"""What is configured changes under a running system: concurrency is taken away, a mapping is switched off."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from testbed.chaos.timed import TimedFault, World


@dataclass(frozen=True, kw_only=True)
class ConcurrencyTaken(TimedFault):
    """Lowers the reserved concurrency of a function for a while, as a noisy neighbour or a wrong deployment does.

    Attributes:
        function: Its name.
        left: What it is left with; 0 throttles every invoke.

    Raises:
        UsageError: A field makes no sense.
    """

    function: str
    left: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.left < 0:
            raise self.refused(f"left={self.left} is negative")

    def happening(self, world: World) -> AbstractAsyncContextManager[None]:
        """The function has that much while the context is open; then what it had before."""
        return self._happening(world)

    @asynccontextmanager
    async def _happening(self, world: World) -> AsyncIterator[None]:
        name = self.function
        before = await world.aws("lambda", "get_function_concurrency", FunctionName=name)
        reserved = before.get("ReservedConcurrentExecutions")
        await world.aws("lambda", "put_function_concurrency", FunctionName=name, ReservedConcurrentExecutions=self.left)
        try:
            yield
        finally:
            if reserved is None:
                await world.aws("lambda", "delete_function_concurrency", FunctionName=name)
            else:
                await world.aws(
                    "lambda", "put_function_concurrency", FunctionName=name, ReservedConcurrentExecutions=reserved
                )


@dataclass(frozen=True, kw_only=True)
class MappingOff(TimedFault):
    """Disables the event source mappings of a function for a while.

    Attributes:
        function: Its name.
    """

    function: str

    def happening(self, world: World) -> AbstractAsyncContextManager[None]:
        """They are disabled while the context is open."""
        return self._happening(world)

    @asynccontextmanager
    async def _happening(self, world: World) -> AsyncIterator[None]:
        answer = await world.aws("lambda", "list_event_source_mappings", FunctionName=self.function)
        uuids = [each["UUID"] for each in answer["EventSourceMappings"]]
        if not uuids:
            raise self.refused(f"function {self.function!r} has no event source mapping")
        for uuid in uuids:
            await world.aws("lambda", "update_event_source_mapping", UUID=uuid, Enabled=False)
        try:
            yield
        finally:
            for uuid in uuids:
                await world.aws("lambda", "update_event_source_mapping", UUID=uuid, Enabled=True)
