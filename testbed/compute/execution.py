"""One invoke on an execution environment: from the event that is handed over to the answer and its log."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from testbed.chaos.call import Effect
from testbed.chaos.faults.environment_lost import Killed, MemoryUsedUp, StartsSlowly
from testbed.chaos.faults.invocation import HandlerDelayed
from testbed.compute.answers import answer, report_status
from testbed.compute.environment import ON_DEMAND, PROVISIONED, Environment, Event, Kind
from testbed.compute.functions import Function, Reference
from testbed.compute.logs import LogFolder, end_lines, start_line
from testbed.compute.pool import Pool, Start
from testbed.compute.runtime_api import Invocation
from testbed.semantics import function_errors
from testbed.semantics.concurrency import Served


@dataclass(frozen=True, slots=True)
class Request:
    """One invoke, as it was asked for.

    Attributes:
        reference: The function.
        payload: The event, JSON.
        caller: Who invokes.
        request_id: Of the invoke; the same for all attempts of an asynchronous one.
        identity: What stays the same of the invoke over runs with the same seed.
        trace: The trace header.
        client_context: The client context, JSON.
        effects: What faults do to its environment.
        accepted: When an asynchronous one was, by the loop's clock.
    """

    reference: Reference
    payload: bytes
    caller: str
    request_id: str
    identity: str
    trace: str | None = None
    client_context: str | None = None
    effects: tuple[Effect, ...] = ()
    accepted: float | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """An invoke that reached an environment.

    Attributes:
        payload: What the function returned, or the error document.
        cause: Why it failed, for the journal; None where it did not.
        duration: Of the handler, in seconds.
        init: Of the initialisation, in seconds; None where the environment was warm.
        cold: Whether the environment was started for it.
        version: Of the function.
        log: What was written to the function's log.
    """

    payload: bytes
    cause: str | None
    duration: float
    init: float | None
    cold: bool
    version: str
    log: bytes


class Executor:
    """Runs invokes on environments.

    Args:
        pool: The environments.
        logs: Takes the functions' logs.
        arn_of: ARN of a function as it was asked for.
        on_log: Told log group, log stream, seconds and lines of each invoke that has ended.
    """

    def __init__(
        self,
        pool: Pool,
        logs: LogFolder,
        arn_of: Callable[[Reference], str],
        on_log: Callable[[str, str, float, bytes], None],
    ) -> None:
        self._pool = pool
        self._logs = logs
        self._arn_of = arn_of
        self._on_log = on_log

    async def run(self, function: Function, request: Request, served: Served) -> Execution:
        """Run an invoke that was admitted, on an environment of the kind that ``served`` says."""
        initialization = PROVISIONED if served is Served.PROVISIONED else ON_DEMAND
        slow = [effect for effect in request.effects if isinstance(effect, StartsSlowly)]
        delay = sum(effect.seconds for effect in slow)
        start = await self._pool.acquire(function, initialization, start_delay=delay)
        if start.event.kind is Kind.READY:
            if start.cold:
                _happened(slow)
            return await self._serve(function, request, start)
        return self._finished(function, request, start, start.event, start.spent)

    async def _serve(self, function: Function, request: Request, start: Start) -> Execution:
        loop = asyncio.get_running_loop()
        left = max(function.timeout - start.spent, 0.0)
        invocation = Invocation(
            request.request_id,
            request.payload,
            self._arn_of(request.reference),
            int((time.time() + left) * 1000),
            request.trace,
            request.client_context,
        )
        started = loop.time()
        event = await _served(start.environment, invocation, left, request.effects)
        duration = loop.time() - started + start.spent
        try:
            return self._finished(function, request, start, event, duration)
        finally:
            self._pool.give_back(start.environment)

    def _finished(self, function: Function, request: Request, start: Start, event: Event, duration: float) -> Execution:
        """The answer to an invoke whose environment came to ``event``, with its log written."""
        environment = start.environment
        memory = environment.peak_bytes()
        payload, cause, said = answer(function, request.request_id, event, memory)
        if cause == function_errors.TIMEOUT:
            duration = function.timeout
        if cause == function_errors.CRASH and not environment.started:
            cause = function_errors.INIT_ERROR
        log = b"".join(
            [
                start.log,
                start_line(request.request_id, function.version),
                environment.take_log(),
                said,
                end_lines(
                    request.request_id,
                    duration=duration,
                    init=start.init,
                    memory_mb=function.memory_mb,
                    peak_bytes=memory,
                    failure=report_status(cause, payload),
                ),
            ]
        )
        self._logs.write(function.name, log)
        self._on_log(function.log_group, environment.log_stream, duration, log)
        return Execution(payload, cause, duration, start.init, start.cold, function.version, log)


async def _served(environment: Environment, invocation: Invocation, left: float, effects: tuple[Effect, ...]) -> Event:
    """Let ``environment`` serve an invoke, for which ``left`` seconds are left, under what faults do to it."""
    delays = [effect for effect in effects if isinstance(effect, HandlerDelayed)]
    delay = sum(effect.seconds for effect in delays)
    if delay and left:
        _happened(delays)
        await environment.rest(min(delay, left))
    if delay >= left:
        return await _out_of_time(environment)
    ending = next((effect for effect in effects if isinstance(effect, Killed | MemoryUsedUp)), None)
    if ending is None:
        return await environment.serve(invocation, left - delay)
    if isinstance(ending, Killed) and ending.moment == "before":
        ending.happened()
        return Event(Kind.EXIT, exit=await environment.end())
    event = await _served_until(ending, environment, invocation, left - delay)
    if event.kind in {Kind.RESPONSE, Kind.ERROR}:  # nobody hears of it, though it may have overtaken the end
        _end(environment, ending)
        event = Event(Kind.EXIT, exit=await environment.end())
    return event


async def _out_of_time(environment: Environment) -> Event:
    """The time of an invoke is over before its handler began: the handler gets no event, and the invoke times out.

    An initialisation in the invoke's own time is bound by the function's timeout (AWS Lambda developer guide, Lambda
    execution environment lifecycle: failures during the Init phase). One whose environment has ended meanwhile ends so.
    """
    was_alive = environment.alive
    how = await environment.end()
    return Event(Kind.TIMEOUT) if was_alive else Event(Kind.EXIT, exit=how)


async def _served_until(
    ending: Killed | MemoryUsedUp, environment: Environment, invocation: Invocation, left: float
) -> Event:
    """Serve until the handler is done or its time has come; the timer does not outlive the invoke."""
    if isinstance(ending, Killed) and ending.moment == "after":
        return await environment.serve(invocation, left)
    timer = asyncio.get_running_loop().call_later(ending.seconds, _end, environment, ending)
    try:
        return await environment.serve(invocation, left)
    finally:
        timer.cancel()


def _end(environment: Environment, ending: Killed | MemoryUsedUp) -> None:
    ending.happened()
    if isinstance(ending, MemoryUsedUp):
        environment.runs_out_of_memory(environment.memory_bytes)
    else:
        environment.kill()


def _happened(effects: Sequence[Effect]) -> None:
    for effect in effects:
        effect.happened()
