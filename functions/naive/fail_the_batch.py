"""SQS -> Lambda -> Postgres, wrongly: one bad record fails the whole batch.

What an exception leaves behind is a batch that failed: its healthy orders are received again and again in the company
of a bad one, until all of them are dead-lettered.
"""

import json
import os
from typing import Any

import psycopg


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - the signature is Lambda's
    """Store the batch in one transaction, or nothing of it."""
    with psycopg.connect(os.environ["DATABASE_DSN"]) as connection:
        for record in event["Records"]:
            order = json.loads(record["body"])
            connection.execute("INSERT INTO orders (id, quantity) VALUES (%s, %s)", (order["id"], order["quantity"]))
