"""Trace ids that tie every hop to the order that caused it.

AWS's own header does the work: API Gateway hands ``X-Amzn-Trace-Id`` to Lambda, the runtime client puts it into
``_X_AMZN_TRACE_ID``, and botocore adds it to the calls of the handler. So no handler needs a library for it.
The format is X-Ray's, ``Root=1-<8 hex>-<24 hex>``; where X-Ray puts the epoch time, the testbed puts the planned
time of the order in milliseconds after the start of the traffic, so that windows of faults do not depend on how fast
a machine is. The 24 are the number of the order in the plan, eight, and a digest of its id.
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


def trace_header(request_id: str, planned: float, number: int = 0) -> str:
    """The trace header of a request.

    Args:
        request_id: Its id.
        planned: When it is due, in seconds after the start of the traffic.
        number: Its number in the plan, the first is 1; 0 where there is no plan.
    """
    return f"Root=1-{round(planned * 1000):08x}-{number:08x}{digest_of(request_id)}"


def digest_of(request_id: str) -> str:
    """What stands for the id of a request in its trace, 16 hexadecimal digits."""
    return hashlib.blake2b(request_id.encode(), digest_size=8).hexdigest()


def order_of(trace: str) -> tuple[int | None, str]:
    """Number in the plan (None where there is no plan) and digest of the request that began the trace ``trace``."""
    last = trace.rpartition("-")[2]
    return int(last[:8], 16) or None, last[8:]


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
