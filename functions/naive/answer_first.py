"""API Gateway -> Lambda -> SQS, wrongly: answers first, and sends to the queue in the background.

The customer has a 202 by the time SQS refuses the message, and there is nobody left to tell.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config

_sqs = boto3.client("sqs", config=Config(retries={"total_max_attempts": 1}))
_background = ThreadPoolExecutor(max_workers=1)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Promise, then send; what becomes of the sending is never looked at."""
    _background.submit(
        _sqs.send_message,
        QueueUrl=os.environ["QUEUE_URL"],
        MessageBody=event["body"],
        MessageAttributes={
            "order_id": {"DataType": "String", "StringValue": event["headers"]["Idempotency-Key"]},
        },
    )
    return {"statusCode": 202}
