"""API Gateway -> Lambda -> SQS without a retry: the client sees at once when the queue cannot take its order."""

import os
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_sqs = boto3.client("sqs", config=Config(retries={"total_max_attempts": 1}))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take the order as it is."""
    try:
        _sqs.send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=event["body"])
    except (ClientError, BotoCoreError):
        return {"statusCode": 503}
    return {"statusCode": 202}
