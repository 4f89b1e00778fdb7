"""API Gateway REST APIs: the event of a Lambda proxy integration, and what a client sees of its answer.

Sources: API Gateway developer guide, "Lambda proxy integrations in API Gateway" (input and output format), "Binary
media types for REST APIs in API Gateway", "Handle Lambda errors in API Gateway", "Gateway response types", "Amazon API
Gateway important notes" and "Amazon API Gateway quotas". Where the guide is silent, what AWS was seen to answer: the
recordings on AWS in LocalStack's own test suite (tests/aws/services/apigateway/test_apigateway_lambda).
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

DEFAULT_INTEGRATION_TIMEOUT: Final = 29.0
"""Seconds; the default maximum of an integration ("Amazon API Gateway quotas")."""

MAX_BODY_BYTES: Final = 10 * 2**20
"""Payload of a request ("Amazon API Gateway quotas")."""

METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""The methods that a REST API knows, and that ``ANY`` stands for (API reference, PutMethod)."""

_OUTPUT_MEMBERS: Final = frozenset({"isBase64Encoded", "statusCode", "headers", "multiValueHeaders", "body"})
_DROPPED: Final = frozenset({
    "connection", "content-length", "content-md5", "expect", "max-forwards", "proxy-authenticate", "server", "te",
    "trailer", "transfer-encoding", "upgrade", "www-authenticate",
})  # fmt: skip
_CAPITALIZED: Final = {"authorization": "Authorization", "user-agent": "User-Agent"}
_FORWARDED_FOR: Final = "x-forwarded-for"
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_NO_IDENTITY: Final = {
    "accessKey": None, "accountId": None, "caller": None, "cognitoAuthenticationProvider": None,
    "cognitoAuthenticationType": None, "cognitoIdentityId": None, "cognitoIdentityPoolId": None,
    "principalOrgId": None, "user": None, "userArn": None,
}  # fmt: skip


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


def gateway_response(status: int, message: str, cause: str | None, error_type: str) -> RestResponse:
    """API Gateway's own answer: a JSON object with one member ("Gateway response types", default templates)."""
    headers = (("Content-Type", "application/json"), ("x-amzn-ErrorType", error_type))
    return RestResponse(status, headers, json.dumps({"message": message}).encode(), cause)


def throttled_by_gateway() -> RestResponse:
    """The API's own limit was reached: 429 (response type THROTTLED); the error type header is UNCONFIRMED."""
    return gateway_response(429, "Too Many Requests", "throttle", "TooManyRequestsException")


def quota_exceeded() -> RestResponse:
    """The client has used up the quota of its usage plan: 429 (QUOTA_EXCEEDED); the error type is UNCONFIRMED."""
    return gateway_response(429, "Limit Exceeded", "quota", "LimitExceededException")


def without_valid_key() -> RestResponse:
    """The method requires an API key, and the request has none that is valid here: 403 (INVALID_API_KEY)."""
    return gateway_response(403, "Forbidden", "API key", "ForbiddenException")


def invoke_rejected(cause: str) -> RestResponse:
    """Lambda rejected the invoke (throttle, no such function, service error): 500; API Gateway never retries."""
    return _server_error(500, cause)


def integration_timed_out() -> RestResponse:
    """The function was slower than the integration's timeout: 504; it keeps running."""
    return _server_error(504, "timeout", "Endpoint request timed out")


def integration_failed(cause: str) -> RestResponse:
    """Lambda did not answer: 504 (response type INTEGRATION_FAILURE), and nobody knows what was done.

    The text is UNCONFIRMED.
    """
    return _server_error(504, cause, "Network error communicating with endpoint")


def not_routed() -> RestResponse:
    """No resource or method matches: 403 (response type MISSING_AUTHENTICATION_TOKEN)."""
    return gateway_response(403, "Missing Authentication Token", "no route", "MissingAuthenticationTokenException")


