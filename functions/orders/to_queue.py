"""API Gateway -> Lambda -> SQS: the customer's answer means that the queue has the order."""

import os
from typing import Any

import boto3
from answers import answer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from refusal import refusal

# Backing off from throttles takes 1 + 2 + 4 + 8 s at most: less than the function and the API wait.
_sqs = boto3.client("sqs", config=Config(retries={"mode": "standard", "total_max_attempts": 5}))
_queue_url = os.environ["QUEUE_URL"]


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Take the order as it is; the consumer checks it, and what cannot be stored ends up in the dead-letter queue."""
    order_id = event["headers"]["Idempotency-Key"]
    try:
        _sqs.send_message(
            QueueUrl=_queue_url,
            MessageBody=event["body"],
            MessageAttributes={"order_id": {"DataType": "String", "StringValue": order_id}},
        )
    except (ClientError, BotoCoreError) as error:
        return refusal("queue", error)
    return answer(202, id=order_id)
