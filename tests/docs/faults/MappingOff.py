"""The event source mappings of a function, in Lambda's control plane.

From second 10 to 15 the event source mappings of `store` are disabled, and records wait.
"""

import asyncio
from typing import Any

from testbed import MappingOff

fault = MappingOff(function="store", at=10, seconds=5)


class World:
    """A Lambda with one event source mapping."""

    state = "Enabled"

    async def aws(self, service: str, operation: str, **given: Any) -> dict[str, Any]:
        if operation == "update_event_source_mapping":
            self.state = "Enabled" if given["Enabled"] else "Disabled"
        return {"EventSourceMappings": [{"UUID": "6f1d"}], "State": self.state}


async def what_happens() -> list[str]:
    world = World()
    async with fault.happening(world):
        meanwhile = world.state
    return [meanwhile, world.state]


assert asyncio.run(what_happens()) == ["Disabled", "Enabled"]
