"""API Gateway -> Lambda -> Kinesis: the customer's answer means that the stream has the order."""

import os
from typing import Any

import boto3
from answers import answer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from refusal import refusal

# Backing off from throttles takes 1 + 2 + 4 + 8 s at most: less than the function and the API wait.
_kinesis = boto3.client("kinesis", config=Config(retries={"mode": "standard", "total_max_attempts": 5}))
_stream = os.environ["STREAM_NAME"]


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Take the order as it is; its id is the partition key, so that a discarded record can still be told."""
    order_id = event["headers"]["Idempotency-Key"]
    try:
        _kinesis.put_record(StreamName=_stream, Data=event["body"].encode(), PartitionKey=order_id)
    except (ClientError, BotoCoreError) as error:
        return refusal("stream", error)
    return answer(202, id=order_id)
