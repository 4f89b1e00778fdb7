"""A consumer that fails each time: its queue is never empty."""

from typing import Any, NoReturn


def handler(event: dict[str, Any], context: object) -> NoReturn:
    """Give every message back."""
    raise RuntimeError("not today")
