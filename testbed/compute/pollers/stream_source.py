"""What the readers of shards ask of a stream, whichever service it belongs to."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from testbed.compute.pollers.base import MappingPoller
from testbed.compute.pollers.batch import Record
from testbed.semantics.on_failure import StreamBatchInfo

Shards = dict[str, set[str]]
"""Every shard of a stream with its parents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where on a shard to read on.

    Attributes:
        type: ``"TRIM_HORIZON"``, ``"LATEST"``, ``"AT_TIMESTAMP"`` or ``"AFTER_SEQUENCE_NUMBER"``.
        sequence_number: The last record that was read, for ``"AFTER_SEQUENCE_NUMBER"``.
        timestamp: The first arrival that is asked for, for ``"AT_TIMESTAMP"``.
    """

    type: str
    sequence_number: str | None = None
    timestamp: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one read gave.

    Attributes:
        records: In the order of the shard.
        skipped: Sequence numbers of those that the mapping's filters leave out.
        bytes: Size of the records, which the shard's read throughput is about.
        iterator: Where to read on; None at the end of a closed shard.
        more: Whether there is certainly more to read.
    """

    records: Sequence[Record]
    skipped: frozenset[str]
    bytes: int
    iterator: str | None
    more: bool


class StreamSource(ABC):
    """The stream of one mapping.

    Attributes:
        most_per_call: Records of one read.
        retention: Seconds that the stream keeps a record.
    """

    most_per_call: ClassVar[int]
    _batch_info: ClassVar[StreamBatchInfo]

    def __init__(self, poller: MappingPoller) -> None:
        """Prepare to call AWS as ``poller``."""
        self.poller = poller
        self.retention = 24 * 3600.0

    @property
    @abstractmethod
    def poll_interval(self) -> float:
        """Seconds between two reads of a shard that has nothing more to give."""

    @abstractmethod
    async def list_shards(self) -> Shards | None:
        """Every shard; None when the mapping is closed meanwhile."""

    @abstractmethod
    async def open(self, shard_id: str, position: Position) -> str:
        """An iterator at ``position``. Raises `AwsCallError`."""

    @abstractmethod
    async def read(self, shard_id: str, iterator: str) -> Page:
        """Read a page. Raises `AwsCallError`."""

    def batch_info(self, shard_id: str, records: Sequence[Record]) -> StreamBatchInfo:
        """What an on-failure destination is told of ``records``."""
        return replace(
            self._batch_info,
            stream_arn=self.poller.mapping.source_arn,
            shard_id=shard_id,
            start_sequence_number=records[0].id,
            end_sequence_number=records[-1].id,
            first_arrival=records[0].at,
            last_arrival=records[-1].at,
            batch_size=len(records),
        )

    async def call(self, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any] | None:
        """Call AWS until it succeeds; None when the mapping is closed before that."""
        return await self.poller.call_patiently(service, operation, params, self.poller.env.profile.stream.api_retry)
