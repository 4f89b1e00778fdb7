"""Reading and rewriting requests and answers on their way through the gateway, those in JSON above all."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from multidict import CIMultiDict

from testbed.gateway.classify import Target
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.wire import REQUEST_ID_HEADER

LIMIT: Final = "limit"
"""The journal's cause of calls that a service's own limit has refused, in whole or in part; no fault did."""

Forward = Callable[[Inbound, Target], Awaitable[Reply]]
"""Sends a request on to the emulator."""

_OF_THE_BODY: Final = ("Content-Length", "Content-MD5", "x-amz-crc32", "x-amz-content-sha256")
_FIRST_ERROR: Final = 400


def document_of(body: bytes) -> dict[str, Any]:
    """A JSON object; an empty one where ``body`` is something else, such as CBOR."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


async def answer_of(reply: Reply) -> dict[str, Any] | None:
    """The document of an answer; None where it is an error."""
    return document_of(await reply.whole()) if reply.status < _FIRST_ERROR else None


def rewritten(request: Inbound, document: Mapping[str, Any]) -> Inbound:
    """The same request with another document."""
    return with_body(request, json.dumps(document).encode())


def with_body(request: Inbound, body: bytes) -> Inbound:
    """The same request with another body."""
    return replace(request, headers=_without_body(request.headers), body=body)


def with_answer(reply: Reply, document: Mapping[str, Any]) -> None:
    """Put another document into ``reply``."""
    with_answer_body(reply, json.dumps(document).encode())


def with_answer_body(reply: Reply, body: bytes) -> None:
    """Put another body into ``reply``, of which the whole has been read."""
    reply.headers = _without_body(reply.headers)
    reply.body = body


def put_in_places(answer: dict[str, Any], member: str, count: str, failed: Sequence[Mapping[str, Any] | None]) -> None:
    """Put results of entries that were held back into an answer that knows the others only.

    Args:
        answer: With its results in ``member``, and the number of those that failed in ``count``.
        member: Name of its list of results, which are in the order of the request.
        count: Name of its number.
        failed: For each entry of the request its result, None where it was not held back.
    """
    others = iter(answer.get(member, ()))
    answer[member] = [result or next(others) for result in failed]
    answer[count] = answer.get(count, 0) + sum(map(bool, failed))


def put_back(answer: dict[str, Any], left: Mapping[str, Sequence[Any]]) -> None:
    """Name what was held back of a BatchWriteItem, by table, as unprocessed."""
    unprocessed = answer.setdefault("UnprocessedItems", {})
    for table, requests in left.items():
        unprocessed[table] = [*unprocessed.get(table, ()), *requests]


def own_answer(request_id: str, content_type: str, document: Mapping[str, Any]) -> Reply:
    """An answer that the emulator has no part in: all of the request was refused, and this is how AWS says so."""
    headers = CIMultiDict({REQUEST_ID_HEADER: request_id, "Content-Type": content_type})
    return Reply(200, headers, json.dumps(document).encode(), cause=LIMIT)


def _without_body(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    kept = headers.copy()
    for name in _OF_THE_BODY:
        kept.popall(name, None)
    return kept
