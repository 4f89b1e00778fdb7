"""SQS -> Lambda -> DynamoDB, wrongly: ignores what BatchWriteItem hands back.

`UnprocessedItems` are the items that the table had no capacity for. They are not written, and the call succeeds.
"""

import json
import os
from typing import Any

import boto3

_dynamodb = boto3.client("dynamodb")


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - the signature is Lambda's
    """Write the batch, once."""
    items = [{"PutRequest": {"Item": {"id": {"S": json.loads(each["body"])["id"]}}}} for each in event["Records"]]
    _dynamodb.batch_write_item(RequestItems={os.environ["TABLE_NAME"]: items})
