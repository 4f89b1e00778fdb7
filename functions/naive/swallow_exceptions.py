"""SQS -> Lambda -> Postgres, wrongly: logs what goes wrong, and carries on as if it had not.

A handler that returns has processed its batch: the mapping deletes the messages. An order that met a refused connection
is in a line of a log, and nowhere else.
"""

import json
import logging
import os
from typing import Any

import psycopg


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - the signature is Lambda's
    """Store each order, or log that it could not be."""
    for record in event["Records"]:
        order_id = json.loads(record["body"])["id"]
        try:
            with psycopg.connect(os.environ["DATABASE_DSN"], autocommit=True) as connection:
                connection.execute("INSERT INTO orders (id) VALUES (%s) ON CONFLICT DO NOTHING", (order_id,))
        except psycopg.Error:
            logging.exception("order %s", order_id)  # noqa: LOG015 - as it is found everywhere
