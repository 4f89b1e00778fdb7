"""The event source mappings of a function, in Lambda's control plane."""

import asyncio
from typing import Any

from testbed import MappingOff

fault = MappingOff(function="store", at=10, seconds=5)


class World:
    """A Lambda with one event source mapping."""

    enabled = True

    async def aws(self, service: str, operation: str, **given: Any) -> dict[str, Any]:
        self.enabled = given.get("Enabled", self.enabled)
        return {"EventSourceMappings": [{"UUID": "6f1d"}]}


async def what_happens() -> list[bool]:
    world = World()
    async with fault.happening(world):
        meanwhile = world.enabled
    return [meanwhile, world.enabled]


assert asyncio.run(what_happens()) == [False, True]
