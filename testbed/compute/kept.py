"""What is read from the emulator once, however many ask for it at once."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

_K = TypeVar("_K", bound=Hashable)
_T = TypeVar("_T")


async def kept(
    known: "dict[_K, asyncio.Task[_T]]",
    key: _K,
    read: Callable[[], Coroutine[Any, Any, _T]],
) -> _T:
    """What is known under ``key``, read where it is not; a failure is raised, and not kept.

    It is kept as the task that reads it, so that what was being read when it changed can be forgotten.
    """
    task = known.get(key)
    if task is None or (task.done() and task.exception() is not None):
        task = known[key] = asyncio.create_task(read())
    return task.result() if task.done() else await asyncio.shield(task)
