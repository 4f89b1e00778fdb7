"""API Gateway -> Lambda -> Postgres: the order is stored before the customer gets an answer.

A customer may take 4xx and 503 at their word: nothing is stored. 504 leaves it open.
"""

from typing import Any

import psycopg
from answers import answer
from store import InvalidOrderError, UnknownOutcomeError, parse, store


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Store the order, or say why not."""
    try:
        order = parse(event["body"])
        store(order)
    except InvalidOrderError as error:
        return answer(400, error="invalid order", detail=str(error))
    except UnknownOutcomeError as error:
        return answer(504, error="no answer from the database", detail=str(error))
    except psycopg.OperationalError as error:
        return answer(503, error=_cause(error), detail=str(error))
    return answer(201, id=order.id)


def _cause(error: psycopg.OperationalError) -> str:
    """What a failed connection means; psycopg knows no SQLSTATE of a refused connection: the text tells."""
    text = str(error)
    limited = error.sqlstate == "53300" or "connection slots" in text or "too many clients" in text
    return "connection limit" if limited else "database unavailable"
