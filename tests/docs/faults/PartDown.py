"""LocalStack or Postgres as a whole: processes, or containers.

From second 10 to 12 Postgres is frozen. Then it goes on.
"""

import asyncio

from testbed import PartDown

fault = PartDown(part="postgres", action="pause", at=10, seconds=2)


class Part:
    """Postgres, as far as it matters here."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def pause(self) -> None:
        self.seen.append("pause")

    async def resume(self) -> None:
        self.seen.append("resume")


class World:
    """An engine with one part."""

    def __init__(self) -> None:
        self.postgres = Part()

    def part(self, name: str) -> Part:
        return {"postgres": self.postgres}[name]


async def what_happens() -> list[str]:
    world = World()
    async with fault.happening(world):
        world.postgres.seen.append("...")
    return world.postgres.seen


assert asyncio.run(what_happens()) == ["pause", "...", "resume"]
