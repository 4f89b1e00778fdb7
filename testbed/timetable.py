"""Timed faults of a trial: begun at their times, undone at their ends, whatever happens in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any, cast

from testbed.chaos.timed import Part, TimedFault
from testbed.engine import PartName
from testbed.errors import HarnessError, TestbedError
from testbed.running import RunningTestbed
from testbed.scenario import Aws
from testbed.threads import in_daemon_thread

Note = Callable[..., Awaitable[object]]


class TrialWorld:
    """What timed faults reach: the engine of a running testbed, and the database of one architecture.

    Args:
        bed: The testbed.
        database: Name of the architecture's database.
    """

    def __init__(self, bed: RunningTestbed, database: str) -> None:
        self._bed = bed
        self._database = database
        self._client = cache(lambda url, service: Aws(url).client(service))  # to make one takes its time

    def part(self, name: str) -> Part:
        """A part of the engine."""
        return self._bed.engine.part(cast("PartName", name))

    async def aws(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call LocalStack with boto3, past the gateway and its faults.

        Whoever is cancelled meanwhile goes on once the call is over: what undoes it must not come before it.
        """

        def call() -> dict[str, Any]:
            answer: dict[str, Any] = getattr(self._client(self._bed.engine.localstack_url, service), operation)(
                **parameters
            )
            return answer

        calling = asyncio.ensure_future(in_daemon_thread(call))
        try:
            return await asyncio.shield(calling)
        finally:
            await asyncio.wait((calling,))

    def connect(self, *, admin: bool) -> AbstractAsyncContextManager[Any]:
        """A connection straight to Postgres."""
        return self._connect(admin=admin)

    @asynccontextmanager
    async def _connect(self, *, admin: bool) -> AsyncIterator[Any]:
        import psycopg  # noqa: PLC0415 - runs without such faults need none

        postgres = self._bed.engine.postgres
        dsn = postgres.dsn(self._database, postgres.admin) if admin else postgres.dsn(self._database)
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            yield connection


class Timetable:
    """Lets timed faults happen.

    Args:
        faults: Which, with a name each.
        world: What they reach.
        note: Writes down that one began or ended.

    Attributes:
        fired: Name of each fault to how often it has begun.
    """

    def __init__(self, faults: Sequence[TimedFault], world: TrialWorld, note: Note) -> None:
        self.fired = {fault.name: 0 for fault in faults}
        self._faults = faults
        self._world = world
        self._note = note
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, zero: float) -> None:
        """From now on; ``zero`` is the start of the traffic by `time.monotonic`."""
        self._tasks = [asyncio.create_task(self._happen(fault, zero), name=fault.name) for fault in self._faults]

    def check(self) -> None:
        """Says whether every fault could happen.

        Raises:
            TestbedError: One could not.
        """
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                if isinstance(error, TestbedError):
                    raise error
                message = f"the fault {task.get_name()} could not happen: {type(error).__name__}: {error}"
                raise HarnessError(message) from error

    async def stop(self) -> None:
        """End what still lasts, and wait until it is undone; `check` says whether that worked."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _happen(self, fault: TimedFault, zero: float) -> None:
        await asyncio.sleep(max(0.0, zero + fault.at - time.monotonic()))
        try:
            async with fault.happening(self._world):
                self.fired[fault.name] += 1
                await self._note(fault=fault.name, event="began")
                await asyncio.sleep(max(0.0, zero + fault.at + fault.seconds - time.monotonic()))
        except asyncio.CancelledError:
            if self.fired[fault.name]:
                await self._note(fault=fault.name, event="ended")
            raise
        await self._note(fault=fault.name, event="ended")
