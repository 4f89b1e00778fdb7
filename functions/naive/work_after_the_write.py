"""API Gateway -> Lambda -> Postgres and SQS, wrongly: stores the order, and then waits for something slow.

The function times out with the order in the table. The customer gets a 504 or a 502, and cannot know.
"""

import json
import os
from typing import Any

import boto3
import psycopg

_sqs = boto3.client("sqs")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Store, then wait until the notification is sent."""
    with psycopg.connect(os.environ["DATABASE_DSN"], autocommit=True) as connection:
        connection.execute("INSERT INTO orders (id) VALUES (%s)", (json.loads(event["body"])["id"],))
    _sqs.send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=event["body"])
    return {"statusCode": 201}
