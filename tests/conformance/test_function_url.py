"""The event of a function URL, and what its client sees of the answer.

Source: AWS Lambda developer guide, "Invoking Lambda function URLs", "Creating and managing Lambda function URLs". What
was seen on AWS is in LocalStack's test suite (tests/aws/services/lambda_/test_lambda.py, TestLambdaURL).
"""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from testbed.semantics.function_url import Cors, UrlRequest, url_event, url_response

REQUEST = UrlRequest(
    url_id="abc",
    account="111122223333",
    auth_type="NONE",
    method="POST",
    path="/my/path%20x",
    query="a=1&a=2&b=%C3%A4&c",
    headers=[
        ("Host", "abc.lambda-url.us-east-1.on.aws:8080"),
        ("Header1", "value1"),
        ("Header2", "value1"),
        ("header2", "value2"),
        ("User-Agent", "agent"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Cookie", "cookie1=x; cookie2=y"),
        ("Connection", "keep-alive"),
    ],
    body="Grüße".encode(),
    host="abc.lambda-url.us-east-1.on.aws:8080",
    trace="Root=1-65000000-000000000000000000000001",
    request_id="id",
    source_ip="10.0.0.7",
    epoch=1583348638.39,
)


def with_body(body: bytes, content_type: str | None) -> UrlRequest:
    """A request with this body."""
    return replace(REQUEST, body=body, headers=[("Content-Type", content_type)] if content_type else [])


@pytest.mark.rule("url.event")
def test_the_event_has_payload_format_two() -> None:
    """Member by member; headers in lower case and joined, cookies apart, the query decoded and raw."""
    assert url_event(REQUEST) == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/my/path%20x",
        "rawQueryString": "a=1&a=2&b=%C3%A4&c",
        "cookies": ["cookie1=x", "cookie2=y"],
        "headers": {
            "host": "abc.lambda-url.us-east-1.on.aws:8080",
            "header1": "value1",
            "header2": "value1,value2",
            "user-agent": "agent",
            "content-type": "text/plain; charset=utf-8",
            "x-amzn-trace-id": "Root=1-65000000-000000000000000000000001",
            "x-forwarded-for": "10.0.0.7",
            "x-forwarded-port": "8080",
            "x-forwarded-proto": "http",
        },
        "queryStringParameters": {"a": "1,2", "b": "ä", "c": ""},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abc",
            "domainName": "abc.lambda-url.us-east-1.on.aws",
            "domainPrefix": "abc",
            "http": {
                "method": "POST",
                "path": "/my/path%20x",
                "protocol": "HTTP/1.1",
                "sourceIp": "10.0.0.7",
                "userAgent": "agent",
            },
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
            "time": "04/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1583348638390,
        },
        "body": "Grüße",
        "isBase64Encoded": False,
    }


@pytest.mark.rule("url.event")
def test_what_is_empty_is_left_out() -> None:
    """No body, no cookies and no parameters: the members are not there, as in events seen on AWS."""
    event = url_event(replace(REQUEST, query="", headers=[], body=b""))
    assert not {"body", "cookies", "queryStringParameters", "pathParameters", "stageVariables"} & event.keys()
    assert (event["rawQueryString"], event["isBase64Encoded"]) == ("", False)
    assert event["requestContext"]["http"]["userAgent"] == ""


@pytest.mark.rule("url.event")
@pytest.mark.parametrize(
    ("body", "content_type", "is_base64"),
    [
        (b"{}", "application/json", False),
        (b"<a/>", "application/atom+xml", False),
        (b"a=1", "application/x-www-form-urlencoded", True),
        (b"{}", None, True),
        (b"\x00\xff", "image/png", True),
        (b"\xff", "text/plain", True),
    ],
)
def test_a_binary_body_is_base64_encoded(body: bytes, content_type: str | None, *, is_base64: bool) -> None:
    """By its type; a form is no text."""
    event = url_event(with_body(body, content_type))
    assert event["isBase64Encoded"] is is_base64
    assert (base64.b64decode(event["body"]) if is_base64 else event["body"].encode()) == body


@pytest.mark.rule("url.auth")
def test_a_signed_request_tells_its_caller() -> None:
    """AWS_IAM: the access key that the signature names; nothing is checked, and the caller is the root user."""
    scope = "AWS4-HMAC-SHA256 Credential=AKIA1/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0"
    context = url_event(replace(REQUEST, auth_type="AWS_IAM", headers=[("Authorization", scope)]))["requestContext"]
    assert context["accountId"] == "111122223333"
    assert context["authorizer"]["iam"]["accessKey"] == "AKIA1"
    assert context["authorizer"]["iam"]["userArn"] == "arn:aws:iam::111122223333:root"
    unsigned = url_event(replace(REQUEST, auth_type="AWS_IAM"))["requestContext"]
    assert unsigned["authorizer"]["iam"]["accessKey"] is None


