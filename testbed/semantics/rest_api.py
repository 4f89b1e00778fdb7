"""API Gateway REST APIs: the event of a Lambda proxy integration, and what a client sees of its answer.

Sources: API Gateway developer guide, "Lambda proxy integrations in API Gateway" (input and output format), "Handle
Lambda errors in API Gateway", "Gateway response types" and "Amazon API Gateway quotas".
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

DEFAULT_INTEGRATION_TIMEOUT: Final = 29.0
"""Seconds; the default maximum of an integration ("Amazon API Gateway quotas")."""


@dataclass(frozen=True, slots=True)
class RestResponse:
    """What the client of a REST API gets.

    Attributes:
        status: HTTP status.
        headers: Names and values in order; a name may repeat.
        body: The body, decoded.
        cause: Why it is an error that API Gateway made; None where the function itself answered.
    """

    status: int
    headers: Sequence[tuple[str, str]] = field(default_factory=tuple)
    body: bytes = b""
    cause: str | None = None


def gateway_response(status: int, message: str, cause: str | None) -> RestResponse:
    """API Gateway's own answer: a JSON object with one member ("Gateway response types", default templates)."""
    return RestResponse(
        status, (("Content-Type", "application/json"),), json.dumps({"message": message}).encode(), cause
    )


def throttled_by_gateway() -> RestResponse:
    """The API's own limit was reached: 429 (response type THROTTLED)."""
    return gateway_response(429, "Too Many Requests", "throttle")


def invoke_rejected(cause: str) -> RestResponse:
    """Lambda rejected the invoke (throttle, no such function, service error): 500; API Gateway never retries."""
    return gateway_response(500, "Internal server error", cause)


def integration_timed_out() -> RestResponse:
    """The function was slower than the integration's timeout: 504; it keeps running."""
    return gateway_response(504, "Endpoint request timed out", "timeout")


def not_routed() -> RestResponse:
    """No resource or method matches: 403 (response type MISSING_AUTHENTICATION_TOKEN)."""
    return gateway_response(403, "Missing Authentication Token", "no route")


def proxy_response(payload: bytes, function_error: str | None, cause: str | None) -> RestResponse:
    """The answer for a function that ran: its own, or 502 for a function error and for a malformed document.

    Args:
        payload: What the function returned.
        function_error: ``X-Amz-Function-Error`` of the invoke.
        cause: Why the function failed, for the journal.
    """
    if function_error is not None:
        return gateway_response(502, "Internal server error", cause or "function error")
    try:
        return _well_formed(json.loads(payload))
    except (ValueError, TypeError, binascii.Error):
        return gateway_response(502, "Internal server error", "malformed response")


def _well_formed(document: Any) -> RestResponse:
    if not isinstance(document, dict) or not set(document) <= _OUTPUT_MEMBERS:
        raise ValueError(document)
    status = int(document.get("statusCode", 200))
    if not 100 <= status <= 599:  # noqa: PLR2004 - what HTTP knows
        raise ValueError(status)
    single: Mapping[str, Any] = document.get("headers") or {}
    several: Mapping[str, Any] = document.get("multiValueHeaders") or {}
    if not isinstance(single, dict) or not isinstance(several, dict):
        raise TypeError(document)
    headers = [(name, str(value)) for name, value in single.items() if name not in several]
    headers += [(name, str(value)) for name, values in several.items() for value in values]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    body = document.get("body") or ""
    if not isinstance(body, str):
        raise TypeError(body)
    raw = base64.b64decode(body, validate=True) if document.get("isBase64Encoded") else body.encode()
    return RestResponse(status, tuple(headers), raw)


_OUTPUT_MEMBERS: Final = {"isBase64Encoded", "statusCode", "headers", "multiValueHeaders", "body"}


@dataclass(frozen=True, slots=True)
class ProxyRequest:
    """A client's request, routed: everything that the event of a Lambda proxy integration tells.

    Attributes:
        api_id: Id of the REST API.
        stage: Stage name.
        account: AWS account of the API.
        method: HTTP method.
        path: Path within the stage, decoded.
        resource_id: Id of the resource.
        resource_path: Template of the resource (``/orders/{id}``).
        path_parameters: Values of the template's labels.
        query: Names and values in order.
        headers: Names and values in order.
        stage_variables: Variables of the stage.
        body: Raw body.
        request_id: API Gateway's id of the request.
        source_ip: The client's address.
        epoch: When the request came in, in seconds since 1970.
        request_time: The same as API Gateway prints it (CLF).
    """

    api_id: str
    stage: str
    account: str
    method: str
    path: str
    resource_id: str
    resource_path: str
    path_parameters: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    headers: Sequence[tuple[str, str]]
    stage_variables: Mapping[str, str]
    body: bytes
    request_id: str
    source_ip: str
    epoch: float
    request_time: str


def proxy_event(request: ProxyRequest) -> dict[str, Any]:
    """The event, payload format 1.0, that the function gets. A body that is no UTF-8 comes base64-encoded."""
    try:
        body, encoded = request.body.decode(), False
    except UnicodeDecodeError:
        body, encoded = base64.b64encode(request.body).decode(), True
    agent = next((value for name, value in request.headers if name.lower() == "user-agent"), None)
    return {
        "resource": request.resource_path,
        "path": request.path,
        "httpMethod": request.method,
        "headers": dict(request.headers) or None,
        "multiValueHeaders": _several(request.headers),
        "queryStringParameters": dict(request.query) or None,
        "multiValueQueryStringParameters": _several(request.query),
        "pathParameters": dict(request.path_parameters) or None,
        "stageVariables": dict(request.stage_variables) or None,
        "requestContext": {
            "accountId": request.account,
            "apiId": request.api_id,
            "httpMethod": request.method,
            "identity": {"sourceIp": request.source_ip, "userAgent": agent},
            "path": f"/{request.stage}{request.path}",
            "protocol": "HTTP/1.1",
            "requestId": request.request_id,
            "requestTime": request.request_time,
            "requestTimeEpoch": int(request.epoch * 1000),
            "resourceId": request.resource_id,
            "resourcePath": request.resource_path,
            "stage": request.stage,
        },
        "body": body or None,
        "isBase64Encoded": encoded,
    }


def _several(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]] | None:
    gathered: dict[str, list[str]] = {}
    for name, value in pairs:
        gathered.setdefault(name, []).append(value)
    return gathered or None
