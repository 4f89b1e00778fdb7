"""API Gateway -> Lambda -> Postgres, wrongly: stores each order under an id of its own making.

Nobody can find the order that the customer has placed, and there is one that nobody has placed.
"""

import os
import uuid
from typing import Any

import psycopg


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Store something."""
    with psycopg.connect(os.environ["DATABASE_DSN"], autocommit=True) as connection:
        connection.execute("INSERT INTO orders (id) VALUES (%s)", (str(uuid.uuid4()),))
    return {"statusCode": 201}
