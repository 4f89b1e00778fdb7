"""One execution environment: a process that initialises once and then serves one invoke at a time."""

import asyncio
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

from testbed.compute.functions import Function
from testbed.compute.logs import LogPipe
from testbed.compute.processes import Exit, Processes
from testbed.compute.runtime_api import Invocation, RuntimeApi

ON_DEMAND: Final = "on-demand"
PROVISIONED: Final = "provisioned-concurrency"
"""``AWS_LAMBDA_INITIALIZATION_TYPE`` (AWS Lambda developer guide, Defined runtime environment variables)."""
_MEMORY_SECONDS: Final = 1.0
_APP_ID_LENGTH: Final = 50  # botocore warns of longer ones (AWS SDKs and Tools reference guide, Application ID)


class Kind(Enum):
    """What can happen next to an environment that is initialising or serving."""

    READY = auto()
    RESPONSE = auto()
    ERROR = auto()
    INIT_ERROR = auto()
    EXIT = auto()
    TIMEOUT = auto()


@dataclass(frozen=True, slots=True)
class Event:
    """What happened.

    Attributes:
        kind: What.
        body: What the runtime sent with it.
        exit: How the process ended, for EXIT.
    """

    kind: Kind
    body: bytes = b""
    exit: Exit | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What is the same for all environments.

    Attributes:
        gateway_url: Endpoint for every AWS call of the functions.
        run: Token of the run; marks every process that belongs to it.
        region: AWS region.
        account_id: AWS account.
        temp: Folder for the environments' ``/tmp``.
    """

    gateway_url: str
    run: str
    region: str
    account_id: str
    temp: Path


class Environment:
    """A process of a function, from its initialisation to its end.

    Attributes:
        function: What it runs.
        initialization: `ON_DEMAND` or `PROVISIONED`.
        log_stream: Its log stream in CloudWatch Logs.
        memory_bytes: The most memory that its process may have.
        alive: Whether it can serve, or is about to; False from its end on.
        started: Whether it has been initialised.
        retired: Whether it must end after the invoke that it serves.
        idle_since: When it became idle, on the loop's clock.
    """

    def __init__(
        self,
        ident: str,
        function: Function,
        processes: Processes,
        api: RuntimeApi,
        *,
        settings: Settings,
        on_end: Callable[["Environment"], None],
        initialization: str = ON_DEMAND,
    ) -> None:
        self.ident = ident
        self.function = function
        self.initialization = initialization
        self.log_stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{function.version}]{uuid.uuid4().hex}"
        self.memory_bytes = function.memory_mb * 2**20
        self.alive = True
        self.started = False
        self.retired = False
        self.idle_since = 0.0
        self._processes = processes
        self._api = api
        self._settings = settings
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._pipe = LogPipe()
        self._ended: asyncio.Future[Exit] = self._loop.create_future()
        self._event: asyncio.Future[Event] | None = None
        self._parked: asyncio.Future[Invocation | None] | None = None
        self._undelivered: Invocation | None = None
        self._running: str | None = None
        self._peak_bytes = 0
        self._peak_read_at = 0.0

    async def start(self, limit: float) -> Event:
        """Start the process and wait until it asks for its first invoke; ``limit`` in seconds.

        Returns:
            READY, INIT_ERROR, EXIT or TIMEOUT; for all but READY the environment has ended.
        """
        self._api.runtimes[self.ident] = self
        environ = self._environ()
        log = self._pipe.write_end()
        self._processes.spawn(self.ident, environ, self.function, log, self._exited)
        event = await self._next_event(limit)
        if event.kind is Kind.READY:
            self.started = True
        else:
            await self.end()
        return event

    async def serve(self, invocation: Invocation, limit: float) -> Event:
        """Hand over one invoke and wait for what comes of it, all output included; ``limit`` in seconds.

        Returns:
            RESPONSE, ERROR, EXIT or TIMEOUT; after the last two the environment has ended.
        """
        self._running = invocation.request_id
        waiting = self._next_event(limit)
        if self._parked is not None and not self._parked.done():
            self._parked.set_result(invocation)
        else:  # the runtime has answered the invoke before, and is about to ask for the next
            self._undelivered = invocation
        event = await waiting
        self._running = None
        if event.kind in (Kind.EXIT, Kind.TIMEOUT):
            await self.end()
        return event

    async def rest(self, seconds: float) -> None:
        """Do nothing for so long, or until its end."""
        await asyncio.wait((self._ended,), timeout=seconds)

    def take_log(self) -> bytes:
        """What it has printed since the last time."""
        return self._pipe.take()

    @property
    def pid(self) -> int | None:
        """Of its process; None before that is started, and after its end."""
        return self._processes.pids.get(self.ident)

    def peak_bytes(self) -> int:
        """The most memory that its process had, read at most once a second."""
        now = self._loop.time()
        pid = self.pid
        if pid is not None and now - self._peak_read_at >= _MEMORY_SECONDS:
            self._peak_read_at = now
            self._peak_bytes = max(self._peak_bytes, _peak_of(pid))
        return self._peak_bytes

    async def end(self) -> Exit:
        """Kill the process, and return when it is gone; says how it ended."""
        self.kill()
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        """Kill the process; an invoke that it serves ends as a crash."""
        self.alive = False
        self._processes.kill(self.ident)

    def runs_out_of_memory(self, used: int) -> None:
        """Kill the process, which has ``used`` bytes; the invoke or initialisation ends as AWS's out of memory."""
        self._peak_bytes = max(self._peak_bytes, used)
        self.kill()

    async def next(self) -> Invocation | None:
        """The runtime asks for the next invoke."""
        if not self.started:
            self._happens(Event(Kind.READY))
        if not self.alive:  # an answer would let the process end by itself, before it is killed
            await asyncio.shield(self._ended)
            return None
        if self._undelivered is not None:
            invocation, self._undelivered = self._undelivered, None
            return invocation
        self._parked = self._loop.create_future()
        return await self._parked

    def respond(self, request_id: str, body: bytes) -> bool:
        """The runtime reports what the handler returned."""
        return self._finishes(request_id, Event(Kind.RESPONSE, body))

    def fail(self, request_id: str, body: bytes) -> bool:
        """The runtime reports that the handler raised."""
        return self._finishes(request_id, Event(Kind.ERROR, body))

    def fail_init(self, body: bytes) -> bool:
        """The runtime reports that there is no handler to call."""
        return not self.started and self._happens(Event(Kind.INIT_ERROR, body))

    def _finishes(self, request_id: str, event: Event) -> bool:
        if self._running != request_id:
            return False
        self._running = None
        return self._happens(event)

    def _happens(self, event: Event) -> bool:
        if self._event is None or self._event.done():
            return False
        self._event.set_result(event)
        return True

    def _next_event(self, limit: float) -> "asyncio.Future[Event]":
        event: asyncio.Future[Event] = self._loop.create_future()
        self._event = event
        timer = self._loop.call_later(limit, self._happens, Event(Kind.TIMEOUT))
        event.add_done_callback(lambda _: self._is_idle(timer))
        self._processes.memory.add(self)
        if self._ended.done():
            self._happens(Event(Kind.EXIT, exit=self._ended.result()))
        return event

    def _is_idle(self, timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self._processes.memory.discard(self)

    def _exited(self, how: Exit) -> None:
        self.alive = False
        self._peak_bytes = max(self._peak_bytes, how.peak_bytes)
        self._pipe.drain()
        self._pipe.close()
        self._ended.set_result(how)
        self._happens(Event(Kind.EXIT, exit=how))
        if self._parked is not None and not self._parked.done():
            self._parked.set_result(None)
        self._api.runtimes.pop(self.ident, None)
        shutil.rmtree(self._temp(), ignore_errors=True)
        self._on_end(self)

    def _temp(self) -> Path:
        return self._settings.temp / self.ident

    def _environ(self) -> dict[str, str]:
        """What AWS sets (AWS Lambda developer guide, Defined runtime environment variables), and our own."""
        function, settings = self.function, self._settings
        temp = str(self._temp())
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin" + (f":{function.layers / 'bin'}" if function.layers else ""),
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "HOME": temp,  # where no configuration of the user's own is found
            "TMPDIR": temp,
            "AWS_REGION": settings.region,
            "AWS_DEFAULT_REGION": settings.region,
            "AWS_ACCESS_KEY_ID": settings.account_id,
            "AWS_SECRET_ACCESS_KEY": "testbed",
            "AWS_ENDPOINT_URL": settings.gateway_url,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",  # "sync-127.0.0.1" is no name that resolves
            "AWS_LAMBDA_LOG_FORMAT": function.log_format,
            "AWS_SDK_UA_APP_ID": function.name[:_APP_ID_LENGTH],  # tells the gateway who calls
            **function.variables,
            "_HANDLER": function.handler,
            "LAMBDA_TASK_ROOT": str(function.code),
            **_of_runtime(function),
            "AWS_LAMBDA_RUNTIME_API": f"{self._api.address}/{self.ident}",
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": function.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
            "AWS_LAMBDA_INITIALIZATION_TYPE": self.initialization,
            "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.log_stream,
            "TESTBED_RUN": settings.run,
        }


def _of_runtime(function: Function) -> dict[str, str]:
    """The variables that only functions with a runtime of Lambda's have, or only those with one of their own."""
    if function.has_bootstrap:
        layers = f":{function.layers / 'lib'}" if function.layers else ""
        return {"LD_LIBRARY_PATH": f"{function.code}:{function.code / 'lib'}{layers}"}
    return {"AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}"}


def _peak_of(pid: int) -> int:
    """The most memory that ``pid`` has had, in bytes; 0 where it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
