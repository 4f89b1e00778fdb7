"""Lambda function URLs: the event that the function gets, and what a client sees of its answer.

Sources: AWS Lambda developer guide, "Invoking Lambda function URLs" (payload format 2.0, response inference, cookies),
"Creating and managing Lambda function URLs" (CORS, throttling). Where the guide is silent, what AWS
was seen to answer: LocalStack's tests that ran on AWS (TestLambdaURL: text of the 502, a status in a string), and
events that users of AWS have published. What rests on neither is marked UNCONFIRMED.
"""

import base64
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from testbed.semantics.rest_api import RestResponse

_TEXT: Final = frozenset({"application/json", "application/javascript", "application/xml"})
_HOP_BY_HOP: Final = frozenset({"connection", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
_ANY: Final = "*"


@dataclass(frozen=True, slots=True)
class UrlRequest:
    """A client's request to a function URL.

    Attributes:
        url_id: Id of the URL.
        account: Account of the function.
        auth_type: ``"NONE"`` or ``"AWS_IAM"``.
        method: HTTP method.
        path: Path, percent-encoded as it came.
        query: Query, percent-encoded as it came.
        headers: Names and values in order.
        body: Raw body.
        host: Host and port that the client addressed.
        trace: The trace header of the request.
        request_id: Id of the request.
        source_ip: The client's address.
        epoch: When the request came in, in seconds since 1970.
    """

    url_id: str
    account: str
    auth_type: str
    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    host: str
    trace: str
    request_id: str
    source_ip: str
    epoch: float


def url_event(request: UrlRequest) -> dict[str, Any]:
    """The event, payload format 2.0.

    What is empty is left out, not null. A body is base64-encoded unless its type is text, JSON, XML or JavaScript (so
    forms are), or where it is no UTF-8. Which types AWS takes for text is UNCONFIRMED.
    """
    headers, cookies = _event_headers(request)
    domain = request.host.partition(":")[0]
    event: dict[str, Any] = {"version": "2.0", "routeKey": "$default", "rawPath": request.path}
    event["rawQueryString"] = request.query
    if cookies:
        event["cookies"] = cookies
    event["headers"] = headers
    if query := _joined(parse_qsl(request.query, keep_blank_values=True)):
        event["queryStringParameters"] = query
    event["requestContext"] = {
        "accountId": "anonymous" if request.auth_type == "NONE" else request.account,
        "apiId": request.url_id,
        **({} if request.auth_type == "NONE" else {"authorizer": {"iam": _caller(request.account, headers)}}),
        "domainName": domain,
        "domainPrefix": request.url_id,
        "http": {
            "method": request.method,
            "path": request.path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.source_ip,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": request.request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(request.epoch)),
        "timeEpoch": int(request.epoch * 1000),
    }
    body, is_base64 = _event_body(request.body, headers.get("content-type", ""))
    if body:
        event["body"] = body
    event["isBase64Encoded"] = is_base64
    return event


def _event_headers(request: UrlRequest) -> tuple[dict[str, str], list[str]]:
    """Names in lower case, values of one name joined; cookies by themselves."""
    pairs = [(name.lower(), value) for name, value in request.headers if name.lower() not in _HOP_BY_HOP]
    cookies = [each for name, value in pairs if name == "cookie" for each in value.split("; ")]
    headers = _joined([pair for pair in pairs if pair[0] != "cookie"])
    headers.setdefault("x-forwarded-for", request.source_ip)
    headers |= {
        "x-amzn-trace-id": request.trace,
        "x-forwarded-port": request.host.partition(":")[2] or "80",
        "x-forwarded-proto": "http",
    }
    return headers, cookies


def _joined(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _caller(account: str, headers: Mapping[str, str]) -> dict[str, str | None]:
    """Who signed the request. IAM is not checked: it is the root user of the account, by the access key it names."""
    key = headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
    arn = f"arn:aws:iam::{account}:root"
    who = {"accessKey": key or None, "accountId": account, "callerId": account, "cognitoIdentity": None}
    return {**who, "principalOrgId": None, "userArn": arn, "userId": account}


def _event_body(body: bytes, content_type: str) -> tuple[str, bool]:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in _TEXT or media_type.startswith("text/") or media_type.endswith(("+json", "+xml")):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass  # not what its type says
    return base64.b64encode(body).decode(), bool(body)


class _MalformedError(ValueError):
    """The function returned a response that is none."""


def url_response(payload: bytes, function_error: str | None, cause: str | None) -> RestResponse:
    """The answer for a function that ran.

    A JSON object with a ``statusCode`` is a response; whatever else the function returned is the body of a 200. A
    ``body`` that is no string is written as JSON. UNCONFIRMED: a response that HTTP does not allow is a 502.

    Args:
        payload: What the function returned.
        function_error: ``X-Amz-Function-Error`` of the invoke.
        cause: Why the function failed, for the journal.
    """
    if function_error is not None:
        return _bad_gateway(cause or "function error")
    try:
        document = json.loads(payload)
        if not isinstance(document, dict) or "statusCode" not in document:
            return RestResponse(200, (("Content-Type", "application/json"),), payload)
        return RestResponse(_status(document["statusCode"]), tuple(_headers(document)), _body(document))
    except (ValueError, OverflowError, RecursionError):
        return _bad_gateway("malformed response")


def _bad_gateway(cause: str) -> RestResponse:
    return RestResponse(502, (("Content-Type", "application/json"),), b"Internal Server Error", cause)


def _status(status: Any) -> int:
    if isinstance(status, bool) or not isinstance(status, int | float | str):
        raise _MalformedError
    if not 200 <= int(status) <= 599:  # noqa: PLR2004 - AWS takes 100 on, but such a status does not end an exchange
        raise _MalformedError
    return int(status)


def _headers(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    given, cookies = document.get("headers") or {}, document.get("cookies") or []
    if not isinstance(given, dict) or not isinstance(cookies, list):
        raise _MalformedError
    if not any(name.lower() == "content-type" for name in given):
        yield "Content-Type", "application/json"
    for name, value in (*given.items(), *(("Set-Cookie", cookie) for cookie in cookies)):
        text = value if isinstance(value, str) else json.dumps(value)
        if not name or any(character in name + text for character in "\r\n\0"):
            raise _MalformedError
        yield name, text


def _body(document: Mapping[str, Any]) -> bytes:
    body = document.get("body")
    text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
    return base64.b64decode(text, validate=True) if document.get("isBase64Encoded") else text.encode(errors="replace")


def url_refused(status: int, error_type: str, document: Mapping[str, Any], cause: str | None) -> RestResponse:
    """An answer of Lambda itself: a throttle, a payload that is too large, a URL that is not there."""
    headers = (("Content-Type", "application/json"), ("x-amzn-ErrorType", error_type))
    return RestResponse(status, headers, json.dumps(document).encode(), cause)


@dataclass(frozen=True, slots=True)
class Cors:
    """CORS settings of a function URL (API reference, Cors); lists may hold ``"*"``."""

    allow_origins: Sequence[str] = ()
    allow_methods: Sequence[str] = ()
    allow_headers: Sequence[str] = ()
    expose_headers: Sequence[str] = ()
    allow_credentials: bool = False
    max_age: int | None = None

    def is_preflight(self, method: str, headers: Mapping[str, str]) -> bool:
        """Whether Lambda answers the request itself: the function does not see it."""
        return method == "OPTIONS" and "Origin" in headers and "Access-Control-Request-Method" in headers

    def headers(self, origin: str | None, *, preflight: bool) -> Iterator[tuple[str, str]]:
        """What is added to an answer to a request from ``origin``; nothing where that origin is not allowed."""
        if origin is None or not {_ANY, origin} & set(self.allow_origins):
            return
        yield "Access-Control-Allow-Origin", _ANY if _ANY in self.allow_origins else origin
        if self.allow_credentials:
            yield "Access-Control-Allow-Credentials", "true"
        if self.expose_headers:
            yield "Access-Control-Expose-Headers", ",".join(self.expose_headers)
        if not preflight:
            return
        if self.allow_methods:
            yield "Access-Control-Allow-Methods", ",".join(self.allow_methods)
        if self.allow_headers:
            yield "Access-Control-Allow-Headers", ",".join(self.allow_headers)
        if self.max_age is not None:
            yield "Access-Control-Max-Age", str(self.max_age)
