"""API Gateway -> Lambda, asynchronously -> Lambda: the customer's answer means that Lambda has queued the event.

That is no error yet. It becomes one where the second function has neither a dead-letter queue nor an on-failure
destination: after two retries Lambda drops the event.
"""

import json
import os
from typing import Any

import boto3

_lambda = boto3.client("lambda")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Invoke the function that stores the order, and do not wait."""
    event = {"id": event["headers"]["Idempotency-Key"], "body": event["body"]}
    _lambda.invoke(FunctionName=os.environ["STORE"], InvocationType="Event", Payload=json.dumps(event).encode())
    return {"statusCode": 202}
