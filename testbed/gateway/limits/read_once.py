"""What was read of a resource from the emulator, kept until the emulator says that it changed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from testbed.compute.aws import AwsCallError

_T = TypeVar("_T")


class ReadOnce(Generic[_T]):
    """Reads each resource when it is first asked for; whoever asks meanwhile waits for the same answer.

    Args:
        read: Reads the resource of a name; None means that there is nothing to know of it.
    """

    def __init__(self, read: Callable[[str], Awaitable[_T | None]]) -> None:
        self._read = read
        self._tasks: dict[str, asyncio.Future[_T | None]] = {}

    async def get(self, name: str) -> _T | None:
        """What is known of ``name``; None where the emulator does not know it, which is asked again next time."""
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = asyncio.ensure_future(self._read(name))
        known = None
        try:
            known = task.result() if task.done() else await asyncio.shield(task)
        except AwsCallError:
            pass
        finally:
            if known is None and task.done() and self._tasks.get(name) is task:
                del self._tasks[name]
        return known

    def forget(self, name: str = "") -> None:
        """Read ``name``, or everything, anew when it is asked for again."""
        if name:
            self._tasks.pop(name, None)
        else:
            self._tasks.clear()
