"""Trace ids that tie every hop to the order that caused it.

AWS's own header does the work: API Gateway hands ``X-Amzn-Trace-Id`` to Lambda, the runtime client puts it into
``_X_AMZN_TRACE_ID``, and botocore adds it to the calls of the handler. So no handler needs to know of the testbed.
The format is X-Ray's, ``Root=1-<8 hex>-<24 hex>``; where X-Ray puts the epoch time, the testbed puts the planned
time of the order in milliseconds after the start of the traffic, so that windows of faults do not depend on how fast
a machine is.
"""

import hashlib
import re
import secrets
import time
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

HEADER: Final = "X-Amzn-Trace-Id"
_ROOT: Final = re.compile(r"(?:^|;)\s*Root=1-([0-9a-f]{8})-([0-9a-f]{24})")
_FIRST_EPOCH: Final = 1 << 30  # seconds: January 2004


def trace_header(request_id: str, planned: float) -> str:
    """The trace header of the request ``request_id``, planned ``planned`` seconds after the start of the traffic."""
    digest = hashlib.blake2b(request_id.encode(), digest_size=12).hexdigest()
    return f"Root=1-{round(planned * 1000):08x}-{digest}"


def fresh_trace_header() -> str:
    """A trace header for a request that came without one, as AWS would begin it."""
    return f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}"


@lru_cache(maxsize=4096)  # each header passes several hops
def parse_trace(header: str | None) -> tuple[str, float | None] | None:
    """Trace id (the root alone) and planned seconds of a header; None where there is no trace.

    The planned time is None for a trace that somebody else began, which has the epoch time in its place: read as
    milliseconds, no epoch time since 2004 is less than twelve days.
    """
    found = _ROOT.search(unquote(header)) if header else None
    if found is None:
        return None
    milliseconds = int(found[1], 16)
    return f"1-{found[1]}-{found[2]}", milliseconds / 1000 if milliseconds < _FIRST_EPOCH else None
