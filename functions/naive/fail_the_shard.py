"""Kinesis -> Lambda -> Postgres, wrongly: one bad record fails the whole batch, every time.

With few retries and no on-failure destination, Lambda then skips the batch: its orders are gone without a trace. With
retries without end, which is the default, the shard stands still until its records expire.
"""

import base64
import json
import os
from typing import Any

import psycopg


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - the signature is Lambda's
    """Store the batch in one transaction, or nothing of it."""
    with psycopg.connect(os.environ["DATABASE_DSN"]) as connection:
        for record in event["Records"]:
            order = json.loads(base64.b64decode(record["kinesis"]["data"]))
            connection.execute("INSERT INTO orders (id, quantity) VALUES (%s, %s)", (order["id"], order["quantity"]))
