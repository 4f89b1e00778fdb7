"""API Gateway -> Lambda -> Postgres: a service that takes a request twice unless it carries an idempotency key."""

import json
import os
from typing import Any

import psycopg


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """One row for each request, or for each key."""
    order_id = json.loads(event["body"])["id"]
    with psycopg.connect(os.environ["DATABASE_DSN"], autocommit=True) as connection:
        connection.execute(
            "INSERT INTO charges (id, key) VALUES (%s, %s) ON CONFLICT (key) DO NOTHING",
            (order_id, event["headers"].get("Idempotency-Key")),
        )
    return {"statusCode": 201}
