"""Where a request comes from, and what stays the same about it over all runs with the same seed."""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from testbed.gateway.message import Inbound
from testbed.trace import order_of, parse_trace

CALLER_HEADER: Final = "x-testbed-caller"
_APP_ID: Final = " app/"
_AUTHORITY: Final = re.compile(rb"(https?(?::|%3A)(?:/|%2F){2})[^/\"%&\\]+(?:%3A[0-9]+)?", re.IGNORECASE)
_HANDLES: Final = re.compile(rb'"(ReceiptHandle|ShardIterator)"\s*:\s*"[^"]*"')


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from.

    Attributes:
        trace: Id of its trace; None where it has none.
        at: When it belongs into the run, in seconds after the start of the traffic.
        planned: Whether the trace is that of a planned order, and so the same in every run.
        order: Number of that order in the plan; None where there is none.
        key: Digest of that order's id; empty where there is none.
    """

    trace: str | None
    at: float
    planned: bool
    order: int | None = None
    key: str = ""

    @classmethod
    def of(cls, header: str | None, now: float) -> "Origin":
        """The origin of a request with this trace header, which came ``now``."""
        trace, planned = parse_trace(header) or (None, None)
        if trace is None or planned is None:
            return cls(trace, now, planned=False)
        order, key = order_of(trace)
        return cls(trace, planned, planned=True, order=order, key=key)


def identity_of_content(kind: str, *content: bytes) -> str:
    """The identity of a request that no planned order has caused: what it says."""
    digest = hashlib.blake2b(b"\0".join(content), digest_size=12)
    return f"{kind}:{digest.hexdigest()}"


def stable_body(request: Inbound) -> bytes:
    """The body without what differs from run to run though the request is the same.

    That is the address of the endpoint, which queue URLs carry, and the handles that a service makes up anew each time.
    """
    return _HANDLES.sub(rb'"\1":""', _AUTHORITY.sub(rb"\1", request.body))


def caller_of(request: Inbound) -> str:
    """Who sends an HTTP request: functions say so in the application id that every AWS SDK puts into its user agent."""
    if caller := request.headers.get(CALLER_HEADER):
        return caller
    agent = request.headers.get("User-Agent", "")
    if "exec-env/AWS_Lambda" in agent and _APP_ID in agent:
        return "function:" + agent.partition(_APP_ID)[2].partition(" ")[0]
    return "client"


@lru_cache(maxsize=4096)
def function_name(function: str) -> str:
    """The bare name in a function name, an ARN or a partial ARN, with or without a qualifier."""
    parts = unquote(function).split(":")
    if "function" in parts[:-1]:
        return parts[parts.index("function") + 1]
    return parts[0]
