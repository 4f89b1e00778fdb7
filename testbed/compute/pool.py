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
from dataclasses import dataclass, replace

from testbed.compute.answers import init_failure
from testbed.compute.environment import ON_DEMAND, PROVISIONED, Environment, Event, Kind, Settings
from testbed.compute.functions import Function
from testbed.compute.processes import Processes
from testbed.compute.runtime_api import RuntimeApi
from testbed.compute.turns import Turns
from testbed.semantics.lifecycle import LifecycleProfile, Resets, init_report

_Key = tuple[str, str, str, str]
"""Name, version and revision of a function, and how its environments are initialised."""


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


class EnvironmentsEndedError(Exception):
    """Every environment was ended while an invoke waited for one."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """An invoke that waits for an environment.

    Attributes:
        start: What it gets.
        delay: Seconds by which an environment that is started for it is ready later.
    """

    start: "asyncio.Future[Start]"
    delay: float


class Pool:
    """Starts environments, keeps the idle ones warm, ends them.

    Args:
        processes: Starts their processes.
        api: Their Runtime API.
        settings: What is the same for all of them.
        on_end: Told function and version of each environment on demand that is gone for good; one that is only reset is
            not.
        lifecycle: How long an initialisation may take, and how long an idle environment is kept.
        starts_at_once: How many environments may initialise at the same time.
    """

    def __init__(
        self,
        processes: Processes,
        api: RuntimeApi,
        settings: Settings,
        *,
        on_end: Callable[[str, str], None] = lambda _name, _version: None,
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
        self._waiting: defaultdict[_Key, deque[_Waiting]] = defaultdict(deque)
        self._resets: Resets[_Key] = Resets()
        self._starting: set[asyncio.Task[None]] = set()
        self._turns = Turns(starts_at_once)
        self.cold_starts: defaultdict[str, int] = defaultdict(int)

    async def acquire(self, function: Function, initialization: str = ON_DEMAND, *, start_delay: float = 0.0) -> Start:
        """The idle environment of ``function`` that was used last; else a new one, or the next to be free.

        Args:
            function: What is to run.
            initialization: Of which kind the environment is to be, `ON_DEMAND` or `PROVISIONED`.
            start_delay: Seconds by which a cold start takes longer than it would; an environment that was started for
                another invoke is not meant.

        Raises:
            EnvironmentsEndedError: `end_all` was first.
        """
        key = _key(function, initialization)
        if self._has_idle(key):
            return _warm(self._idle[key].pop())
        waiting = _Waiting(asyncio.get_running_loop().create_future(), start_delay)
        self._waiting[key].append(waiting)
        task = asyncio.create_task(self._start_in_turn(function, initialization))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        return await waiting.start

    async def provision(self, function: Function) -> bool:
        """Start an environment ahead of the invokes, and keep it until it is told to end; says whether it came up.

        What it prints is in the log of its first invoke.
        """
        async with self._turns.of(function.name):
            environment = self._new(function, PROVISIONED)
            try:
                event = await environment.start(self.lifecycle.init_limit(function.timeout, provisioned=True))
            except BaseException:
                _kill([environment])
                raise
        if event.kind is Kind.READY:
            self.give_back(environment)
        else:
            self._resets.take(_key_of(environment))
        return event.kind is Kind.READY

    def _has_idle(self, key: _Key) -> bool:
        stack = self._idle[key]
        while stack and not stack[-1].alive:
            stack.pop()
        return bool(stack)

    async def _start_in_turn(self, function: Function, initialization: str) -> None:
        async with self._turns.of(function.name):
            waiting = self._next_waiting(_key(function, initialization))
            if waiting is None:
                return  # environments that became free have served everybody
            try:
                start = await self.start(function, initialization)
            except Exception as error:  # noqa: BLE001 - it belongs to the invoke that waits
                if not waiting.start.done():
                    waiting.start.set_exception(error)
                return
        if waiting.delay and start.event.kind is Kind.READY:
            start = await _later(start, waiting.delay)
        if not waiting.start.done():
            waiting.start.set_result(start)
        elif start.event.kind is Kind.READY:  # the invoke was cancelled meanwhile
            self.give_back(start.environment)

    def _next_waiting(self, key: _Key) -> _Waiting | None:
        """Take whoever has waited longest off the queue; nobody whose invoke was cancelled.

        Whoever is off the queue waits for the start of its own environment, whatever becomes free before: so there are
        never more environments than invokes at once, as on AWS.
        """
        queue = self._waiting[key]
        while queue:
            waiting = queue.popleft()
            if not waiting.start.done():
                return waiting
        return None

    def give_back(self, environment: Environment) -> None:
        """``environment`` has served its invoke: keep it, unless it has ended or must end."""
        if not environment.alive:
            return
        if environment.retired:
            environment.kill()
            return
        key = _key_of(environment)
        if (waiting := self._next_waiting(key)) is not None:
            waiting.start.set_result(_warm(environment))
            return
        environment.idle_since = asyncio.get_running_loop().time()
        self._idle[key].append(environment)

    async def start(self, function: Function, initialization: str = ON_DEMAND) -> Start:
        """Start an environment for an invoke.

        An initialisation that fails or takes too long is done again in the invoke's own time, and so is that of an
        environment that was reset, as Lambda does.
        """
        log = b""
        key = _key(function, initialization)
        if not self._resets.take(key):
            limit = self.lifecycle.init_limit(function.timeout, provisioned=initialization == PROVISIONED)
            environment, event, seconds, log = await self._start_one(function, initialization, limit, "init")
            if event.kind is Kind.READY or environment.retired:
                return Start(environment, event, seconds, 0.0, log)
            self._resets.take(key)
        environment, event, seconds, more = await self._start_one(function, initialization, function.timeout, "invoke")
        return Start(environment, event, None, seconds, log + more)

    async def _start_one(
        self, function: Function, initialization: str, limit: float, phase: str
    ) -> tuple[Environment, Event, float, bytes]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        environment = self._new(function, initialization)
        self.cold_starts[function.name] += 1
        event = await environment.start(limit)
        seconds = loop.time() - started
        log = environment.take_log()
        if event.kind is not Kind.READY:
            log += init_report(seconds, phase, init_failure(function, event, environment.peak_bytes())).encode()
        return environment, event, seconds, log

    def _new(self, function: Function, initialization: str) -> Environment:
        environment = Environment(
            f"env-{next(self._numbers)}",
            function,
            self._processes,
            self._api,
            settings=self._settings,
            on_end=self._ended,
            initialization=initialization,
        )
        self._all.add(environment)
        return environment

    def _ended(self, environment: Environment) -> None:
        self._all.discard(environment)
        key = _key_of(environment)
        if environment.retired:
            self._gone(key)
        else:
            self._resets.add(key, asyncio.get_running_loop().time())

    def _gone(self, key: _Key) -> None:
        name, version, _, initialization = key
        if initialization == ON_DEMAND:
            self._on_end(name, version)

    def retire(self, name: str | None = None) -> None:
        """End the environments of function ``name``, or all: idle ones now, the others after their invoke."""
        self._retire(lambda key: name in (None, key[0]))

    def supersede(self, function: Function) -> None:
        """End the environments of every revision of this version but that of ``function``, in the same way."""
        name, version, revision, _ = _key(function, ON_DEMAND)
        self._retire(lambda key: key[:2] == (name, version) and key[2] != revision)

    def trim(self, name: str, version: str, count: int) -> None:
        """End the provisioned environments of a version beyond ``count``, in the same way: idle ones first."""
        own = [each for each in self._all if (each.function.name, each.function.version) == (name, version)]
        own = [each for each in own if each.initialization == PROVISIONED and not each.retired]
        idle = {each for stack in self._idle.values() for each in stack}
        own.sort(key=lambda each: each in idle)
        surplus = own[count:]
        for environment in surplus:
            environment.retired = True
        _kill([each for each in surplus if each in idle])

    def _retire(self, condition: Callable[[_Key], bool]) -> None:
        for environment in [each for each in self._all if condition(_key_of(each))]:
            environment.retired = True
        for key, stack in self._idle.items():
            if condition(key):
                _kill(stack)
        self._give_up_resets(lambda key, _: condition(key))

    async def end_all(self) -> None:
        """Kill every environment, and return when they are gone; running invokes end as crashes.

        Invokes that wait for an environment get none: what is deployed for them may be gone, too.
        """
        for queue in self._waiting.values():
            for waiting in queue:
                if not waiting.start.done():
                    waiting.start.set_exception(EnvironmentsEndedError())
        self._waiting.clear()
        self.retire()
        self._idle.clear()
        ending = [environment.end() for environment in self._all]
        await asyncio.gather(*ending)

    def end_unused(self) -> None:
        """End the environments on demand that were idle for too long."""
        oldest = asyncio.get_running_loop().time() - self.lifecycle.idle_seconds
        for key, stack in self._idle.items():
            if key[3] == ON_DEMAND:
                _kill([environment for environment in stack if environment.idle_since < oldest])
                self._idle[key] = [environment for environment in stack if environment.alive]
        self._give_up_resets(lambda key, since: key[3] == ON_DEMAND and since < oldest)

    def _give_up_resets(self, condition: Callable[[_Key, float], bool]) -> None:
        for key in self._resets.drop(condition):
            self._gone(key)


def _warm(environment: Environment) -> Start:
    return Start(environment, Event(Kind.READY), None, 0.0, b"", cold=False)


async def _later(start: Start, seconds: float) -> Start:
    """The same start, its initialisation so much longer, whether that counts for itself or as the invoke's time.

    The invoke's time is at most what its function has: AWS answers when that is over.
    """
    if start.init is not None:
        await start.environment.rest(seconds)
        return replace(start, init=start.init + seconds)
    spent = min(start.spent + seconds, start.environment.function.timeout)
    await start.environment.rest(max(0.0, spent - start.spent))
    return replace(start, spent=spent)


def _kill(environments: list[Environment]) -> None:
    for environment in environments:
        environment.retired = True
        environment.kill()


def _key(function: Function, initialization: str) -> _Key:
    return function.name, function.version, function.revision, initialization


def _key_of(environment: Environment) -> _Key:
    return _key(environment.function, environment.initialization)
