"""SQS -> Lambda -> Postgres, wrongly: takes each message off the queue, and writes afterwards.

Whatever goes wrong between the two, a time-out, a crash, a refused value, takes the order with it: the queue no longer
has it, the database does not have it yet, and nobody is told.
"""

import json
import os
from typing import Any

import boto3
import psycopg

_sqs = boto3.client("sqs")


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - the signature is Lambda's
    """Delete, then store."""
    entries = [{"Id": str(i), "ReceiptHandle": each["receiptHandle"]} for i, each in enumerate(event["Records"])]
    _sqs.delete_message_batch(QueueUrl=os.environ["QUEUE_URL"], Entries=entries)
    with psycopg.connect(os.environ["DATABASE_DSN"], autocommit=True) as connection:
        for record in event["Records"]:
            order = json.loads(record["body"])
            connection.execute("INSERT INTO orders (id) VALUES (%s)", (order["id"],))
