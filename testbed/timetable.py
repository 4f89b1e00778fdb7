"""Timed faults of a trial: begun at their times, undone at their ends, whatever happens in between."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from functools import cache
from typing import Any, Final, cast

from botocore.exceptions import ClientError

from testbed.chaos.timed import Part, TimedFault, to_its_end
from testbed.engine import PartName
from testbed.errors import HarnessError, TestbedError
from testbed.running import RunningTestbed
from testbed.scenario import Aws
from testbed.threads import in_daemon_thread

Note = Callable[..., Awaitable[object]]

_NOT_THERE: Final = frozenset({"42P01", "3F000"})
"""undefined_table and invalid_schema_name (PostgreSQL documentation, PostgreSQL Error Codes)."""


class TrialWorld:
    """What timed faults reach: the engine of a running testbed, and the database of one architecture.

    Args:
        bed: The testbed.
        database: Name of the architecture's database, as it was created.
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

        return await to_its_end(in_daemon_thread(call))

    def connect(self, *, admin: bool) -> AbstractAsyncContextManager[Any]:
        """A connection straight to Postgres."""
        return self._connect(admin=admin)

    @asynccontextmanager
    async def _connect(self, *, admin: bool) -> AsyncIterator[Any]:
        import psycopg  # noqa: PLC0415 - runs without such faults need none

        postgres, database = self._bed.engine.postgres, self._bed.database_name(self._database)
        dsn = postgres.dsn(database, postgres.admin) if admin else postgres.dsn(database)
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            yield connection


class Timetable:
    """Lets timed faults happen.

    Args:
        faults: Which, with a name each.
        world: What they reach.
        note: Writes down that one began or ended.

    Attributes:
        fired: Name of each fault to how often it has begun, and made a difference.
    """

    def __init__(self, faults: Sequence[TimedFault], world: TrialWorld, note: Note) -> None:
        self.fired = {fault.name: 0 for fault in faults}
        self._faults = faults
        self._world = world
        self._note = note
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._begun: set[str] = set()
        self._over = asyncio.Event()
        self._turns: defaultdict[tuple[object, ...], asyncio.Lock] = defaultdict(asyncio.Lock)

    def start(self, zero: float) -> None:
        """From now on; ``zero`` is the start of the traffic by `time.monotonic`."""
        self._tasks = {fault.name: asyncio.create_task(self._happen(fault, zero)) for fault in self._faults}

    def check(self) -> None:
        """Says whether every fault could happen.

        Raises:
            UsageError: What one is for is not there.
            TestbedError: One could not.
        """
        for fault in self._faults:
            task = self._tasks.get(fault.name)
            if task and task.done() and not task.cancelled() and (error := task.exception()):
                if isinstance(error, TestbedError):
                    raise error
                if fault.name not in self._begun and (missing := _missing(error)):
                    raise fault.refused(missing) from error
                message = f"the fault {fault.name} could not happen: {type(error).__name__}: {error}"
                raise HarnessError(message) from error

    async def stop(self) -> None:
        """End what still lasts, and wait until it is undone; `check` says whether that worked.

        Whoever is cancelled here asks again, and nothing is left undone: a fault that begins is cancelled once, and one
        that has begun is not.
        """
        self._over.set()
        for name, task in self._tasks.items():
            if name not in self._begun and not task.cancelling():
                task.cancel()
        ending = asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await asyncio.shield(ending)

    async def _happen(self, fault: TimedFault, zero: float) -> None:
        await asyncio.sleep(max(0.0, zero + fault.at - time.monotonic()))
        async with self._in_turn(fault), fault.happening(self._world) as happens:
            self._begun.add(fault.name)
            if not happens:
                return
            self.fired[fault.name] += 1
            await self._note(fault=fault.name, event="began")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), max(0.0, zero + fault.at + fault.seconds - time.monotonic()))
        await self._note(fault=fault.name, event="ended")

    def _in_turn(self, fault: TimedFault) -> AbstractAsyncContextManager[Any]:
        """Lets it begin once the one before it has put back what both take; see `testbed.chaos.timed.check_apart`."""
        return self._turns[type(fault), fault.target] if fault.target else nullcontext()


def _missing(error: BaseException) -> str:
    """What AWS or Postgres says is not there; empty where that is not what is wrong."""
    if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceNotFoundException":
        return error.response["Error"]["Message"]
    return str(error).partition("\n")[0] if getattr(error, "sqlstate", None) in _NOT_THERE else ""
