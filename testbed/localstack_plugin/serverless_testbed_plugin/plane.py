"""The connection to the testbed's data plane."""

import os
from collections.abc import Mapping
from typing import Final

import urllib3

TOKEN_HEADER: Final = "x-testbed-token"  # noqa: S105  # the name of a header
CALLER_HEADER: Final = "x-testbed-caller"
_CONNECT_SECONDS: Final = 5.0
_CHECK_SECONDS: Final = 3.0
_OK: Final = 200
_CONNECTIONS: Final = 256  # kept open; more are opened when needed

_pool = urllib3.PoolManager(maxsize=_CONNECTIONS, retries=urllib3.Retry(connect=2, read=0, redirect=0, other=0))


def post(path: str, body: bytes, headers: Mapping[str, str], *, read_seconds: float) -> urllib3.BaseHTTPResponse:
    """`send` with the method POST."""
    return send("POST", path, body, headers, read_seconds=read_seconds)


def send(
    method: str, path: str, body: bytes, headers: Mapping[str, str], *, read_seconds: float
) -> urllib3.BaseHTTPResponse:
    """Send a request to the plane over a kept connection; safe for threads.

    Args:
        method: HTTP method.
        path: Path and query, as they go onto the wire.
        body: What to send.
        headers: Headers beside those that say who calls.
        read_seconds: How long the plane may take to answer.

    Raises:
        urllib3.exceptions.HTTPError: When there was no answer. Only connecting is tried again, as an invoke must
            not be executed twice.
    """
    own = {TOKEN_HEADER: os.environ["TESTBED_TOKEN"], CALLER_HEADER: "emulator"}
    return _pool.request(
        method, os.environ["TESTBED_PLANE"] + path, body=body, headers={**headers, **own}, redirect=False,
        decode_content=False, timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=read_seconds),
    )  # fmt: skip


def obstacle() -> str | None:
    """Why the plane cannot be reached from here; None when it can."""
    url = os.environ["TESTBED_PLANE"] + "/_testbed/health"
    own = {TOKEN_HEADER: os.environ["TESTBED_TOKEN"]}
    try:
        answer = _pool.request("GET", url, headers=own, timeout=_CHECK_SECONDS, retries=False)
    except urllib3.exceptions.HTTPError as error:
        return str(error)
    return None if answer.status == _OK else f"it answers with status {answer.status}"