def request_too_large() -> RestResponse:
    """The body is over `MAX_BODY_BYTES`: 413 (response type REQUEST_TOO_LARGE); the text is UNCONFIRMED."""
    return gateway_response(413, "Request Too Long", "request too large", "RequestTooLargeException")


def _server_error(status: int, cause: str, message: str = "Internal server error") -> RestResponse:
    return gateway_response(status, message, cause, "InternalServerErrorException")


class _MalformedError(ValueError):
    """The function did not return what a proxy integration must return."""


def proxy_response(
    payload: bytes, function_error: str | None, cause: str | None, *, takes_binary: bool = False
) -> RestResponse:
    """The answer for a function that ran: its own, or 502 for a function error and for a malformed document.

    Malformed is whatever is not a JSON object, has a member that is none of the five, a ``statusCode`` that is no
    number (one in a string is taken), headers whose values are no scalars, ``multiValueHeaders`` whose values are no
    lists, a ``body`` that is no string. No member is mandatory, and null stands for none. That numbers are taken as
    values of headers, as true and false are, is UNCONFIRMED.

    Args:
        payload: What the function returned.
        function_error: ``X-Amz-Function-Error`` of the invoke.
        cause: Why the function failed, for the journal.
        takes_binary: Whether the client accepts a binary media type of the API, see `is_binary`: only then is a
            base64-encoded body decoded; else it is passed on as the text that it is. One that cannot be decoded: 500.
    """
    if function_error is not None:
        return _server_error(502, cause or "function error")
    try:
        document = _well_formed(json.loads(payload))
        status, headers, body = _status_of(document), list(_headers_of(document)), document.get("body") or ""
    except (ValueError, RecursionError):
        return _server_error(502, "malformed response")
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    if not (takes_binary and document.get("isBase64Encoded")):
        return RestResponse(status, headers, body.encode(errors="replace"))
    try:
        return RestResponse(status, headers, base64.b64decode(body, validate=True))
    except ValueError:
        return _server_error(500, "malformed response")


def _well_formed(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict) or not document.keys() <= _OUTPUT_MEMBERS:
        raise _MalformedError
    for name, kind in (("body", str), ("headers", dict), ("multiValueHeaders", dict), ("isBase64Encoded", bool)):
        if not isinstance(document.get(name), kind | None):
            raise _MalformedError
    return document


def _status_of(document: Mapping[str, Any]) -> int:
    """The status; one below 200 would not end the exchange, so HTTP itself forbids it as an answer."""
    status = document.get("statusCode")
    if status is None:
        return 200
    if isinstance(status, bool) or not isinstance(status, int | float | str):
        raise _MalformedError
    try:
        status = int(status)
    except OverflowError as error:  # JSON as Python reads it knows Infinity
        raise _MalformedError from error
    if not 200 <= status <= 599:  # noqa: PLR2004 - the final statuses of HTTP
        raise _MalformedError
    return status


def _headers_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Both kinds of headers merged into one list; a pair that is in both counts once ("Output format")."""
    several: Mapping[str, Any] = document.get("multiValueHeaders") or {}
    given: dict[str, list[str]] = {}
    for name, values in several.items():
        if not isinstance(values, list):
            raise _MalformedError
        texts = [_header(name, value) for value in values]
        given.setdefault(name.lower(), []).extend(texts)
        yield from ((name, text) for text in texts)
    for name, value in (document.get("headers") or {}).items():
        text = _header(name, value)
        if text not in given.get(name.lower(), ()):
            yield name, text


def _header(name: str, value: Any) -> str:
    """The text of a header's value; what would break the HTTP message is malformed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float) or not _HEADER_NAME.fullmatch(name):
        raise _MalformedError
    text = str(value)
    if "\r" in text or "\n" in text or "\0" in text:
        raise _MalformedError
    return text


