"""What a client of a REST API sees of a Lambda proxy integration.

Source of every test, unless it names another: API Gateway developer guide, "Lambda proxy integrations in API Gateway",
"Output format of a Lambda function for proxy integration".
"""

import base64
import json
from typing import Any

import pytest
from rest_api_deployed import API, Deployed

from testbed.chaos.call import AwsError
from testbed.compute.result import InvokeResult
from testbed.semantics.rest_api import MAX_BODY_BYTES, is_binary, proxy_response

PNG = b"\x89PNG\r\n\x1a\n\x00\xff"
SERVER_ERROR = {"message": "Internal server error"}


def respond(document: Any, **more: Any) -> Any:
    """The response for a function that returned ``document``."""
    return proxy_response(json.dumps(document).encode(), None, None, **more)


def test_a_complete_document_is_passed_on() -> None:
    """Status, headers and body are the function's own."""
    response = respond({"isBase64Encoded": False, "statusCode": 201, "headers": {"X-Order": "7"}, "body": '{"id": 7}'})
    assert (response.status, response.body, response.cause) == (201, b'{"id": 7}', None)
    assert ("X-Order", "7") in response.headers
    assert ("Content-Type", "application/json") in response.headers


@pytest.mark.parametrize("document", [{}, {"headers": {"a": "b"}}, {"statusCode": 200, "headers": None, "body": None}])
def test_no_member_is_mandatory(document: dict[str, Any]) -> None:
    """A document without status and body is a 200 without content (recorded on AWS, response format)."""
    response = respond(document)
    assert (response.status, response.body) == (200, b"")


def test_a_status_in_a_string_is_taken() -> None:
    """AWS converts "201" (recorded on AWS, payload format validation)."""
    assert respond({"statusCode": "201"}).status == 201


@pytest.mark.rule("rest-api.malformed-response")
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(None, id="null"),
        pytest.param("text", id="string"),
        pytest.param([{"statusCode": 200}], id="list"),
        pytest.param({"statusCode": 200, "wrongValue": "value"}, id="unknown member"),
        pytest.param({"errorMessage": "no", "errorType": "Error"}, id="error document without a function error"),
        pytest.param({"statusCode": "test"}, id="status that is no number"),
        pytest.param({"statusCode": {"code": 200}}, id="status that is an object"),
        pytest.param({"statusCode": True}, id="status that is a boolean"),
        pytest.param({"statusCode": 99}, id="status below HTTP's"),
        pytest.param({"statusCode": 101}, id="status that ends no exchange"),
        pytest.param({"statusCode": 600}, id="status above HTTP's"),
        pytest.param({"statusCode": 200, "body": {"id": 7}}, id="body that is an object"),
        pytest.param({"statusCode": 200, "body": 7}, id="body that is a number"),
        pytest.param({"statusCode": 200, "headers": ["a"]}, id="headers that are a list"),
        pytest.param({"statusCode": 200, "headers": {"a": {"b": "c"}}}, id="header that is an object"),
        pytest.param({"statusCode": 200, "headers": {"a b": "c"}}, id="header whose name is none"),
        pytest.param({"statusCode": 200, "headers": {"a": "b\r\nc: d"}}, id="header that would begin another"),
        pytest.param({"statusCode": 200, "multiValueHeaders": {"a": "b"}}, id="multi-value header that is no list"),
        pytest.param({"statusCode": 200, "isBase64Encoded": "true"}, id="flag that is no boolean"),
    ],
)
def test_a_malformed_document_is_a_bad_gateway(document: Any) -> None:
    """502 and nothing of what the function returned ("Malformed Lambda proxy response" in AWS's log)."""
    response = respond(document)
    assert (response.status, json.loads(response.body)) == (502, SERVER_ERROR)
    assert response.cause == "malformed response"
    assert ("x-amzn-ErrorType", "InternalServerErrorException") in response.headers


@pytest.mark.parametrize("payload", [b"", b"not json", b"\xff\xfe", b'{"statusCode": Infinity}', b"[" * 100_000])
def test_what_is_not_json_is_a_bad_gateway(payload: bytes) -> None:
    """502, whatever it is instead."""
    assert proxy_response(payload, None, None).status == 502


def test_scalars_in_headers_become_text() -> None:
    """A boolean is written in lower case (recorded on AWS, payload format validation)."""
    headers = respond({"headers": {"a": True, "b": 5, "c": "d"}}).headers
    assert {("a", "true"), ("b", "5"), ("c", "d")} <= set(headers)


