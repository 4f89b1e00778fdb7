"""SQS -> Lambda -> Postgres, wrongly: reports which messages failed to a mapping that does not read it.

A mapping without `ReportBatchItemFailures` ignores what the function returns: the batch has succeeded, and the messages
that failed are deleted with the others.
"""

import json
import os
from typing import Any

import psycopg


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Store what can be stored, and report the rest."""
    failures = []
    with psycopg.connect(os.environ["DATABASE_DSN"], autocommit=True) as connection:
        for record in event["Records"]:
            try:
                order = json.loads(record["body"])
                connection.execute(
                    "INSERT INTO orders (id, quantity) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                    (order["id"], order["quantity"]),
                )
            except (ValueError, KeyError, psycopg.Error):
                failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
