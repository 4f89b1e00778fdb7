"""Calls that faults hold back: those that will be executed are still on their way."""

import asyncio
from dataclasses import dataclass

import pytest

from testbed import EnvironmentKilled, Latency, LostReply, Throttle, Unreachable
from testbed.chaos.call import Answer, Call
from testbed.chaos.fault import Fault
from testbed.chaos.schedule import Schedule
from testbed.gateway.faults import Faults

SECONDS = 0.05
LATE = Latency(service="sqs", latency_ms=SECONDS * 1000)


@dataclass(frozen=True)
class Result:
    """What became of a call."""

    refused: bool = False


class Journal:
    """Takes everything."""

    def record(self, hop: str, **fields: object) -> None:
        """Nobody reads it."""


@pytest.mark.parametrize(
    ("faults", "caller", "held"),
    [
        ([LATE], "client", 1),
        ([LATE], "function:front", 1),
        ([LATE], "mapping:uuid", 0),
        ([LATE, LostReply(service="sqs")], "function:front", 1),
        ([LATE, Throttle(service="sqs")], "function:front", 0),
        ([Unreachable(service="sqs", kind="hang", hang_seconds=SECONDS)], "function:front", 0),
        ([EnvironmentKilled(moment="during")], "function:front", 0),
    ],
)
async def test_a_call_counts_while_it_is_held_back(faults: list[Fault], caller: str, held: int) -> None:
    """Where it is executed then, and by whoever may be gone meanwhile: a poller is there as long as its mapping."""
    gate = Faults(Journal(), lambda: 0.0)
    gate.arm(Schedule(faults, 1))
    seen: list[int] = []

    async def execute(_: object) -> Result:
        seen.append(gate.held)
        return Result()

    def answered(_answer: Answer, _cause: str) -> Result:
        return Result(refused=True)

    call = Call("sqs", "SendMessage", "orders", caller, "identity", 1, 0.0)
    task = asyncio.create_task(gate.around(call, execute, answered))
    await asyncio.sleep(0)
    assert gate.held == held
    await task
    assert gate.held == 0
    assert seen in ([], [0])