def test_both_kinds_of_headers_are_merged() -> None:
    """One list of both; the same pair in both counts once; the case of a name does not matter."""
    document = {
        "headers": {"x-one": "1", "x-both": "same", "x-more": "single"},
        "multiValueHeaders": {"X-Both": ["same", "other"], "X-More": ["several"], "Set-Cookie": ["a=1", "b=2"]},
    }
    headers = [(name.lower(), value) for name, value in respond(document).headers]
    assert sorted(headers) == sorted(
        [
            ("x-one", "1"), ("x-both", "same"), ("x-both", "other"), ("x-more", "several"), ("x-more", "single"),
            ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("content-type", "application/json"),
        ]
    )  # fmt: skip


def test_the_content_type_of_the_function_is_kept() -> None:
    """The default stands in only where the function names none, in whatever case."""
    headers = respond({"multiValueHeaders": {"content-TYPE": ["text/plain"]}}).headers
    assert [value for name, value in headers if name.lower() == "content-type"] == ["text/plain"]


def test_binary_body_is_decoded_for_a_client_that_takes_it() -> None:
    """Base64 is decoded when the flag is set and the client accepts a binary media type of the API.

    Source: API Gateway developer guide, "Return binary media from a Lambda proxy integration in API Gateway".
    """
    encoded = base64.b64encode(PNG).decode()
    assert respond({"body": encoded, "isBase64Encoded": True}, takes_binary=True).body == PNG
    assert respond({"body": encoded, "isBase64Encoded": True}, takes_binary=False).body == encoded.encode()
    assert respond({"body": encoded, "isBase64Encoded": False}, takes_binary=True).body == encoded.encode()


def test_a_binary_body_that_is_no_base64_is_a_server_error() -> None:
    """500, not 502 (recorded on AWS, binary response)."""
    response = respond({"body": "èé+à)(", "isBase64Encoded": True}, takes_binary=True)
    assert (response.status, json.loads(response.body)) == (500, SERVER_ERROR)


@pytest.mark.parametrize(
    ("accept", "types", "binary"),
    [
        ("image/png", (), False),
        ("image/png", ("image/png",), True),
        ("image/png;q=0.5", ("image/png",), True),
        ("image/jpg", ("image/png",), False),
        ("image/*", ("image/png",), False),
        ("*/*", ("image/png",), False),
        ("random/test", ("*/test",), False),
        ("*/test", ("*/test",), False),
        ("image/webp,image/png,*/*;q=0.8", ("image/png",), False),
        ("image/png,image/*,*/*;q=0.8", ("image/png",), True),
        ("application/whatever", ("application/*",), True),
        ("application/*", ("application/*",), True),
        ("application", ("application/*",), False),
        (None, ("image/png",), False),
        (None, ("*/*",), True),
        ("text/html,image/png", ("*/*",), True),
    ],
)
def test_the_first_media_type_decides_what_is_binary(
    accept: str | None, types: tuple[str, ...], *, binary: bool
) -> None:
    """The cases recorded on AWS by LocalStack's test of binary responses, and ``*/*``.

    Source of ``*/*`` and of the first type: API Gateway developer guide, "Binary media types for REST APIs".
    """
    assert is_binary(accept, types) is binary


async def test_binary_media_types_of_the_api_decide() -> None:
    """The whole way: an API with a binary media type, a client that accepts it."""
    deployed = Deployed()
    deployed.emulator.binary_media_types = ["image/png"]
    deployed.function.returns({"body": base64.b64encode(PNG).decode(), "isBase64Encoded": True})
    assert (await deployed.send("POST", "/orders", headers={"Accept": "image/png"})).body == PNG
    assert (await deployed.send("POST", "/orders", headers={"Accept": "text/html"})).body != PNG


@pytest.mark.rule("rest-api.invoke-rejected", "rest-api.no-retries")
async def test_a_throttled_invoke_is_a_server_error() -> None:
    """Lambda's 429 reaches the client as 500: API Gateway neither retries nor passes it on.

    Source: AWS Lambda developer guide, "Handling Lambda errors with an API Gateway API".
    """
    deployed = Deployed()
    error = AwsError("TooManyRequestsException", 429, "Rate Exceeded.", {"Reason": "CallerRateLimitExceeded"})
    deployed.function.answer = InvokeResult(429, b"", None, error, "throttle")
    reply = await deployed.send("POST", "/orders")
    assert (reply.status, json.loads(reply.body)) == (500, SERVER_ERROR)
    assert len(deployed.function.invokes) == 1
    assert deployed.journal.hops[-1]["cause"] == "throttle"


