"""moto's Kinesis shards with reads and writes whose cost does not grow with what the shard holds, and real resharding.

moto walks over all records of the shard at every read and copies all their keys at every write. It numbers the
records of a shard 1, 2, 3, ... without a gap, so the next one can be looked up.

After a split or a merge moto goes on putting into closed shards, moves records or doubles them, and never says
that a shard has ended. Here the records stay where they were put, new ones go to open shards, and the last read of a
closed shard has no further iterator (Amazon Kinesis Data Streams developer guide, Resharding a stream).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from moto.kinesis.models import KinesisBackend, Shard, Stream
from moto.kinesis.utils import decompose_shard_iterator

_MAX_RECORDS: Final = 10_000
_MAX_BYTES: Final = 10 * 1024 * 1024
"""GetRecords returns up to 10,000 records and up to 10 MiB (Amazon Kinesis Data Streams API reference, GetRecords)."""

_BASE64: Final = 4 / 3


def index_shards() -> None:
    """Patch moto's shard, its iterators and its resharding."""
    Shard.get_max_sequence_number = _last
    Shard.get_min_sequence_number = _first
    Shard.get_records = _read
    Stream.split_shard = _split(Stream.split_shard)
    Stream.merge_shards = _merge(Stream.merge_shards)
    Stream.get_shard_for_key = _among_open_shards(Stream.get_shard_for_key)
    KinesisBackend.get_records = _ends_with_the_shard(KinesisBackend.get_records)
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


def _split(split_shard: Callable[..., None]) -> Callable[..., None]:
    def call(stream: Any, shard_to_split: str, new_starting_hash_key: str) -> None:
        with _keeping_their_records([stream.shards[shard_to_split]]):
            split_shard(stream, shard_to_split, new_starting_hash_key)

    return call


def _merge(merge_shards: Callable[..., None]) -> Callable[..., None]:
    def call(stream: Any, shard_to_merge: str, adjacent_shard_to_merge: str) -> None:
        with _keeping_their_records([stream.shards[shard_to_merge], stream.shards[adjacent_shard_to_merge]]):
            merge_shards(stream, shard_to_merge, adjacent_shard_to_merge)

    return call


@contextmanager
def _keeping_their_records(shards: Iterable[Any]) -> Iterator[None]:
    """Hide the records of ``shards``, so that moto cannot move them."""
    kept = [(shard, shard.records) for shard in shards]
    for shard, _ in kept:
        shard.records = OrderedDict()
    try:
        yield
    finally:
        for shard, records in kept:
            shard.records = records


def _among_open_shards(get_shard_for_key: Callable[..., Any]) -> Callable[..., Any]:
    def call(stream: Any, partition_key: str, explicit_hash_key: str) -> Any:
        every = stream.shards
        stream.shards = {shard_id: shard for shard_id, shard in every.items() if shard.is_open}
        try:
            return get_shard_for_key(stream, partition_key, explicit_hash_key)
        finally:
            stream.shards = every

    return call


def _ends_with_the_shard(get_records: Callable[..., tuple[str, list[Any], int]]) -> Callable[..., Any]:
    def call(backend: Any, stream_arn: str | None, iterator: str, limit: int | None) -> tuple[str | None, Any, int]:
        following, records, behind = get_records(backend, stream_arn, iterator, limit)
        name, shard_id, last = decompose_shard_iterator(following)
        shard = backend.describe_stream(stream_arn=stream_arn, stream_name=name).get_shard(shard_id)
        at_end = not shard.is_open and int(last) >= _last(shard)
        return None if at_end else following, records, behind

    return call
