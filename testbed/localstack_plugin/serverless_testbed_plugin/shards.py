"""moto's Kinesis shards with reads and writes whose cost does not grow with what the shard holds.

moto walks over all records of the shard at every read and copies all their keys at every write. It numbers the
records of a shard 1, 2, 3, ... without a gap, so the next one can be looked up.
"""

from collections.abc import Callable
from typing import Any, Final

from moto.kinesis.models import KinesisBackend, Shard

_MAX_RECORDS: Final = 10_000
_MAX_BYTES: Final = 10 * 1024 * 1024
"""GetRecords returns up to 10,000 records and up to 10 MiB (Amazon Kinesis Data Streams API reference, GetRecords)."""

_BASE64: Final = 4 / 3


def index_shards() -> None:
    """Patch moto's shard and its iterators."""
    Shard.get_max_sequence_number = _last
    Shard.get_min_sequence_number = _first
    Shard.get_records = _read
    KinesisBackend.get_shard_iterator = _with_stream_name(KinesisBackend.get_shard_iterator)


def _last(shard: Any) -> int:
    return next(reversed(shard.records), 0)


def _first(shard: Any) -> int:
    return next(iter(shard.records), 0)


def _read(shard: Any, last_sequence_id: str, limit: int | None) -> tuple[list[Any], int, int]:
    """Records after ``last_sequence_id``, the number of the last one, and how far behind it is in milliseconds."""
    last = int(last_sequence_id)
    records: list[Any] = []
    size = 0.0
    while len(records) < min(limit or _MAX_RECORDS, _MAX_RECORDS) and (record := shard.records.get(last + 1)):
        size += len(record.data) / _BASE64
        if records and size > _MAX_BYTES:
            break
        records.append(record)
        last += 1
    newest = shard.records.get(_last(shard))
    behind = newest.created_at - records[-1].created_at if records else 0.0
    return records, last, int(behind * 1000)


def _with_stream_name(get_shard_iterator: Callable[..., str]) -> Callable[..., str]:
    """An iterator asked for by ARN must name its stream too: GetRecords may come with the iterator alone."""

    def call(backend: Any, stream_arn: str | None, stream_name: str | None, *args: Any, **kwargs: Any) -> str:
        stream = backend.describe_stream(stream_arn=stream_arn, stream_name=stream_name)
        return get_shard_iterator(backend, stream_arn, stream.stream_name, *args, **kwargs)

    return call
