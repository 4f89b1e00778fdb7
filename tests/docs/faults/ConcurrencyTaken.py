"""The reserved concurrency of a function, in Lambda's control plane.

From second 10 to 15 the function `store` has a reserved concurrency of 0, so that its invokes are throttled. Then it
has what it had before.
"""

import asyncio
from typing import Any

from testbed import ConcurrencyTaken

fault = ConcurrencyTaken(function="store", left=0, at=10, seconds=5)


class World:
    """A Lambda with one function, which has five of the concurrency reserved."""

    reserved = 5

    async def aws(self, service: str, operation: str, **given: Any) -> dict[str, Any]:
        if operation == "put_function_concurrency":
            self.reserved = given["ReservedConcurrentExecutions"]
        return {"ReservedConcurrentExecutions": self.reserved}


async def what_happens() -> list[int]:
    world = World()
    async with fault.happening(world):
        meanwhile = world.reserved
    return [meanwhile, world.reserved]


assert asyncio.run(what_happens()) == [0, 5]
