"""Dead-letter queue -> Lambda -> Postgres: each dead letter is parked, whole, before it leaves the queue."""

import os
from typing import Any

import psycopg


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - the signature is Lambda's
    """Store what came, as it came."""
    with psycopg.connect(os.environ["DATABASE_DSN"], autocommit=True) as connection:
        for record in event["Records"]:
            connection.execute(
                "INSERT INTO parked (id, body) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (record["messageAttributes"]["order_id"]["stringValue"], record["body"]),
            )
