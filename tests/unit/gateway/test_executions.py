"""Executions of state machines that are under way, as the plugin in LocalStack tells them."""

import asyncio
import json
from collections.abc import Callable

import pytest

from testbed.gateway import executions as executions_module
from testbed.gateway.emulator import EmulatorUnreachableError
from testbed.gateway.executions import Executions
from testbed.gateway.message import Inbound, Reply


class Emulator:
    """Answers with what is running, or as it is told to."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.answer: Callable[[], bytes] = lambda: json.dumps({"running": self.running}).encode()

    async def forward(self, request: Inbound) -> Reply:
        assert request.target == "/_testbed/plugin/executions"
        if self.answer is never:
            await asyncio.Event().wait()
        reply = Reply(200)
        reply.body = self.answer()
        return reply


def never() -> bytes:
    raise AssertionError("it does not answer")


def unreachable() -> bytes:
    raise EmulatorUnreachableError("gone")


async def test_those_that_began_under_test_are_counted() -> None:
    """What ran before is somebody else's, and so is what has ended."""
    emulator = Emulator()
    executions = Executions(emulator.forward)
    emulator.running = ["others"]
    await executions.begin()
    assert executions.running == 0
    emulator.running = ["others", "a", "b"]
    await executions.measure()
    assert executions.running == 2
    emulator.running = ["b"]
    await executions.measure()
    assert executions.running == 1


@pytest.mark.parametrize("answer", [unreachable, never, lambda: b"<html>", lambda: b"{}"])
async def test_what_is_not_said_is_not_known(answer: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that is down, hangs, or has another plugin may well have some."""
    monkeypatch.setattr(executions_module, "_ANSWER_SECONDS", 0.01)
    emulator = Emulator()
    executions = Executions(emulator.forward)
    emulator.answer = answer
    await executions.begin()
    await executions.measure()
    assert executions.running is None
