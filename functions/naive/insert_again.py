"""SQS -> Lambda -> Postgres, wrongly: inserts a row whenever a message comes, and messages come more than once.

Queues deliver at least once. Where the table has no key on the order's id, an order that is delivered twice is there
twice.
"""

import json
import os
from typing import Any

import psycopg


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - the signature is Lambda's
    """One row for each delivery."""
    with psycopg.connect(os.environ["DATABASE_DSN"], autocommit=True) as connection:
        for record in event["Records"]:
            connection.execute("INSERT INTO orders (id) VALUES (%s)", (json.loads(record["body"])["id"],))
