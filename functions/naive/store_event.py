"""Lambda, invoked asynchronously -> Postgres: stores the order of one event, or raises."""

import json
import os
from typing import Any

import psycopg


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - the signature is Lambda's
    """One order."""
    order = json.loads(event["body"])
    with psycopg.connect(os.environ["DATABASE_DSN"], autocommit=True) as connection:
        connection.execute(
            "INSERT INTO orders (id, quantity) VALUES (%s, %s) ON CONFLICT DO NOTHING", (order["id"], order["quantity"])
        )
