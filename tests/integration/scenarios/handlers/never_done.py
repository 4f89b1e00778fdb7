"""A consumer that fails each time: its queue is never empty."""

from typing import NoReturn


def handler(_event: object, _context: object) -> NoReturn:
    """Give every message back."""
    raise RuntimeError("not today")