@pytest.mark.rule("url.response")
@pytest.mark.parametrize(
    "payload",
    [
        b'"Hello, world!"',
        b'{"message": "Hello, world!"}',
        b"[1, true]",
        b"3.1",
        b"null",
        b'{"body": "x", "headers": {}}',
    ],
)
def test_what_has_no_status_is_the_body(payload: bytes) -> None:
    """200, application/json, byte for byte; a string keeps its quotes (the guide's example is 15 bytes long)."""
    response = url_response(payload, None, None)
    assert (response.status, response.body) == (200, payload)
    assert response.headers == (("Content-Type", "application/json"),)


@pytest.mark.rule("url.response")
def test_an_object_with_a_status_is_a_response() -> None:
    """Status, headers, cookies and body are the function's."""
    document = {
        "statusCode": 201,
        "headers": {"content-type": "text/html", "My-Custom-Header": "Custom Value", "X-Number": 3},
        "body": "<p>",
        "cookies": ["a=1; Max-Age=7", "b=2"],
    }
    response = url_response(json.dumps(document).encode(), None, None)
    assert (response.status, response.body, response.cause) == (201, b"<p>", None)
    assert list(response.headers) == [
        ("content-type", "text/html"), ("My-Custom-Header", "Custom Value"), ("X-Number", "3"),
        ("Set-Cookie", "a=1; Max-Age=7"), ("Set-Cookie", "b=2"),
    ]  # fmt: skip


@pytest.mark.rule("url.response")
@pytest.mark.parametrize(
    ("document", "status", "body"),
    [
        ({"statusCode": "418", "body": "i'm a teapot"}, 418, b"i'm a teapot"),
        ({"statusCode": 200}, 200, b""),
        ({"statusCode": 200, "body": {"a": 1}}, 200, b'{"a": 1}'),
        ({"statusCode": 200, "body": "aGk=", "isBase64Encoded": True}, 200, b"hi"),
        ({"statusCode": 200, "body": "aGk=", "isBase64Encoded": False}, 200, b"aGk="),
    ],
)
def test_members_of_a_response_may_be_missing_or_of_another_type(
    document: dict[str, Any], status: int, body: bytes
) -> None:
    """The status in a string was seen on AWS; a missing content type is JSON's."""
    response = url_response(json.dumps(document).encode(), None, None)
    assert (response.status, response.body) == (status, body)
    assert ("Content-Type", "application/json") in response.headers


@pytest.mark.parametrize(
    "document",
    [
        {"statusCode": "abc"}, {"statusCode": 99}, {"statusCode": 600}, {"statusCode": True}, {"statusCode": None},
        {"statusCode": 200, "headers": ["a"]}, {"statusCode": 200, "cookies": "a"},
        {"statusCode": 200, "headers": {"a": "b\r\nc"}}, {"statusCode": 200, "body": "!", "isBase64Encoded": True},
    ],
)  # fmt: skip
def test_a_response_that_http_does_not_allow_is_a_bad_gateway(document: dict[str, Any]) -> None:
    """UNCONFIRMED by AWS, but for the range of statuses, which the guide gives as 100 to 599."""
    response = url_response(json.dumps(document).encode(), None, None)
    assert (response.status, response.body, response.cause) == (502, b"Internal Server Error", "malformed response")


@pytest.mark.rule("url.function-error")
@pytest.mark.parametrize("cause", ["function error", "timeout", "crash", "init error"])
def test_a_function_error_is_a_bad_gateway(cause: str) -> None:
    """502 with a bare text, as seen on AWS; what the function said stays inside."""
    response = url_response(b'{"errorMessage": "secret"}', "Unhandled", cause)
    assert (response.status, response.body, response.cause) == (502, b"Internal Server Error", cause)


@pytest.mark.rule("url.cors")
def test_an_allowed_origin_gets_the_headers_that_are_configured() -> None:
    """Those of a preflight say more than those of other answers; another origin gets none."""
    cors = Cors(
        allow_origins=["https://shop.example"], allow_methods=["GET", "POST"], allow_headers=["Date"],
        expose_headers=["X-Id"], allow_credentials=True, max_age=300,
    )  # fmt: skip
    plain = {
        "Access-Control-Allow-Origin": "https://shop.example",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "X-Id",
    }
    more = {
        "Access-Control-Allow-Methods": "GET,POST",
        "Access-Control-Allow-Headers": "Date",
        "Access-Control-Max-Age": "300",
    }
    assert dict(cors.headers("https://shop.example", preflight=False)) == plain
    assert dict(cors.headers("https://shop.example", preflight=True)) == plain | more
    assert dict(cors.headers("https://other.example", preflight=True)) == {}
    assert dict(cors.headers(None, preflight=False)) == {}


@pytest.mark.rule("url.cors")
def test_a_star_allows_every_origin() -> None:
    """The header says ``*``."""
    assert dict(Cors(allow_origins=["*"]).headers("https://any", preflight=True)) == {
        "Access-Control-Allow-Origin": "*"
    }
