"""API Gateway -> Lambda -> another API: a request that is repeated says which one it is."""

import os
import urllib.error
import urllib.request
from typing import Any


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - the signature is Lambda's
    """Ask up to three times, with the customer's own key."""
    headers = {"Idempotency-Key": event["headers"]["Idempotency-Key"]}
    url, body = os.environ["CHARGE_URL"], event["body"].encode()
    for _ in range(3):
        try:
            urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5).close()  # noqa: S310
        except (urllib.error.URLError, ConnectionError):
            continue
        return {"statusCode": 201}
    return {"statusCode": 504}
