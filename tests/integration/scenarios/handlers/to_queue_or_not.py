"""API Gateway -> Lambda -> SQS; a message that SQS does not take is reported, or forgotten, as ``FORGIVES`` says."""

import json
import os
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_sqs = boto3.client("sqs", config=Config(retries={"total_max_attempts": 1}))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take the order as it is."""
    order = json.loads(event["body"])
    attributes = {"order_id": {"DataType": "String", "StringValue": order["id"]}}
    try:
        _sqs.send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=event["body"], MessageAttributes=attributes)
    except (BotoCoreError, ClientError):
        if os.environ["FORGIVES"] == "no":
            return {"statusCode": 503, "body": "{}"}
    return {"statusCode": 202, "body": "{}"}
