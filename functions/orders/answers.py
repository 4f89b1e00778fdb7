"""What a handler behind a REST API with Lambda proxy integration returns."""

import json
from typing import Any


def answer(status: int, **body: str) -> dict[str, Any]:
    """A JSON answer."""
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(body)}
