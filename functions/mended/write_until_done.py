"""SQS -> Lambda -> DynamoDB: what BatchWriteItem hands back is written again, and in the end the batch fails."""

import json
import os
import time
from typing import Any

import boto3

_ATTEMPTS = 8
_dynamodb = boto3.client("dynamodb")


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - the signature is Lambda's
    """Write the batch, to its last item."""
    items = [{"PutRequest": {"Item": {"id": {"S": json.loads(each["body"])["id"]}}}} for each in event["Records"]]
    left = {os.environ["TABLE_NAME"]: items}
    for attempt in range(_ATTEMPTS):
        left = _dynamodb.batch_write_item(RequestItems=left)["UnprocessedItems"]
        if not left:
            return
        time.sleep(0.01 * 2**attempt)
    raise RuntimeError("items are left over")
