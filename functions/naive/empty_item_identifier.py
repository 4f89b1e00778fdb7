"""SQS -> Lambda -> Postgres, wrongly: reports failures under an identifier that is always empty.

The key is `messageId`, and `get` with a wrong one says nothing. Lambda takes an empty identifier for the failure of the
whole batch, so every order that shares a batch with a bad one comes back until it is dead-lettered, stored or not.
"""

import json
import os
from typing import Any

import psycopg


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Store what can be stored, and report the rest, but not which."""
    failures = []
    with psycopg.connect(os.environ["DATABASE_DSN"], autocommit=True) as connection:
        for record in event["Records"]:
            try:
                order_id, quantity = json.loads(record["body"])["id"], json.loads(record["body"])["quantity"]
                connection.execute(
                    "INSERT INTO orders (id, quantity) VALUES (%s, %s) ON CONFLICT DO NOTHING", (order_id, quantity)
                )
            except (ValueError, KeyError, psycopg.Error):
                failures.append({"itemIdentifier": record.get("messageID", "")})
    return {"batchItemFailures": failures}
