"""Provisioned concurrency as it is configured: environments started ahead of the invokes, and kept."""

import asyncio
from typing import Any

from testbed.compute.aws import AwsCaller, AwsCallError
from testbed.compute.functions import CALLER, Function, Functions, NotActiveError, Reference
from testbed.compute.pool import Pool
from testbed.compute.versions import Aliases
from testbed.semantics.aliases import is_alias
from testbed.semantics.concurrency import Concurrency
from testbed.semantics.provisioned import INIT_FAILURE, Allocation, ProvisionedProfile, Status

_Version = tuple[str, str]
"""Name of a function, and one of its versions."""


class Provisioning:
    """Allocates the provisioned concurrency of every version that has some.

    That of an alias is its version's, as on AWS, and moves with it.

    Args:
        aws: Reads what is configured.
        aliases: Know the version of an alias.
        functions: Read the versions.
        pool: Has the environments.
        concurrency: Is told what may be used.
        profile: AWS's numbers.
    """

    def __init__(
        self,
        aws: AwsCaller,
        aliases: Aliases,
        functions: Functions,
        *,
        pool: Pool,
        concurrency: Concurrency,
        profile: ProvisionedProfile,
    ) -> None:
        self._aws = aws
        self._aliases = aliases
        self._functions = functions
        self._pool = pool
        self._concurrency = concurrency
        self._profile = profile
        self._allocations: dict[_Version, Allocation] = {}
        self._asked: dict[_Version, tuple[int, str]] = {}
        self._tasks: dict[_Version, asyncio.Task[None]] = {}
        self._clearings = 0

    def has(self, name: str) -> bool:
        """Whether function ``name`` has some."""
        return any(function == name for function, _ in self._allocations)

    def status(self, name: str) -> dict[str, dict[str, Any]]:
        """How far the allocation of each version of ``name`` is, in the terms of GetProvisionedConcurrencyConfig.

        ``modified`` is its ``LastModified``: which request that is about.
        """
        return {
            version: {
                "allocated": each.allocated,
                "available": each.usable,
                "status": each.status.value,
                "reason": each.reason,
                "modified": self._asked[function, version][1],
            }
            for (function, version), each in self._allocations.items()
            if function == name
        }

    async def read(self, name: str) -> None:
        """Read what is configured for function ``name``, and begin to make it so, unless `clear` comes between.

        Raises:
            AwsCallError: The emulator did not answer.
        """
        clearings = self._clearings
        wanted = await self._wanted(name)
        for key in [key for key in self._allocations if key[0] == name and key not in wanted]:
            await self._end(key)
        for key, asked in wanted.items():
            if self._asked.get(key) != asked:
                await self._stop(key)
                if self._clearings == clearings:
                    self._ask(key, asked)

    async def clear(self) -> None:
        """End it everywhere; the environments are the pool's to end."""
        self._clearings += 1
        for key in list(self._allocations):
            await self._end(key)

    async def _wanted(self, name: str) -> dict[_Version, tuple[int, str]]:
        """Number and time of the request, by version; both together tell one request from the next."""
        parameters: dict[str, Any] = {"FunctionName": name}
        wanted: dict[_Version, tuple[int, str]] = {}
        while True:
            try:
                answer = await self._aws.call("lambda", "ListProvisionedConcurrencyConfigs", parameters, caller=CALLER)
            except AwsCallError as error:
                if error.status == 404:  # noqa: PLR2004 - HTTP's not found
                    return {}
                raise
            for each in answer.get("ProvisionedConcurrencyConfigs", ()):
                qualifier = each["FunctionArn"].rpartition(":")[2]
                version = qualifier
                if is_alias(qualifier):
                    version = (await self._aliases.get(Reference(name, qualifier))).version
                count = each["RequestedProvisionedConcurrentExecutions"]
                wanted[name, version] = (count, each.get("LastModified", ""))
            if not answer.get("NextMarker"):
                return wanted
            parameters["Marker"] = answer["NextMarker"]

    def _ask(self, key: _Version, asked: tuple[int, str]) -> None:
        now = asyncio.get_running_loop().time()
        self._asked[key] = asked
        allocation = self._allocations.get(key)
        if allocation is None:
            allocation = self._allocations[key] = Allocation(self._profile, asked[0], now)
        else:
            allocation.allocated = allocation.usable  # those that had only begun to start have just been ended
            allocation.request(asked[0], now)
        self._settle(key, allocation)
        if allocation.missing:
            self._tasks[key] = asyncio.create_task(self._allocate(key, allocation))

    async def _allocate(self, key: _Version, allocation: Allocation) -> None:
        """Start what is missing, no faster than AWS does."""
        starts: list[asyncio.Task[None]] = []
        try:
            await _until(allocation.starts_at(0))
            function = await self._functions.get(Reference(*key))
            for index in range(allocation.missing):
                await _until(allocation.starts_at(index))
                if allocation.status is Status.FAILED:
                    break
                starts.append(asyncio.create_task(self._start(key, function, allocation)))
            await asyncio.gather(*starts)
        except (AwsCallError, NotActiveError) as error:
            allocation.failed(str(error))
        finally:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
        self._settle(key, allocation)

    async def _start(self, key: _Version, function: Function, allocation: Allocation) -> None:
        if await self._pool.provision(function):
            allocation.came_up()
            self._settle(key, allocation)  # at once: whoever sees READY may invoke
        else:
            allocation.failed(INIT_FAILURE)

    def _settle(self, key: _Version, allocation: Allocation) -> None:
        """Let be used what may be used; what was started in vain ends."""
        self._concurrency.provision(*key, allocation.usable)
        if allocation.status is not Status.IN_PROGRESS:
            self._pool.trim(*key, allocation.usable)

    async def _end(self, key: _Version) -> None:
        await self._stop(key)
        self._allocations.pop(key, None)  # a reset and a deletion may both end it
        self._asked.pop(key, None)
        self._concurrency.provision(*key, 0)
        self._pool.trim(*key, 0)

    async def _stop(self, key: _Version) -> None:
        """End an allocation that is going on, with the environments that no invoke may use yet."""
        task = self._tasks.pop(key, None)
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if (allocation := self._allocations.get(key)) is not None:
            self._pool.trim(*key, allocation.usable)


async def _until(then: float) -> None:
    now = asyncio.get_running_loop().time()
    if now < then:
        await asyncio.sleep(then - now)
