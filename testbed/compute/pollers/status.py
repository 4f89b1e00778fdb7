"""What a drain needs to know of a mapping."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingStatus:
    """How far one mapping is.

    Attributes:
        uuid: The mapping.
        source: ARN of the queue or stream.
        function: Name of the function.
        in_flight: Batches that were read and are neither finished nor given up, held ones included.
        held: Batches that wait for their next try: throttled, or failed on a shard.
        behind: Records read from a shard and not checkpointed yet; 0 for queues, whose depth SQS knows.
        processed: Records of a stream that are processed or discarded; 0 for queues.
        checkpoints: Shard id to the sequence number of its last record that is processed or discarded, None where there
            is none yet; empty for queues.
        idle: No batch is in hand and, for a stream, the latest read of each shard found nothing left.
        caught_up_at: For a stream: every record that was put before this time, on the fleet's clock, is processed or
            discarded. None as long as that is unknown, and for queues.
    """

    uuid: str
    source: str
    function: str
    in_flight: int
    held: int
    behind: int
    idle: bool
    processed: int = 0
    checkpoints: Mapping[str, str | None] = field(default_factory=dict)
    caught_up_at: float | None = None
