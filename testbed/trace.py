"""Trace ids that tie every hop to the order that caused it.

AWS's own header does the work: API Gateway hands ``X-Amzn-Trace-Id`` to Lambda, the runtime client puts it into
``_X_AMZN_TRACE_ID``, and botocore adds it to the calls of the handler. So no handler needs to know of the testbed.
The format is X-Ray's, ``Root=1-<8 hex>-<24 hex>``; where X-Ray puts the epoch time, the testbed puts the planned
time of the order in milliseconds after the start of the traffic, so that windows of faults do not depend on how fast
a machine is.
"""

import hashlib
import re
from typing import Final

HEADER: Final = "X-Amzn-Trace-Id"
_ROOT: Final = re.compile(r"(?:^|;)\s*Root=1-([0-9a-f]{8})-([0-9a-f]{24})")


def trace_header(request_id: str, planned: float) -> str:
    """The trace header of the request ``request_id``, planned ``planned`` seconds after the start of the traffic."""
    digest = hashlib.blake2b(request_id.encode(), digest_size=12).hexdigest()
    return f"Root=1-{round(planned * 1000):08x}-{digest}"


def parse_trace(header: str | None) -> tuple[str, float] | None:
    """Trace id (the root, without its parents) and planned seconds of a header; None where there is no such trace."""
    found = _ROOT.search(header.replace("%3B", ";").replace("%3D", "=")) if header else None
    if found is None:
        return None
    return f"1-{found[1]}-{found[2]}", int(found[1], 16) / 1000
