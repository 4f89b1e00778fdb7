"""All pollers of a run, kept in step with the mappings that LocalStack lists."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from testbed.compute.aws import AwsCaller
from testbed.compute.pollers.base import MappingPoller, Surroundings
from testbed.compute.pollers.mapping import Mapping
from testbed.compute.pollers.sqs import SqsPoller
from testbed.compute.pollers.status import MappingStatus
from testbed.compute.pollers.stream import StreamPoller
from testbed.compute.result import Invoker
from testbed.semantics.profiles import Profile

_log: Final = logging.getLogger(__name__)
_POLLERS: Final[dict[str, type[MappingPoller]]] = {
    "sqs": SqsPoller,
    "kinesis": StreamPoller,
    "dynamodb": StreamPoller,
}


class PollerFleet:
    """Starts, reconfigures and retires one poller per event source mapping."""

    def __init__(
        self,
        aws: AwsCaller,
        invoker: Invoker,
        record: Callable[..., None],
        profile: Profile,
        clock: Callable[[], float],
    ) -> None:
        """Start without mappings.

        Args:
            aws: Calls SQS, Kinesis, DynamoDB, SNS, S3 and Lambda.
            invoker: Runs the functions.
            record: The journal's ``record(hop, **fields)``.
            profile: AWS's numbers.
            clock: Seconds since the epoch (`time.time`): record ages are measured against it.
        """
        self._env = Surroundings(aws, invoker, record, profile, clock)
        self._pollers: dict[str, MappingPoller] = {}
        self._retiring: dict[asyncio.Task[None], MappingPoller] = {}
        self._warned: set[tuple[str, str]] = set()

    def use(self, profile: Profile) -> None:
        """Let the mappings that are listed from now on run by other numbers."""
        self._env = replace(self._env, profile=profile)

    async def reconcile(self, mappings: list[dict[str, Any]]) -> None:
        """Run exactly ``mappings``, entries of ListEventSourceMappings.

        Known mappings are reconfigured in place. Mappings that are no longer listed read nothing new, and end with
        their batches in flight; this does not wait for them. A mapping that is listed as disabled keeps its place on
        the stream.
        """
        listed = {mapping.uuid: mapping for mapping in map(Mapping.parse, mappings)}
        for uuid in self._pollers.keys() - listed.keys():
            self._retire(self._pollers.pop(uuid))
        for uuid, mapping in listed.items():
            self._warn(mapping)
            if mapping.filters is None:
                continue  # nobody knows which records to hand over
            if uuid not in self._pollers and mapping.service in _POLLERS:
                self._pollers[uuid] = _POLLERS[mapping.service](self._env, mapping)
            if uuid in self._pollers:
                self._pollers[uuid].configure(mapping)

    async def stop(self, grace: float = 5.0) -> None:
        """Stop everything: long polls at once, invokes in flight after ``grace`` seconds at the latest.

        Messages that a cut long poll had taken, or a batch that was still held, come back with the visibility timeout.
        """
        pollers = [*self._pollers.values(), *self._retiring.values()]
        self._pollers.clear()
        await asyncio.gather(*(poller.stop(grace) for poller in pollers), *self._retiring)

    async def end_retiring(self, grace: float = 1.0) -> None:
        """End what is left of mappings that are gone: what they still hold is not of the architecture that comes next.

        Messages that a cut long poll had taken come back with the visibility timeout.
        """
        await asyncio.gather(*(poller.stop(grace) for poller in self._retiring.values()))

    def status(self) -> list[MappingStatus]:
        """One status per mapping, those that are ending included."""
        return [poller.status() for poller in (*self._pollers.values(), *self._retiring.values())]

    def _retire(self, poller: MappingPoller) -> None:
        task = asyncio.create_task(poller.retire())
        self._retiring[task] = poller
        task.add_done_callback(self._retiring.pop)

    def _warn(self, mapping: Mapping) -> None:
        for field in mapping.unsupported:
            if (mapping.uuid, field) not in self._warned:
                self._warned.add((mapping.uuid, field))
                self._env.record(
                    "mapping",
                    mapping=mapping.uuid,
                    function=mapping.function,
                    event="unsupported",
                    field=field,
                )
                _log.warning(
                    "event source mapping %s of function %s asks for %s, which the testbed does not do",
                    mapping.uuid,
                    mapping.function,
                    field,
                )
