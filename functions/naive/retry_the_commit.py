"""API Gateway -> Lambda -> Postgres, wrongly: when the reply to COMMIT is lost, inserts once more.

A COMMIT without a reply may have been done. Who repeats an insert that nothing makes repeatable stores the order twice.
"""

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
                connection.execute("INSERT INTO orders (id) VALUES (%s)", (order_id,))
        except psycopg.OperationalError:
            continue
        return {"statusCode": 201}
    return {"statusCode": 503}
