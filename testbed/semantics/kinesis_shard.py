"""What a Kinesis shard takes and gives per second.

Source: Amazon Kinesis Data Streams developer guide, Quotas and limits; API reference, PutRecords and GetRecords.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class KinesisProfile:
    """Limits of one shard; they are rates, which `compress` leaves alone.

    Attributes:
        write_bytes: Bytes per second into a shard, partition keys included (1 MiB).
        write_records: Records per second into a shard (1,000).
        read_bytes: Bytes per second out of a shard, all readers together (2 MiB).
        read_calls: GetRecords calls per second, all readers together (5).
    """

    write_bytes: float = 1024 * 1024
    write_records: float = 1000.0
    read_bytes: float = 2 * 1024 * 1024
    read_calls: float = 5.0
