"""SQS -> Lambda -> Postgres, wrongly: looks at the id of an order, and stores it whatever else it is.

What is no order at all stands in the table beside the others, and whoever reads the table has to cope.
"""

import os
from typing import Any

import psycopg


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - the signature is Lambda's
    """Store every message."""
    with psycopg.connect(os.environ["DATABASE_DSN"], autocommit=True) as connection:
        for record in event["Records"]:
            order_id = record["messageAttributes"]["order_id"]["stringValue"]
            connection.execute("INSERT INTO orders (id) VALUES (%s) ON CONFLICT DO NOTHING", (order_id,))
