"""The seam between the gateway and the limits of services: each call of a limited one passes here on its way."""

import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Protocol

from testbed.compute.aws import AwsCaller
from testbed.gateway.classify import Target
from testbed.gateway.limits.dynamodb import DynamoDbLimits
from testbed.gateway.limits.kinesis import KinesisLimits
from testbed.gateway.limits.wire import LIMIT, Forward, document_of
from testbed.gateway.message import Inbound, Reply
from testbed.semantics.profiles import Profile
from testbed.semantics.profiles import aws as aws_profile


class _Limited(Protocol):
    """The limits of one service."""

    @property
    def operations(self) -> AbstractSet[str]: ...

    async def execute(self, target: Target, request: Inbound, forward: Forward) -> Reply: ...

    def restart(self) -> None: ...

    def changed(self, operation: str, resource: str) -> None: ...


class ServiceLimits:
    """Lets calls of Kinesis and DynamoDB through as far as their shards and tables take them.

    Args:
        aws: Reads shards and tables, past faults and journal.
        clock: Seconds of a clock that never goes back.

    Attributes:
        throttles: Calls that were refused, in whole or in part, since the last `restart`.
    """

    def __init__(self, aws: AwsCaller, clock: Callable[[], float] = time.monotonic) -> None:
        self._kinesis = KinesisLimits(aws, aws_profile.kinesis, clock)
        self._dynamodb = DynamoDbLimits(aws, aws_profile.dynamodb, clock)
        self._services: dict[str, _Limited] = {"kinesis": self._kinesis, "dynamodb": self._dynamodb}
        self.throttles = 0

    async def execute(self, target: Target, request: Inbound, forward: Forward) -> Reply:
        """Answer ``request``: what the service takes goes on to ``forward``, the rest is refused as AWS does."""
        service = self._services.get(target.service)
        if service is None or target.operation not in service.operations or not request.body:
            return await forward(request, target)
        reply = await service.execute(target, request, forward)
        self.throttles += reply.cause == LIMIT
        return reply

    def named(self, target: Target, request: Inbound) -> Target:
        """``target`` with the stream that GetRecords reads, of which most SDKs give the iterator alone."""
        if target.resource or (target.service, target.operation) != ("kinesis", "GetRecords"):
            return target
        return replace(target, resource=self._kinesis.stream_of(document_of(request.body).get("ShardIterator")))

    def use(self, profile: Profile) -> None:
        """Go by other numbers from now on, with all that shards and tables hold."""
        self._kinesis.use(profile.kinesis)
        self._dynamodb.use(profile.dynamodb)

    def restart(self) -> None:
        """Forget what was used up so far."""
        self.throttles = 0
        for service in self._services.values():
            service.restart()

    def changed(self, service: str, operation: str, resource: str) -> None:
        """The emulator says that ``operation`` changed a stream or a table."""
        self._services[service].changed(operation, resource)

    def covers(self, service: str) -> bool:
        """Whether calls of ``service`` are limited."""
        return service in self._services

    def forget(self) -> None:
        """Believe nothing that was read from the emulator."""
        for service in self._services.values():
            service.changed("", "")
