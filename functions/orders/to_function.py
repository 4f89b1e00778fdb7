"""API Gateway -> Lambda, asynchronously -> Lambda: the customer's answer means that Lambda has queued the order."""

import json
import os
from typing import Any

import boto3
from answers import answer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from refusal import refusal

# Backing off from throttles takes 1 + 2 + 4 + 8 s at most: less than the function and the API wait.
_lambda = boto3.client("lambda", config=Config(retries={"mode": "standard", "total_max_attempts": 5}))
_store = os.environ["STORE"]


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Take the order as it is; its id stands beside it, so that a dead letter can still be told."""
    order_id = event["headers"]["Idempotency-Key"]
    payload = json.dumps({"id": order_id, "body": event["body"]}).encode()
    try:
        _lambda.invoke(FunctionName=_store, InvocationType="Event", Payload=payload)
    except (ClientError, BotoCoreError) as error:
        return refusal("function", error)
    return answer(202, id=order_id)
