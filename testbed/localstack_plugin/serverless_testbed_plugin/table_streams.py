"""moto's DynamoDB streams, such that readers see what AWS's would.

moto restores a copy of all tables when a transaction is cancelled, and its iterators go on reading the stream of the
table that is no longer there. It also copies every record of every stream for each transaction, tells arrivals without
a time zone, and encodes in Base64 what is encoded already.
"""

import base64
import copy
from datetime import UTC, datetime
from functools import cache
from typing import Any

from moto.dynamodb.models.table import StreamRecord, StreamShard
from moto.dynamodbstreams.models import ShardIterator


@cache
def mend_table_streams() -> None:
    """Patch moto's stream shards and their iterators."""
    StreamShard.__deepcopy__ = _copied
    ShardIterator.get = _following_the_table(ShardIterator.get)
    StreamRecord.__init__ = _mended(StreamRecord.__init__)


def _copied(shard: Any, memo: dict[int, Any]) -> Any:
    """A copy with the same records, which never change."""
    twin = copy.copy(shard)
    memo[id(shard)] = twin
    twin.items = list(shard.items)
    twin.table = copy.deepcopy(shard.table, memo)
    return twin


def _following_the_table(get: Any) -> Any:
    def call(iterator: Any, limit: int = 1000) -> Any:
        name = iterator.stream_shard.table.name
        iterator.stream_shard = iterator.streams_backend.dynamodb.get_table(name).stream_shard
        return get(iterator, limit)

    return call


def _mended(init: Any) -> Any:
    def call(record: Any, *args: Any, **kwargs: Any) -> None:
        init(record, *args, **kwargs)
        change = record.record["dynamodb"]
        change["ApproximateCreationDateTime"] = datetime.now(UTC).isoformat()
        for name in ("Keys", "NewImage", "OldImage"):
            if name in change:
                change[name] = {key: _with_bytes(value) for key, value in change[name].items()}

    return call


def _with_bytes(value: dict[str, Any]) -> dict[str, Any]:
    """An attribute value with bytes where moto has their Base64: anywhere but in lists and maps."""
    ((kind, member),) = value.items()
    if kind == "B" and isinstance(member, str):
        return {kind: base64.b64decode(member)}
    if kind == "BS":
        return {kind: [base64.b64decode(each) if isinstance(each, str) else each for each in member]}
    return value
