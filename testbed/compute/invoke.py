"""``lambda:Invoke``: from the request to the answer, by way of limits, environments and the journal."""

import asyncio
import contextlib
import functools
import json
import resource
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from testbed.chaos.call import AwsError, Effect
from testbed.compute import destinations, refusals
from testbed.compute.async_queue import AsyncQueue
from testbed.compute.aws import AwsCaller, AwsCallError, AwsSender
from testbed.compute.environment import Settings
from testbed.compute.event_invoke_configs import EventInvokeConfigs
from testbed.compute.execution import Execution, Executor, Request
from testbed.compute.functions import (
    Function,
    Functions,
    NotActiveError,
    Reference,
    parse_reference,
)
from testbed.compute.logs import TAIL_BYTES, LogFolder
from testbed.compute.pool import EnvironmentsEndedError, Pool
from testbed.compute.processes import Processes
from testbed.compute.provisioning import Provisioning
from testbed.compute.result import InvokeResult
from testbed.compute.runtime_api import RuntimeApi
from testbed.compute.versions import Aliases
from testbed.errors import EngineDiedError
from testbed.semantics import function_errors
from testbed.semantics.concurrency import Concurrency, Limits, Served, ThrottleReason
from testbed.semantics.lifecycle import billed_milliseconds
from testbed.semantics.profiles import Profile, aws
from testbed.trace import parse_trace

_SWEEPS_PER_LIFETIME: Final = 4
_NOT_FOUND: Final = 404
_UNAVAILABLE: Final = 500
_RESET: Final = "everything was ended before the function ran"
_PROVISIONED: Final = {Served.ON_DEMAND: False, Served.PROVISIONED: True, Served.SPILLOVER: "spillover"}
"""How the journal tells by what an invoke was served."""
_NEVER_ADMITTED: Final[Mapping[str, object]] = {"provisioned": None}


Run = Callable[[tuple[Effect, ...]], Awaitable[InvokeResult]]
"""Invokes once, under these effects."""

Around = Callable[[Request, Run], Awaitable[InvokeResult]]
"""Comes to what one attempt of an asynchronous invoke comes to, by way of `Run` or without."""


async def alone(_request: Request, run: Run) -> InvokeResult:
    """Invoke, and nothing else."""
    return await run(())


