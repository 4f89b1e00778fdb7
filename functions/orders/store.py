"""Orders in Postgres: one connection per execution environment, and an insert that may be repeated."""

import json
import os
from dataclasses import dataclass
from typing import Any

import psycopg

_INSERT = """
    INSERT INTO orders (id, customer, sku, quantity, total_cents) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (id) DO NOTHING
"""
_FIELDS = {"id": str, "customer": str, "sku": str, "quantity": int, "total_cents": int}

_connection: psycopg.Connection[Any] | None = None


class InvalidOrderError(ValueError):
    """An order that no retry will ever make storable."""


class UnknownOutcomeError(Exception):
    """The connection broke while Postgres had the order: it may be stored, or not."""


@dataclass(frozen=True)
class Order:
    """An order whose fields are there and of the right types."""

    id: str
    customer: str
    sku: str
    quantity: int
    total_cents: int


def parse(body: str | bytes | None) -> Order:
    """The order in a request's or a message's body; raises InvalidOrderError."""
    try:
        document = json.loads(body or "")
        values = {name: document[name] for name in _FIELDS}
    except (ValueError, KeyError, TypeError, RecursionError) as error:  # the last: nested too deeply
        raise InvalidOrderError(f"not an order: {error!r}") from error
    for name, kind in _FIELDS.items():
        if type(values[name]) is not kind:
            raise InvalidOrderError(f"{name} is not of type {kind.__name__}")
    return Order(**values)


def store(order: Order) -> None:
    """Store an order once, however often it comes.

    Raises InvalidOrderError where the database refuses the values, UnknownOutcomeError where it gave no answer, and
    psycopg.OperationalError where nothing was stored.
    """
    values = (order.id, order.customer, order.sku, order.quantity, order.total_cents)
    connection = _connected()
    try:
        connection.execute(_INSERT, values)
    except (psycopg.DataError, psycopg.IntegrityError, UnicodeEncodeError) as error:  # the last: half a character
        raise InvalidOrderError(f"the database refuses it: {error}") from error
    except psycopg.OperationalError as error:
        _drop_connection()  # the next invoke gets a new one
        if error.sqlstate is None:
            raise UnknownOutcomeError(str(error)) from error
        raise


def _connected() -> psycopg.Connection[Any]:
    global _connection  # noqa: PLW0603 - lives as long as the execution environment, which is the point
    if _connection is None or _connection.closed:
        _connection = psycopg.connect(os.environ["DATABASE_DSN"], autocommit=True, connect_timeout=5)
    return _connection


def _drop_connection() -> None:
    global _connection  # noqa: PLW0603 - see above
    if _connection is not None:
        _connection.close()
    _connection = None
