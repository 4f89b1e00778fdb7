"""API Gateway -> Lambda -> Postgres and SQS, wrongly: stores the order, fails at its notification, and answers 503.

The customer is told no, orders elsewhere, and gets both.
"""

import json
import os
from typing import Any

import boto3
import psycopg
from botocore.config import Config
from botocore.exceptions import ClientError

_sqs = boto3.client("sqs", config=Config(retries={"total_max_attempts": 1}))


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Store, then notify."""
    with psycopg.connect(os.environ["DATABASE_DSN"], autocommit=True) as connection:
        connection.execute("INSERT INTO orders (id) VALUES (%s)", (json.loads(event["body"])["id"],))
    try:
        _sqs.send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=event["body"])
    except ClientError:
        return {"statusCode": 503}
    return {"statusCode": 201}
