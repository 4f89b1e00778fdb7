"""Asynchronous invokes under faults: their acceptance is one call, each attempt of the queue is another."""

import asyncio
import json
from typing import Any

import pytest
from gateway_world import ORDER_TRACE, World
from multidict import CIMultiDict

from testbed.chaos.fault import Fault
from testbed.chaos.faults.environment_lost import EnvironmentKilled
from testbed.chaos.faults.invocation import InvocationError
from testbed.chaos.faults.latency import Latency
from testbed.chaos.faults.lost_reply import LostReply, Unreachable
from testbed.chaos.faults.service_error import ServiceError
from testbed.chaos.faults.throttle import Throttle
from testbed.chaos.trigger import key
from testbed.compute.execution import Request
from testbed.compute.functions import parse_reference
from testbed.compute.result import InvokeResult
from testbed.gateway.classify import Target
from testbed.gateway.message import Inbound
from testbed.trace import trace_header


async def accept(world: World, kind: str = "Event") -> int:
    """The status that a client gets for an asynchronous invoke of an order; 0 where the connection breaks."""
    headers = CIMultiDict({"X-Amz-Invocation-Type": kind, "X-Amzn-Trace-Id": ORDER_TRACE})
    request = Inbound("POST", "/2015-03-31/functions/orders/invocations", headers, b"{}")
    return (await world.gateway.aws(Target("lambda", "Invoke", "orders"), request, "client")).status


class Attempts:
    """Attempts of one order's event that all come to the same."""

    def __init__(self, world: World, trace: str | None = None, event: bytes = b"{}") -> None:
        self._world = world
        self.effects: list[Any] = []
        trace = trace or trace_header("o-1", 1.0)
        self._request = Request(parse_reference("orders", "live"), event, "client", "r-1", trace, trace)

    async def make(self) -> InvokeResult:
        """One more."""

        async def run(effects: Any) -> InvokeResult:
            self.effects.append(effects)
            for effect in effects:
                effect.happened()
            return InvokeResult(200, b"1", None, None, None, "7", b"log", "r-1")

        return await self._world.gateway.invokes.attempt(self._request, run)


async def test_a_fault_finds_an_order_in_the_event_of_an_attempt(world: World) -> None:
    """Its trace may be another one's."""
    world.arm(InvocationError(when=key("o-7")))
    hit, other = Attempts(world, event=b'{"id": "o-7"}'), Attempts(world, event=b'{"id": "o-8"}')
    await hit.make()
    await other.make()
    assert (len(hit.effects), len(other.effects)) == (0, 1)


async def test_a_throttle_of_the_acceptance_hits_who_invokes(world: World) -> None:
    """No event is queued; an attempt has another caller, and is left alone."""
    world.arm(Throttle(service="lambda", callers=("client",)))
    assert await accept(world) == 429
    assert world.functions.invokes == []
    attempts = Attempts(world)
    assert (await attempts.make()).status == 200
    assert attempts.effects == [()]


@pytest.mark.parametrize(("fault", "queued"), [(LostReply, True), (Unreachable, False)])
async def test_an_acceptance_whose_reply_is_lost_may_have_been_one(
    world: World, fault: type[Fault], *, queued: bool
) -> None:
    """The client sees the same: a connection that breaks."""
    world.arm(fault(service="lambda"))  # type: ignore[call-arg]
    assert await accept(world) == 0
    assert len(world.functions.invokes) == queued


@pytest.mark.parametrize("fault", [EnvironmentKilled(), InvocationError(), InvocationError(prevent_execution=False)])
@pytest.mark.parametrize("kind", ["Event", "DryRun"])
async def test_what_happens_to_handlers_does_not_happen_to_an_acceptance(world: World, fault: Fault, kind: str) -> None:
    """It fires for no call that runs none."""
    world.arm(fault)
    assert await accept(world, kind) == 200
    assert world.functions.invokes[0]["effects"] == ()
    assert world.journal.of("fault") == []
    await accept(world, "RequestResponse")
    assert len(world.journal.of("fault")) == 1


async def test_each_attempt_is_a_call_of_its_own(world: World) -> None:
    """With one identity over all of them, the same in every run, and counted by themselves."""
    world.arm(EnvironmentKilled(moment="after", callers=("async",)), Latency(service="lambda", latency_ms=1))
    await accept(world)
    attempts = Attempts(world, ORDER_TRACE)
    results = [await attempts.make() for _ in range(2)]
    assert [str(effects[0]) for effects in attempts.effects] == ["killed after the handler"] * 2
    assert [result.request_id for result in results] == ["r-1", "r-1"]
    lines = [(line["caller"], line["identity"], line["attempt"]) for line in world.journal.of("fault")]
    trace = ORDER_TRACE.removeprefix("Root=")
    accepted = ("client", f"lambda.Invoke:orders:{trace}", 1)
    first, second = (("async:orders", f"lambda.Invoke:orders:async:{trace}", number) for number in (1, 2))
    assert lines == [accepted, first, first, second, second]
    assert {line["at"] for line in world.journal.of("fault")} == {1.0}  # when the order was planned


async def test_an_attempt_without_an_order_is_known_by_its_event(world: World) -> None:
    """Its trace is another in each run."""
    world.arm(Throttle(service="lambda"))
    for trace in ("Root=1-6745a000-0123456789abcdef01234567", "Root=1-6745a111-00000000000000000000000a"):
        await Attempts(world, trace).make()
    first, second = world.journal.of("fault")
    assert first["identity"] == second["identity"]
    assert (first["attempt"], second["attempt"]) == (1, 2)


@pytest.mark.parametrize(
    ("fault", "status", "ran"),
    [
        (Throttle(service="lambda"), 429, False),
        (ServiceError(service="lambda"), 500, False),
        (ServiceError(service="lambda", position="after"), 500, True),
        (Unreachable(service="lambda"), 0, False),
        (LostReply(service="lambda"), 0, True),
        (InvocationError(), 200, False),
        (InvocationError(prevent_execution=False), 200, True),
    ],
)
async def test_what_an_attempt_comes_to(world: World, fault: Fault, status: int, *, ran: bool) -> None:
    """The journal has one that did not run, with its request id; one that did has its own."""
    world.arm(fault)
    attempts = Attempts(world)
    result = await attempts.make()
    assert (result.status, len(attempts.effects), result.request_id) == (status, ran, "r-1")
    assert (result.executed_version, result.log_tail) == (("7", b"log") if ran else ("$LATEST", b""))
    told = [(line["caller"], line["request_id"], line["status"]) for line in world.journal.of("lambda")]
    assert told == ([] if ran else [("client", "r-1", status)])


async def test_an_injected_function_error_has_a_request_id(world: World) -> None:
    """That of the run whose result was thrown away, where there was one."""
    client = world.client("lambda")
    for prevented in (True, False):
        world.arm(InvocationError(prevent_execution=prevented))
        answer = await asyncio.to_thread(client.invoke, FunctionName="orders", LogType="Tail")
        assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
        assert json.loads(answer["Payload"].read())["errorType"] == "FaultInjected"
        request_id = answer["ResponseMetadata"]["RequestId"]
        assert request_id
        assert (request_id == "request-1") is not prevented
