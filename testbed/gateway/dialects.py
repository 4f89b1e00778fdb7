"""AWS's less usual ways to write a request, turned into those that the rest of the gateway reads.

Faults, limits and metrics look into JSON and forms. SDKs that write CBOR (Kinesis as the SDKs for Java have it, and the
RPC v2 protocol, https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html), compress what they write, or put
a form into a URL (Amazon SQS developer guide, Making Query API requests) are asked for nothing else: their requests are
rewritten here, and the answers to CBOR are rewritten back.
"""

import base64
import gzip
import json
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from botocore.model import OperationModel
from botocore.parsers import create_parser

from testbed.gateway.cbor import decoded, encoded
from testbed.gateway.classify import RPC_V2_PATH, classify, json_service, service_model
from testbed.gateway.limits.wire import document_of, with_answer_body, with_body
from testbed.gateway.message import Inbound, Reply

Back = Callable[[Reply], Awaitable[Reply]]
"""Writes an answer as the caller has asked."""

_FORM: Final = "application/x-www-form-urlencoded"
_KINESIS_CBOR: Final = "application/x-amz-cbor-1.1"
_RPC_V2: Final = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
_ERRORS: Final = 300


def plain(request: Inbound) -> tuple[Inbound, Back]:
    """``request`` in JSON or as a form that is posted, and what brings the answer to it back; others as they are."""
    headers = request.headers
    target, content_type = headers.get("X-Amz-Target"), headers.get("Content-Type", "")
    if headers.get("Content-Encoding") == "gzip" and (target or RPC_V2_PATH.fullmatch(request.path)):
        request = _unpacked(request)
    if target:
        if content_type == _KINESIS_CBOR:
            return _in_json(request, target, {"Content-Type": _KINESIS_CBOR}, milliseconds=True)
        return request, _as_it_is
    if found := RPC_V2_PATH.fullmatch(request.path):
        return _in_json(request, f"{found[1]}.{found[2]}", _RPC_V2, milliseconds=False)
    if "Action=" in request.target.partition("?")[2]:
        return _posted(request), _as_it_is
    return request, _as_it_is


async def _as_it_is(reply: Reply) -> Reply:
    return reply


def _unpacked(request: Inbound) -> Inbound:
    try:
        unpacked = with_body(request, gzip.decompress(request.body))
    except (OSError, EOFError, zlib.error):
        return request
    unpacked.headers.popall("Content-Encoding")
    return unpacked


def _posted(request: Inbound) -> Inbound:
    """A form, and not a URL with one: of the services that read forms only, which leave another body alone."""
    path, _, query = request.target.partition("?")
    form = parse_qsl(query, keep_blank_values=True)
    if request.stream is not None:
        return request
    if request.headers.get("Content-Type", "").startswith(_FORM):
        form += parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    signed = [(name, value) for name, value in form if name.startswith("X-Amz-")]
    body = urlencode([field for field in form if field not in signed]).encode()
    posted = replace(with_body(request, body), method="POST", target=path)
    posted.headers["Content-Type"] = f"{_FORM}; charset=utf-8"
    if (scope := dict(signed).get("X-Amz-Credential")) and "Authorization" not in posted.headers:
        posted.headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
    return posted if classify(posted) else request


def _in_json(
    request: Inbound, target: str, answer_headers: dict[str, str], *, milliseconds: bool
) -> tuple[Inbound, Back]:
    operation = _operation(target)
    if operation is None:
        return request, _as_it_is
    try:
        document = decoded(request.body, milliseconds=milliseconds) if request.body else {}
        body = json.dumps(document, default=_base64).encode()
    except (ValueError, TypeError):
        return request, _as_it_is  # the emulator says better what is wrong with it
    version = operation.service_model.metadata["jsonVersion"]
    written = replace(with_body(request, body), target="/")
    for name in ("Accept", *_RPC_V2):
        written.headers.popall(name, None)
    written.headers.update({"Content-Type": f"application/x-amz-json-{version}", "X-Amz-Target": target})

    async def back(reply: Reply) -> Reply:
        if reply.status:
            answer = _answer(operation, reply, await reply.whole())
            with_answer_body(reply, encoded(answer, milliseconds=milliseconds))
            reply.headers.update(answer_headers)
        return reply

    return written, back


def _operation(target: str) -> OperationModel | None:
    """The operation, of a service that takes JSON; None for one whose answer is a stream of events."""
    prefix, _, name = target.rpartition(".")
    service = json_service(prefix)
    if service is None or name not in service_model(service).operation_names:
        return None
    operation = service_model(service).operation_model(name)
    return None if operation.has_event_stream_output else operation


def _answer(operation: OperationModel, reply: Reply, body: bytes) -> Any:
    if reply.status >= _ERRORS or operation.output_shape is None:
        return document_of(body)
    wire = {"status_code": reply.status, "headers": reply.headers, "body": body}
    answer: dict[str, Any] = create_parser("json").parse(wire, operation.output_shape)
    del answer["ResponseMetadata"]
    return answer


def _base64(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} has no place in JSON")