def is_binary(media_types: str | None, binary_media_types: Sequence[str]) -> bool:
    """Whether a body of this type is binary to an API.

    Only the first type of a list counts. A subtype may be a wildcard, a type may not, but for ``*/*``, which is
    everything, so that a client need not say what it accepts ("Binary media types for REST APIs in API Gateway").

    Args:
        media_types: ``Accept`` for answers, ``Content-Type`` for requests.
        binary_media_types: Those of the API.
    """
    if not binary_media_types:
        return False
    if "*/*" in binary_media_types:
        return True
    first = (media_types or "").partition(",")[0].partition(";")[0].strip()
    kind, slash, _ = first.partition("/")
    return bool(slash) and kind != "*" and (first in binary_media_types or f"{kind}/*" in binary_media_types)


@dataclass(frozen=True, slots=True)
class ProxyRequest:
    """A client's request, routed: everything that the event of a Lambda proxy integration tells.

    Attributes:
        api_id: Id of the REST API.
        stage: Stage name.
        deployment_id: Id of the deployment that the stage serves.
        account: AWS account of the API.
        method: HTTP method.
        path: Path within the stage, percent-encoded as it came.
        resource_id: Id of the resource.
        resource_path: Template of the resource (``/orders/{id}``).
        path_parameters: Values of the template's labels, percent-encoded as they came.
        query: Names and values in order, decoded.
        headers: Names and values in order.
        stage_variables: Variables of the stage.
        body: Raw body.
        is_binary: Whether its type is a binary media type of the API.
        host: Host and port that the client addressed.
        trace: The trace header of the request.
        request_id: API Gateway's id of the request.
        source_ip: The client's address.
        epoch: When the request came in, in seconds since 1970.
        request_time: The same as API Gateway prints it (CLF).
    """

    api_id: str
    stage: str
    deployment_id: str
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
    is_binary: bool
    host: str
    trace: str
    request_id: str
    source_ip: str
    epoch: float
    request_time: str


def proxy_event(request: ProxyRequest) -> dict[str, Any]:
    """The event, payload format 1.0, that the function gets.

    A binary body comes base64-encoded; in any other, bytes that are no UTF-8 are replaced. Path and path parameters
    stay percent-encoded, the query does not. Where a name repeats, the last value stands for all of them.
    """
    headers = list(_event_headers(request))
    agent = next((value for name, value in headers if name == "User-Agent"), None)
    body = base64.b64encode(request.body).decode() if request.is_binary else request.body.decode(errors="replace")
    domain = request.host.partition(":")[0]
    return {
        "resource": request.resource_path,
        "path": request.path,
        "httpMethod": request.method,
        "headers": dict(headers) or None,
        "multiValueHeaders": _several(headers),
        "queryStringParameters": dict(request.query) or None,
        "multiValueQueryStringParameters": _several(request.query),
        "pathParameters": dict(request.path_parameters) or None,
        "stageVariables": dict(request.stage_variables) or None,
        "requestContext": {
            "accountId": request.account,
            "apiId": request.api_id,
            "deploymentId": request.deployment_id,
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "extendedRequestId": base64.b64encode(request.request_id.encode()[:11]).decode(),
            "httpMethod": request.method,
            "identity": {**_NO_IDENTITY, "sourceIp": request.source_ip, "userAgent": agent},
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
        "isBase64Encoded": request.is_binary and bool(body),
    }


def _event_headers(request: ProxyRequest) -> Iterator[tuple[str, str]]:
    """The client's headers but those of its connection, and where it came from ("important notes")."""
    hops = request.source_ip
    for name, value in request.headers:
        lower = name.lower()
        if lower == _FORWARDED_FOR:
            hops = f"{value}, {request.source_ip}"
        elif lower not in _DROPPED and not lower.startswith(("x-forwarded-p", "x-amzn-trace-id")):
            yield _CAPITALIZED.get(lower, name), value
    yield "X-Amzn-Trace-Id", request.trace
    yield "X-Forwarded-For", hops
    yield "X-Forwarded-Port", request.host.partition(":")[2] or "80"
    yield "X-Forwarded-Proto", "http"


def _several(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]] | None:
    gathered: dict[str, list[str]] = {}
    for name, value in pairs:
        gathered.setdefault(name, []).append(value)
    return gathered or None