@pytest.mark.rule("rest-api.invoke-rejected")
async def test_a_function_that_is_gone_is_a_server_error() -> None:
    """Any other refusal of the invoke is a 500 too, with its error code as the cause in the journal."""
    deployed = Deployed()
    deployed.function.answer = InvokeResult(404, b"", None, AwsError("ResourceNotFoundException", 404, "no"), None)
    assert (await deployed.send("POST", "/orders")).status == 500
    assert deployed.journal.hops[-1]["cause"] == "ResourceNotFoundException"


@pytest.mark.rule("rest-api.function-error")
@pytest.mark.parametrize("cause", ["function error", "timeout", "crash", "init error"])
async def test_a_function_error_is_a_bad_gateway(cause: str) -> None:
    """Exception, timeout, crash and failed initialisation of the function: 502.

    Source: AWS Lambda developer guide, "Handling Lambda errors with an API Gateway API".
    """
    deployed = Deployed()
    deployed.function.answer = InvokeResult(200, b'{"errorMessage": "secret"}', "Unhandled", None, cause)
    reply = await deployed.send("POST", "/orders")
    assert (reply.status, json.loads(reply.body)) == (502, SERVER_ERROR)
    assert deployed.journal.hops[-1]["cause"] == cause


@pytest.mark.rule("rest-api.integration-timeout")
async def test_a_function_outlives_the_timeout_of_its_integration() -> None:
    """The client gets a 504, the function goes on and finishes.

    Source: API Gateway developer guide, "Gateway response types", INTEGRATION_TIMEOUT; the timeout is a member of the
    integration (API reference, PutIntegration, timeoutInMillis).
    """
    resources = Deployed().emulator.resources
    resources["/orders"]["POST"]["methodIntegration"]["timeoutInMillis"] = 50
    deployed = Deployed(resources)
    deployed.function.may_answer.clear()
    reply = await deployed.send("POST", "/orders")
    assert (reply.status, json.loads(reply.body)) == (504, {"message": "Endpoint request timed out"})
    assert deployed.journal.hops[-1]["cause"] == "timeout"
    assert deployed.function.finished == 0
    deployed.function.may_answer.set()
    deployed.function.returns({})
    await deployed.send("POST", "/orders")
    assert deployed.function.finished == 2


@pytest.mark.rule("rest-api.own-throttle")
async def test_the_api_s_own_throttle_comes_before_everything() -> None:
    """429 and no invoke, for routes that are not there too.

    Source: API Gateway developer guide, "Gateway response types", THROTTLED.
    """
    deployed = Deployed()
    deployed.throttle()
    for path in ("/orders", "/nothing"):
        reply = await deployed.send("POST", path)
        assert (reply.status, json.loads(reply.body)) == (429, {"message": "Too Many Requests"})
    assert deployed.function.invokes == []
    assert [hop["cause"] for hop in deployed.journal.hops if hop["hop"] == "api"] == ["throttle", "throttle"]
    assert deployed.faults.throttles == 2


async def test_no_route_is_forbidden() -> None:
    """403 for a path, a method and a stage that are not there.

    Source: API Gateway developer guide, "Gateway response types", MISSING_AUTHENTICATION_TOKEN.
    """
    deployed = Deployed({"/orders": {"POST": Deployed().emulator.resources["/orders"]["POST"]}})
    for method, path, stage in (("POST", "/nothing", "live"), ("GET", "/orders", "live"), ("POST", "/orders", "no")):
        reply = await deployed.send(method, path, stage=stage)
        assert (reply.status, json.loads(reply.body)) == (403, {"message": "Missing Authentication Token"})
        assert reply.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"
    assert deployed.function.invokes == []


@pytest.mark.rule("rest-api.payload")
async def test_ten_megabytes_are_the_limit() -> None:
    """413 for one byte more.

    Source: API Gateway developer guide, "Amazon API Gateway quotas" (payload size) and "Gateway response types".
    """
    deployed = Deployed()
    assert (await deployed.send("POST", "/orders", body=b"x" * MAX_BODY_BYTES)).status == 200
    assert (await deployed.send("POST", "/orders", body=b"x" * (MAX_BODY_BYTES + 1))).status == 413
    assert len(deployed.function.invokes) == 1


async def test_the_id_of_the_request_is_told_on_both_sides() -> None:
    """The client finds in ``x-amzn-RequestId`` what the function finds in the request context."""
    deployed = Deployed()
    reply = await deployed.send("POST", "/orders")
    assert reply.headers["x-amzn-RequestId"] == deployed.function.event["requestContext"]["requestId"]
    assert deployed.function.callers == [f"api:{API}"]
