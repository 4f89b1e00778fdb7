"""API Gateway -> Lambda -> Kinesis: what PutRecords refuses is put again, and refused to the customer in the end."""

import os
import time
from typing import Any

import boto3

_ATTEMPTS = 8
_kinesis = boto3.client("kinesis")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Put the order, and promise only what the stream has."""
    record = {"Data": event["body"].encode(), "PartitionKey": event["headers"]["Idempotency-Key"]}
    for attempt in range(_ATTEMPTS):
        if not _kinesis.put_records(StreamName=os.environ["STREAM_NAME"], Records=[record])["FailedRecordCount"]:
            return {"statusCode": 202}
        time.sleep(0.02 * 2**attempt)
    return {"statusCode": 503}
