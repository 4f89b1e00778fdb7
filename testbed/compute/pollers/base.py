"""What the pollers of all sources share: their surroundings, their life cycle, one invoke."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from testbed.compute.aws import AwsCaller, AwsCallError
from testbed.compute.pollers.batch import Record, batch_identity, encode_event
from testbed.compute.pollers.mapping import Mapping
from testbed.compute.pollers.status import MappingStatus
from testbed.compute.result import Invoker, InvokeResult
from testbed.semantics.backoff import Backoff
from testbed.semantics.profiles import Profile

_log: Final = logging.getLogger(__name__)
_ACTIVE: Final = frozenset({"Enabled", "Enabling"})
_UNDECIDED: Final = frozenset({"Updating"})  # an enabled or a disabled mapping may be updated
_THROTTLED: Final = 429
_SERVER_ERROR: Final = 500
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a poller works with.

    Attributes:
        aws: Calls AWS.
        invoker: Runs functions.
        record: Writes the journal: a hop and its fields.
        profile: AWS's numbers.
        clock: Seconds since the epoch.
    """

    aws: AwsCaller
    invoker: Invoker
    record: Callable[..., None]
    profile: Profile
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Invoked:
    """How one invoke of a batch ended.

    Attributes:
        result: The answer.
        ms: How long it took, in milliseconds.
        spread: From 0 to 1, of the batch's identity: jitter that is the same in every run.
    """

    result: InvokeResult
    ms: float
    spread: float

    @property
    def refused(self) -> bool:
        """Throttled, or an error of the Lambda service: nothing ran, and AWS tries again."""
        return self.result.status == _THROTTLED or self.result.status >= _SERVER_ERROR or self.result.status == 0

    @property
    def error(self) -> str | None:
        """What went wrong in the function, or why it cannot be invoked at all; None if nothing did."""
        if self.result.status != _OK:
            return self.result.error.code if self.result.error else f"status {self.result.status}"
        return self.result.function_error


class MappingPoller(ABC):
    """Runs one mapping from its first listing until `retire` or `stop`.

    Attributes:
        mapping: What is listed now.
        env: What the poller works with.
        enabled: Set while the mapping is enabled.
        closing: Set as soon as nothing new is to be read.
        stopped: Set as soon as nothing is to be waited for.
    """

    def __init__(self, surroundings: Surroundings, mapping: Mapping) -> None:
        """Prepare; nothing runs until `configure`."""
        self.env = surroundings
        self.mapping = mapping
        self.enabled = asyncio.Event()
        self.closing = asyncio.Event()
        self.stopped = asyncio.Event()
        self._main: asyncio.Task[None] | None = None

    def configure(self, mapping: Mapping) -> None:
        """Take over what is listed now; batches in flight end as they began."""
        self.mapping = mapping
        if mapping.state in _ACTIVE:
            self.enabled.set()
        elif mapping.state not in _UNDECIDED:
            self.enabled.clear()
        if self._main is None:
            self._main = asyncio.create_task(self._run(), name=mapping.caller)
            self._main.add_done_callback(self.report_crash)

    async def retire(self) -> None:
        """The mapping is gone: read nothing new, and end with the batches in flight."""
        self._close()
        if self._main is not None:
            await asyncio.wait([self._main])

    async def stop(self, grace: float) -> None:
        """End now: waits are cut short, invokes in flight get ``grace`` seconds."""
        self._close()
        self.stopped.set()
        if self._main is not None:
            await asyncio.wait([self._main], timeout=grace)
            self._main.cancel()
            await asyncio.wait([self._main])

    def _close(self) -> None:
        self.closing.set()
        self.enabled.set()  # whoever waits for it has to see that there is nothing more to wait for

    async def is_open(self) -> bool:
        """Wait while the mapping is disabled; whether to go on after that."""
        await self.enabled.wait()
        return not self.closing.is_set()

    @abstractmethod
    def status(self) -> MappingStatus:
        """How far the mapping is."""

    @abstractmethod
    async def _run(self) -> None:
        """Work until `closing` is set and nothing is in flight."""

    def record(self, event: str, **fields: object) -> None:
        """Write a "mapping" hop into the journal."""
        self.env.record("mapping", mapping=self.mapping.uuid, function=self.mapping.function, event=event, **fields)

    async def call(self, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """Call AWS once, in the mapping's name."""
        return await self.env.aws.call(service, operation, params, caller=self.mapping.caller)

    async def call_patiently(
        self, service: str, operation: str, params: dict[str, Any], backoff: Backoff
    ) -> dict[str, Any] | None:
        """Call until it succeeds; None when the mapping is closed before that."""
        failures = 0
        while not self.closing.is_set():
            try:
                return await self.call(service, operation, params)
            except AwsCallError as error:
                failures += 1
                self.report_failure(operation, error, failures)
                await self.sleep(backoff.delay(failures), self.closing)
        return None

    def report_failure(self, operation: str, error: AwsCallError, failures: int) -> None:
        """Journal that AWS refused a call for the ``failures``th time in a row."""
        self.record("call failed", operation=operation, reason=error.code, failures=failures)
        if failures == 1:
            _log.info("mapping %s: %s failed and is tried again: %s", self.mapping.uuid, operation, error)

    async def invoke(
        self, records: Sequence[Record], members: dict[str, Any] | None = None, identity: str | None = None
    ) -> Invoked:
        """Invoke the function once with a batch, whose event has further ``members``.

        A batch without records needs an ``identity``.
        """
        started = self.env.clock()
        identity = identity or batch_identity(records)
        result = await self.env.invoker.invoke(
            self.mapping.function_arn,
            encode_event(records, members),
            caller=self.mapping.caller,
            trace=records[0].trace if records else None,
            identity=identity,
        )
        return Invoked(result, (self.env.clock() - started) * 1000, int(identity[-8:], 16) / 0xFFFFFFFF)

    def report_crash(self, task: "asyncio.Task[None]") -> None:
        """A task of the poller ended: a bug in it must be seen, in the journal and in the log."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.record("error", reason=repr(error))
            _log.error("mapping %s: poller failed", self.mapping.uuid, exc_info=error)

    @staticmethod
    async def sleep(seconds: float, until: asyncio.Event) -> bool:
        """Sleep, at most until the event; whether the event came."""
        try:
            async with asyncio.timeout(seconds):
                await until.wait()
        except TimeoutError:
            return False
        return True
