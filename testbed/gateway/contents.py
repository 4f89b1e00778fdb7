"""How many messages and records a call has carried: what CloudWatch's metrics of streams and mappings count."""

import json
import re
from typing import Any, Final

from testbed.gateway.classify import Target
from testbed.gateway.message import Inbound, Reply

_BEHIND: Final = re.compile(rb'"MillisBehindLatest":\s*(\d+)')
_COUNTED: Final = frozenset(
    {
        ("kinesis", "PutRecord"),
        ("kinesis", "PutRecords"),
        ("kinesis", "GetRecords"),
        ("dynamodbstreams", "GetRecords"),
        ("sqs", "ReceiveMessage"),
        ("sqs", "DeleteMessageBatch"),
    }
)
_THROTTLED: Final = "ProvisionedThroughputExceededException"


async def contents_of(target: Target, request: Inbound, reply: Reply) -> dict[str, int]:
    """What a call that was answered has carried; empty where that is not counted.

    Returns:
        ``records``: taken, read, received or deleted; for puts ``bytes`` that were taken (partition keys included),
        ``failed`` records and how many of them were ``throttled``; for reads of a Kinesis stream ``behind_ms``.
    """
    if (target.service, target.operation) not in _COUNTED or reply.error is not None:
        return {}
    body = await reply.whole()
    if target.service == "dynamodbstreams":
        return {"records": body.count(b'"eventVersion"')}
    if target.operation == "GetRecords":
        behind = _BEHIND.search(body)
        return {"records": body.count(b'"SequenceNumber"'), "behind_ms": int(behind[1]) if behind else 0}
    if target.operation == "ReceiveMessage":
        return {"records": body.count(b'"ReceiptHandle"')}  # quotes in a message are escaped
    try:
        return _written(target.operation, json.loads(request.body), json.loads(body))
    except ValueError:
        return {"records": 0}  # not in JSON: nobody in the testbed writes so


def _written(operation: str, order: dict[str, Any], answer: dict[str, Any]) -> dict[str, int]:
    if operation == "DeleteMessageBatch":
        return {"records": len(answer.get("Successful") or ())}
    if operation == "PutRecord":
        return {"records": 1, "bytes": _size(order)}
    results: list[dict[str, Any]] = answer.get("Records") or [{}] * len(order["Records"])
    taken = [record for record, result in zip(order["Records"], results, strict=False) if "ErrorCode" not in result]
    failed = int(answer.get("FailedRecordCount", 0))
    return {
        "records": len(order["Records"]) - failed,
        "bytes": sum(map(_size, taken)),
        "failed": failed,
        "throttled": sum(result.get("ErrorCode") == _THROTTLED for result in results),
    }


def _size(record: dict[str, Any]) -> int:
    """Bytes that count against a shard: data, which travels in base64, and partition key."""
    data: str = record["Data"]
    return len(data) // 4 * 3 - data.count("=", -2) + len(record["PartitionKey"].encode())
