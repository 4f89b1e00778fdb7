"""API Gateway -> Lambda -> Postgres and SQS: an order whose notification fails is not stored either."""

import json
import os
from typing import Any

import boto3
import psycopg
from botocore.config import Config
from botocore.exceptions import ClientError

_sqs = boto3.client("sqs", config=Config(retries={"total_max_attempts": 1}))


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Store and notify in one transaction."""
    try:
        with psycopg.connect(os.environ["DATABASE_DSN"]) as connection:
            connection.execute("INSERT INTO orders (id) VALUES (%s)", (json.loads(event["body"])["id"],))
            _sqs.send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=event["body"])
    except ClientError:
        return {"statusCode": 503}
    return {"statusCode": 201}
