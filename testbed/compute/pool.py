"""The execution environments that exist: idle ones by function, and all of them.

An invoke that finds no idle environment starts one, as on AWS. There each new environment brings its own processor;
here all share those of one machine, where a hundred that start at once only keep each other from starting. So few
start at the same time, the others wait for their turn, one function after the other, and an environment that becomes
free meanwhile serves whoever waits longest. Limits and throttles know nothing of this: they count invokes, not
processes.
"""

import asyncio
import itertools
import os
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from testbed.compute.environment import Environment, Event, Kind, Settings
from testbed.compute.functions import Function
from testbed.compute.processes import Processes
from testbed.compute.runtime_api import RuntimeApi
from testbed.compute.turns import Turns
from testbed.semantics.lifecycle import LifecycleProfile

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Start:
    """An environment that is to serve an invoke.

    Attributes:
        environment: It.
        event: READY, or why it is not.
        init: Seconds of its initialisation; None where they count as the invoke's own.
        spent: Seconds of the invoke's time that are used up.
        log: What it printed on the way.
        cold: Whether it was started for an invoke, and not found idle.
    """

    environment: Environment
    event: Event
    init: float | None
    spent: float
    log: bytes
    cold: bool = True


class Pool:
    """Starts environments, keeps the idle ones warm, ends them.

    Args:
        processes: Starts their processes.
        api: Their Runtime API.
        settings: What is the same for all of them.
        on_end: Told the function of each environment that ended.
        lifecycle: How long an initialisation may take, and how long an idle environment is kept.
        starts_at_once: How many environments may initialise at the same time.
    """

    def __init__(
        self,
        processes: Processes,
        api: RuntimeApi,
        settings: Settings,
        *,
        on_end: Callable[[str], None] = lambda _: None,
        lifecycle: LifecycleProfile,
        starts_at_once: int = os.cpu_count() or 1,
    ) -> None:
        self._processes = processes
        self._api = api
        self._settings = settings
        self._on_end = on_end
        self.lifecycle = lifecycle
        self._numbers = itertools.count(1)
        self._all: set[Environment] = set()
        self._idle: defaultdict[_Key, list[Environment]] = defaultdict(list)
        self._waiting: defaultdict[_Key, deque[asyncio.Future[Start]]] = defaultdict(deque)
        self._starting: set[asyncio.Task[None]] = set()
        self._turns = Turns(starts_at_once)
        self.cold_starts: defaultdict[str, int] = defaultdict(int)

    def has_idle(self, function: Function) -> bool:
        """Whether an environment of ``function`` is idle."""
        stack = self._idle[_key(function)]
        while stack and not stack[-1].alive:
            stack.pop()
        return bool(stack)

    async def acquire(self, function: Function) -> Start:
        """The idle environment of ``function`` that was used last; else a new one, or the next to be free."""
        if self.has_idle(function):
            return _warm(self._idle[_key(function)].pop())
        waiting: asyncio.Future[Start] = asyncio.get_running_loop().create_future()
        self._waiting[_key(function)].append(waiting)
        task = asyncio.create_task(self._start_in_turn(function))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        return await waiting

    async def _start_in_turn(self, function: Function) -> None:
        async with self._turns.of(function.name):
            waiting = self._next_waiting(_key(function))
            if waiting is None:
                return  # environments that became free have served everybody
            try:
                start = await self.start(function)
            except Exception as error:  # noqa: BLE001 - it belongs to the invoke that waits
                if not waiting.done():
                    waiting.set_exception(error)
                return
        if not waiting.done():
            waiting.set_result(start)
        elif start.event.kind is Kind.READY:  # the invoke was cancelled meanwhile
            self.give_back(start.environment)

    def _next_waiting(self, key: _Key) -> "asyncio.Future[Start] | None":
        """Take whoever has waited longest off the queue; nobody whose invoke was cancelled.

        Whoever is off the queue waits for the start of its own environment, whatever becomes free before: so there are
        never more environments than invokes at once, as on AWS.
        """
        queue = self._waiting[key]
        while queue:
            waiting = queue.popleft()
            if not waiting.done():
                return waiting
        return None

    def give_back(self, environment: Environment) -> None:
        """``environment`` has served its invoke: keep it, unless it has ended or must end."""
        if not environment.alive:
            return
        if environment.retired:
            environment.kill()
            return
        key = _key(environment.function)
        if (waiting := self._next_waiting(key)) is not None:
            waiting.set_result(_warm(environment))
            return
        environment.idle_since = asyncio.get_running_loop().time()
        self._idle[key].append(environment)

    async def start(self, function: Function) -> Start:
        """Start an environment for an invoke.

        An initialisation that takes too long is done again in the invoke's own time, as Lambda does.
        """
        environment, event, seconds, log = await self._start_one(function, self.lifecycle.init_seconds)
        if event.kind is not Kind.TIMEOUT:
            return Start(environment, event, seconds, 0.0, log)
        environment, event, seconds, more = await self._start_one(function, function.timeout)
        return Start(environment, event, None, seconds, log + more)

    async def _start_one(self, function: Function, limit: float) -> tuple[Environment, Event, float, bytes]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        ident = f"env-{next(self._numbers)}"
        environment = Environment(
            ident, function, self._processes, self._api, settings=self._settings, on_end=self._ended
        )
        self._all.add(environment)
        self.cold_starts[function.name] += 1
        event = await environment.start(limit)
        return environment, event, loop.time() - started, environment.take_log()

    def _ended(self, environment: Environment) -> None:
        self._all.discard(environment)
        self._on_end(environment.function.name)

    def retire(self, name: str | None = None) -> None:
        """End the environments of function ``name``, or all: idle ones now, the others after their invoke."""
        for environment in [each for each in self._all if name in (None, each.function.name)]:
            environment.retired = True
        for key, stack in self._idle.items():
            if name in (None, key[0]):
                _kill(stack)

    async def end_all(self) -> None:
        """Kill every environment, and return when they are gone; running invokes end as crashes."""
        self._idle.clear()
        ending = [environment.end() for environment in self._all]
        await asyncio.gather(*ending)

    def end_unused(self) -> None:
        """End the environments that were idle for too long."""
        oldest = asyncio.get_running_loop().time() - self.lifecycle.idle_seconds
        for key, stack in self._idle.items():
            _kill([environment for environment in stack if environment.idle_since < oldest])
            self._idle[key] = [environment for environment in stack if environment.alive]


def _warm(environment: Environment) -> Start:
    return Start(environment, Event(Kind.READY), None, 0.0, b"", cold=False)


def _kill(environments: list[Environment]) -> None:
    for environment in environments:
        environment.kill()


def _key(function: Function) -> _Key:
    return function.name, function.version, function.revision
