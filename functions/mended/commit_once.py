"""API Gateway -> Lambda -> Postgres: an insert that may be repeated, since the order's id is the key."""

import json
import os
from typing import Any

import psycopg


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Insert and commit, up to three times."""
    order_id = json.loads(event["body"])["id"]
    for _ in range(3):
        try:
            with psycopg.connect(os.environ["DATABASE_DSN"]) as connection:
                connection.execute("INSERT INTO orders (id) VALUES (%s) ON CONFLICT (id) DO NOTHING", (order_id,))
        except psycopg.OperationalError:
            continue
        return {"statusCode": 201}
    return {"statusCode": 504}
