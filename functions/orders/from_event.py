"""Lambda, invoked asynchronously -> Postgres: an order that cannot be stored fails its event, which Lambda retries."""

from typing import Any

from store import parse, store


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - the signature is Lambda's
    """Store the order of one event, once, however often it comes."""
    store(parse(event["body"]))