class Journal(Protocol):
    """Where hops are recorded."""

    def record(self, hop: str, **fields: object) -> None:
        """Append one line."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """What the plane has done since its start, or since the last ``reset``.

    Attributes:
        concurrency: Invokes that run now, by function; functions without any are left out.
        peak_concurrency: The most that ran at once, by function.
        peak_account_concurrency: The most that ran at once, all functions together.
        cold_starts: Environments started, by function.
        invokes: Invokes that reached a function.
        throttles: Invokes refused with 429.
        queued_events: Asynchronous invokes that are neither done nor given up, or whose end is still to be told.
        dropped_events: Asynchronous invokes that were given up.
    """

    concurrency: dict[str, int]
    peak_concurrency: dict[str, int]
    peak_account_concurrency: int
    cold_starts: dict[str, int]
    invokes: int
    throttles: int
    queued_events: int
    dropped_events: int


class Compute:
    """The Lambda service: runs what is deployed in the emulator, under Lambda's own limits.

    Args:
        aws: Reads functions from the emulator.
        journal: Takes a ``"lambda"`` hop for every invoke, and ``"async"`` ones, see `AsyncQueue`.
        sender: Sends to destinations and dead-letter queues of asynchronous invokes, through faults.
        folder: For unpacked code and the environments' ``/tmp``.
        logs: For function logs; None keeps them in ``folder``.
        gateway_url: Endpoint for every AWS call of the functions.
        run: Token of the run, in the environment of every process.
        profile: AWS's numbers.
        region: AWS region.
        account_id: AWS account.
        on_death: Told when the fork server dies; every invoke fails from then on.
        on_log: Told log group, log stream, seconds and lines of each invoke that has ended.
        around_attempt: Lets faults act on each attempt of an asynchronous invoke.
    """

    def __init__(
        self,
        aws: AwsCaller,
        journal: Journal,
        *,
        sender: AwsSender,
        folder: Path,
        logs: Path | None = None,
        gateway_url: str,
        run: str,
        profile: Profile = aws,
        region: str = "us-east-1",
        account_id: str = "000000000000",
        on_death: Callable[[EngineDiedError], None] = lambda _: None,
        on_log: Callable[[str, str, float, bytes], None] = lambda *_: None,
        around_attempt: Around = alone,
    ) -> None:
        self._profile = profile
        self._region, self._account_id = region, account_id
        self._journal = journal
        self._folder = folder
        self._on_death = on_death
        self._around_attempt = around_attempt
        self._dead: EngineDiedError | None = None
        self._aws = aws
        self._functions = Functions(aws, folder / "code", self._loaded)
        self._aliases = Aliases(aws)
        self._event_invoke_configs = EventInvokeConfigs(aws)
        self._concurrency = Concurrency(profile.concurrency)
        self._reservations = asyncio.Lock()
        self._logs = LogFolder(logs or folder / "logs")
        self._sender = sender
        self._events = AsyncQueue(profile.asynchronous, sender, journal)
        self._api = RuntimeApi()
        self._processes = Processes(folder / "fork-server.log", run, self._died)
        settings = Settings(
            gateway_url=gateway_url,
            run=run,
            region=region,
            account_id=account_id,
            temp=folder / "tmp",
        )
        self._pool = Pool(
            self._processes,
            self._api,
            settings,
            on_end=self._environment_ended,
            lifecycle=profile.lifecycle,
        )
        self._executor = Executor(self._pool, self._logs, self._arn, on_log)
        self._provisioning = self._provisioner()
        self._running: set[asyncio.Task[Any]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._invokes = 0
        self._throttles = 0
        self._resets = 0

    async def start(self) -> None:
        """Start the fork server and the Runtime API.

        Raises:
            EngineDiedError: The fork server ended before it was ready.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        _allow_many_files()
        await self._api.start()
        await self._processes.start()
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """End everything that was started; invokes that still run end as crashes."""
        await self._events.clear()
        await self._provisioning.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await self._processes.stop()
        await self._functions.close()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._api.stop()
        self._logs.close()

    async def reset(self) -> None:
        """End every environment, forget queued events, functions and counts.

        Running invokes end as crashes; those that wait for an environment, or for what LocalStack says of their
        function, fail as by an error of the service.
        """
        self._resets += 1
        await self._events.clear()
        await self._provisioning.clear()
        await self._pool.end_all()
        self._functions.clear()
        self._event_invoke_configs.clear()
        self._aliases.restart()
        self._pool.cold_starts.clear()
        self._concurrency.restart()
        self._invokes = self._throttles = 0

    async def use(self, profile: Profile) -> None:
        """Run by other numbers from now on; what runs until now ends, as with `reset`."""
        await self.reset()
        self._profile = profile
        self._concurrency = Concurrency(profile.concurrency)
        self._provisioning = self._provisioner()
        self._events = AsyncQueue(profile.asynchronous, self._sender, self._journal)
        self._pool.lifecycle = profile.lifecycle

    def invalidate(self, name: str, operation: str = "") -> None:
        """Function ``name`` was created, changed or deleted, its versions, aliases or concurrency, by ``operation``.

        Environments of an earlier revision end when the new one is read, which those of published versions outlive.
        Provisioned concurrency is read at once: its environments start before anybody invokes.
        """
        self._functions.invalidate(name)
        self._aliases.invalidate(name)
        self._event_invoke_configs.invalidate(name)
        if operation == "DeleteFunction":
            self._pool.retire(name)
        if "ProvisionedConcurrency" in operation or self._provisioning.has(name):
            self._track(asyncio.create_task(self._refresh()))

    def provisioned(self, name: str) -> dict[str, dict[str, Any]]:
        """How far the provisioned concurrency of function ``name`` is, by version; see `Provisioning.status`.

        Whoever asks after a `reset` lets it be read again.
        """
        if not self._provisioning.has(name):
            self._functions.unread.add(name)
            self._track(asyncio.create_task(self._refresh()))
        return self._provisioning.status(name)

    @property
    def limits(self) -> Limits:
        """Lambda's quotas as they are now."""
        return self._profile.concurrency

    def reconfigure_events(self, name: str) -> None:
        """What function ``name`` says of its asynchronous invokes changed; its environments stay."""
        self._event_invoke_configs.invalidate(name)

    def forget(self) -> None:
        """Read every function anew before its next invoke; environments whose revision is the same stay warm."""
        self._functions.clear()
        self._aliases.clear()
        self._event_invoke_configs.clear()

    def stats(self) -> Stats:
        """What was done, and what is going on."""
        return Stats(
            concurrency=dict(+self._concurrency.running),
            peak_concurrency=dict(self._concurrency.peak),
            peak_account_concurrency=self._concurrency.peak_total,
            cold_starts=dict(self._pool.cold_starts),
            invokes=self._invokes,
            throttles=self._throttles,
            queued_events=len(self._events),
            dropped_events=self._events.dropped,
        )

    async def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        caller: str,
        trace: str | None = None,
        identity: str | None = None,
        invocation_type: str = "RequestResponse",
        qualifier: str | None = None,
        client_context: str | None = None,
        effects: tuple[Effect, ...] = (),
    ) -> InvokeResult:
        """Invoke a function; every failure is a result, none is raised.

        The invoke goes on when the caller is cancelled, as it does on AWS when a client hangs up.

        Args:
            function: Name, partial ARN or ARN, with or without a qualifier.
            payload: The event, JSON; empty counts as ``{}``.
            caller: Who invokes, for the journal.
            trace: The trace header.
            identity: What stays the same of the invoke over runs with the same seed, for the choice of a version.
            invocation_type: ``"RequestResponse"`` waits for the answer, ``"Event"`` queues the invoke and answers 202,
                ``"DryRun"`` only checks and answers 204.
            qualifier: Version or alias.
            client_context: The client context, JSON.
            effects: What faults do to the environment that it runs on, where its answer is waited for; an attempt of an
                asynchronous invoke has its own.
        """
        limit = (
            function_errors.ASYNC_REQUEST_BYTES if invocation_type == "Event" else function_errors.SYNC_REQUEST_BYTES
        )
        try:
            reference = parse_reference(function, qualifier)
            payload = _checked(payload)
        except ValueError as problem:
            return _refused(refusals.invalid_payload(str(problem)))
        if len(payload) > limit:
            return _refused(refusals.request_too_large(len(payload), limit))
        identity = identity or trace or payload.decode(errors="replace")
        request = Request(reference, payload, caller, str(uuid.uuid4()), identity, trace, client_context, effects)
        if invocation_type == "RequestResponse":
            return await asyncio.shield(self._started(request))
        found = await self._find(request)
        if not isinstance(found, Function):
            return _refused(found)
        if invocation_type == "Event":
            accepted = asyncio.get_running_loop().time()
            request = replace(request, accepted=accepted)
            self._events.submit(self._event(request, accepted), functools.partial(self._attempt, request))
        status = 202 if invocation_type == "Event" else 204
        return InvokeResult(status, b"", None, None, None, found.version, request_id=request.request_id)

    async def _invoke(self, request: Request) -> InvokeResult:
        """One attempt, and its line in the journal."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        resets = self._resets
        found = await self._find(request)
        if self._resets != resets:
            found = refusals.service_failed(_RESET)
        if isinstance(found, AwsError):
            result, run, facts = _refused(found), None, _NEVER_ADMITTED
        else:
            result, run, facts = await self._admitted(found, request)
        if request.accepted is not None:
            facts = {**facts, "age": round(started - request.accepted, 3)}
        result = replace(result, request_id=request.request_id)
        trace = parse_trace(request.trace)
        self._journal.record(
            "lambda",
            function=request.reference.name,
            qualifier=request.reference.qualifier,
            caller=request.caller,
            request_id=request.request_id,
            status=result.status,
            ms=round((loop.time() - started) * 1000, 3),
            duration=round(run.duration * 1000, 3) if run else None,
            billed=billed_milliseconds(run.duration, run.init) if run else None,
            cold=run.cold if run else False,
            **facts,
            version=None if isinstance(found, AwsError) else found.version,
            trace=trace[0] if trace else None,
            cause=result.cause,
            reason=result.error.members.get("Reason") if result.error else None,
        )
        return result

    async def _find(self, request: Request) -> Function | AwsError:
        """The version that is to run, once the function's concurrency is known too."""
        if self._dead is not None:
            return refusals.service_failed(str(self._dead))
        try:
            function = await self._functions.get(await self._aliases.resolve(request.reference, request.identity))
            await self._read_reservations()
        except AwsCallError as error:
            if error.status == _NOT_FOUND:
                return refusals.function_not_found(self._arn(request.reference))
            return AwsError(error.code, error.status or _UNAVAILABLE, error.message)
        except NotActiveError as error:
            return refusals.not_active(error.state)
        return function

    async def _read_reservations(self) -> None:
        if not self._functions.unread and not self._reservations.locked():
            return
        async with self._reservations:
            while self._functions.unread:
                name = self._functions.unread.pop()
                try:
                    self._concurrency.reserve(name, await self._functions.reserved_concurrency(name))
                    await self._provisioning.read(name)
                except BaseException:
                    self._functions.unread.add(name)
                    raise

    async def _refresh(self) -> None:
        with contextlib.suppress(AwsCallError):  # what was not read is still to be read: the next invoke tries again
            await self._read_reservations()

    def _provisioner(self) -> Provisioning:
        profile = self._profile.provisioned
        return Provisioning(
            self._aws, self._aliases, self._functions, pool=self._pool, concurrency=self._concurrency, profile=profile
        )

    def _loaded(self, function: Function) -> None:
        self._pool.supersede(function)

    async def _admitted(
        self, function: Function, request: Request
    ) -> tuple[InvokeResult, Execution | None, Mapping[str, object]]:
        """The answer, what ran, and for the journal how it was admitted."""
        now = asyncio.get_running_loop().time()
        concurrency = self._concurrency  # another one counts once there is another profile
        served = concurrency.admit(function.name, function.version, now=now)
        if isinstance(served, ThrottleReason):
            self._throttles += 1
            return _refused(refusals.throttled(served), function_errors.THROTTLE), None, _NEVER_ADMITTED
        self._invokes += 1
        running = concurrency.in_use(function.name, function.version)
        try:
            run = await self._executor.run(function, request, served)
        except EnvironmentsEndedError:
            return _refused(refusals.service_failed(_RESET)), None, _NEVER_ADMITTED
        finally:
            concurrency.release(function.name, function.version, served)
        facts = {"provisioned": _PROVISIONED[served], "running": running}
        failed = function_errors.UNHANDLED if run.cause else None
        tail = run.log[-TAIL_BYTES:]
        return InvokeResult(200, run.payload, failed, None, run.cause, run.version, tail), run, facts

    def _arn(self, reference: Reference) -> str:
        arn = f"arn:aws:lambda:{self._region}:{self._account_id}:function:{reference.name}"
        return f"{arn}:{reference.qualifier}" if reference.qualifier else arn

    def _event(self, request: Request, accepted: float) -> destinations.Event:
        arn = self._arn(replace(request.reference, qualifier=request.reference.qualifier or "$LATEST"))
        return destinations.Event(
            function=request.reference.name,
            arn=arn,
            request_id=request.request_id,
            payload=request.payload,
            trace=request.trace,
            accepted=accepted,
        )

    async def _attempt(
        self, request: Request, settings: destinations.Settings
    ) -> tuple[destinations.Settings, InvokeResult | None]:
        """One attempt of an asynchronous invoke; see `testbed.compute.async_queue.Attempt`."""
        found = await self._find(request)
        if isinstance(found, Function):
            try:
                config = await self._event_invoke_configs.get(request.reference)
            except AwsCallError as error:
                return settings, _refused(refusals.service_failed(str(error)))
            settings = destinations.Settings(config=config, dead_letter=found.dead_letter)
            if self._concurrency.is_disabled(found.name):
                return settings, None
        return settings, await self._around_attempt(
            request, lambda effects: self._invoke(replace(request, effects=effects))
        )

    def _died(self, error: EngineDiedError) -> None:
        self._dead = error
        self._on_death(error)

    def _environment_ended(self, function: str, version: str) -> None:
        self._concurrency.environment_ended(function, version)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._profile.lifecycle.idle_seconds / _SWEEPS_PER_LIFETIME)
            self._pool.end_unused()

    def _started(self, request: Request) -> "asyncio.Task[InvokeResult]":
        task = asyncio.create_task(self._invoke(request))
        self._track(task)
        return task

    def _track(self, task: "asyncio.Task[Any]") -> None:
        self._running.add(task)
        task.add_done_callback(self._running.discard)


def _checked(payload: bytes) -> bytes:
    """The payload, known to be JSON.

    Raises:
        ValueError: It is not.
    """
    if not payload:
        return b"{}"
    json.loads(payload)
    return payload


def _refused(error: AwsError, cause: str | None = None) -> InvokeResult:
    return InvokeResult(error.status, b"", None, error, cause or error.code)


def _allow_many_files() -> None:
    """An environment needs two descriptors, and there may be a thousand."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
