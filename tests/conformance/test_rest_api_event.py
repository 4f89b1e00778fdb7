"""The event that a Lambda proxy integration of a REST API hands to its function, payload format 1.0.

Source of every test, unless it names another: API Gateway developer guide, "Lambda proxy integrations in API Gateway",
"Input format of a Lambda function for proxy integration"; the details are those of events recorded on AWS by
LocalStack's test suite (test_apigateway_lambda, test_lambda_aws_proxy_integration).
"""

import base64
import re
from typing import Any

import pytest
from rest_api_deployed import API, STAGE, Deployed, lambda_proxy

TRACE = "Root=1-00000001-000000000000000000000001"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def event_of(method: str, path: str, **more: Any) -> dict[str, Any]:
    """The event for one request to an API whose every path belongs to a greedy resource."""
    deployed = Deployed({"/": {"ANY": lambda_proxy("root")}, "/{proxy+}": {"ANY": lambda_proxy("rest")}})
    await deployed.send(method, path, **more)
    return deployed.function.event


async def test_event_has_every_member() -> None:
    """Nothing missing, nothing more, null where there is nothing to say."""
    headers = {"User-Agent": "curl/8", "X-Amzn-Trace-Id": TRACE, "tEsT-HEADeR": "aValUE"}
    event = await event_of("POST", "/a/b?q=1&q=2", body=b'{"id": 7}', headers=headers)
    context = event.pop("requestContext")
    expected_headers = {
        "Host": "127.0.0.1:4566",
        "User-Agent": "curl/8",
        "tEsT-HEADeR": "aValUE",
        "X-Amzn-Trace-Id": TRACE,
        "X-Forwarded-For": "10.0.0.7",
        "X-Forwarded-Port": "4566",
        "X-Forwarded-Proto": "http",
    }
    assert event == {
        "resource": "/{proxy+}",
        "path": "/a/b",
        "httpMethod": "POST",
        "headers": expected_headers,
        "multiValueHeaders": {name: [value] for name, value in expected_headers.items()},
        "queryStringParameters": {"q": "2"},
        "multiValueQueryStringParameters": {"q": ["1", "2"]},
        "pathParameters": {"proxy": "a/b"},
        "stageVariables": None,
        "body": '{"id": 7}',
        "isBase64Encoded": False,
    }
    assert UUID.fullmatch(context.pop("requestId"))
    assert base64.b64decode(context.pop("extendedRequestId"))
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", context.pop("requestTime"))
    assert context.pop("requestTimeEpoch") > 1_600_000_000_000
    assert context == {
        "accountId": "000000000000",
        "apiId": API,
        "deploymentId": "d1",
        "domainName": "127.0.0.1",
        "domainPrefix": "127",
        "httpMethod": "POST",
        "identity": {
            "accessKey": None,
            "accountId": None,
            "caller": None,
            "cognitoAuthenticationProvider": None,
            "cognitoAuthenticationType": None,
            "cognitoIdentityId": None,
            "cognitoIdentityPoolId": None,
            "principalOrgId": None,
            "sourceIp": "10.0.0.7",
            "user": None,
            "userAgent": "curl/8",
            "userArn": None,
        },
        "path": f"/{STAGE}/a/b",
        "protocol": "HTTP/1.1",
        "resourceId": "r1",
        "resourcePath": "/{proxy+}",
        "stage": STAGE,
    }


async def test_what_is_absent_is_null() -> None:
    """No body, no query, no path parameters: null, not empty."""
    event = await event_of("GET", "")
    nothing = ("body", "queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables")
    assert {name: event[name] for name in nothing} == dict.fromkeys(nothing)
    assert event["path"] == "/"
    assert event["requestContext"]["path"] == f"/{STAGE}/"


async def test_path_stays_encoded_and_keeps_its_slash_at_the_end() -> None:
    """Path and path parameters as they came; only the parameter loses the slash."""
    event = await event_of("GET", "/user/test%2Balias@gmail.com/plus/test+alias@gmail.com/")
    assert event["path"] == "/user/test%2Balias@gmail.com/plus/test+alias@gmail.com/"
    assert event["pathParameters"] == {"proxy": "user/test%2Balias@gmail.com/plus/test+alias@gmail.com"}
    assert event["requestContext"]["path"] == f"/{STAGE}{event['path']}"


async def test_query_is_decoded() -> None:
    """Plus and %20 are blanks, %2B is a plus, an empty value is one."""
    query = "?email=test%2Balias@gmail.com&plus=test+alias&white=foo%20bar&url=https://a.b/&empty="
    event = await event_of("GET", f"/a{query}")
    assert event["queryStringParameters"] == {
        "email": "test+alias@gmail.com",
        "plus": "test alias",
        "white": "foo bar",
        "url": "https://a.b/",
        "empty": "",
    }


async def test_headers_of_the_connection_are_dropped() -> None:
    """What belongs to the connection is not the function's business; two names are always capitalized.

    Source: API Gateway developer guide, "Amazon API Gateway important notes".
    """
    headers = {"Connection": "keep-alive", "Content-Length": "2", "authorization": "x", "user-agent": "y", "TE": "z"}
    event = await event_of("POST", "/a", body=b"{}", headers=headers)
    for names in (event["headers"], event["multiValueHeaders"]):
        assert not {"connection", "content-length", "te"} & {name.lower() for name in names}
        assert {"Authorization", "User-Agent"} <= names.keys()


async def test_addresses_of_proxies_before_are_kept() -> None:
    """``X-Forwarded-For`` names every hop, and what a client claims about the rest does not count."""
    event = await event_of("GET", "/a", headers={"x-forwarded-for": "192.0.2.1", "X-Forwarded-Proto": "gopher"})
    assert event["multiValueHeaders"]["X-Forwarded-For"] == ["192.0.2.1, 10.0.0.7"]
    assert event["multiValueHeaders"]["X-Forwarded-Proto"] == ["http"]


@pytest.mark.parametrize("headers", [{}, {"X-Amzn-Trace-Id": "Self=1-2"}])
async def test_a_function_always_finds_a_trace(headers: dict[str, str]) -> None:
    """A request without one is given one; a header of the client's is passed on."""
    event = await event_of("GET", "/a", headers=headers)
    assert event["headers"]["X-Amzn-Trace-Id"].startswith(headers.get("X-Amzn-Trace-Id", "Root=1-"))


async def test_body_of_a_binary_media_type_is_base64_encoded() -> None:
    """Text too, where the API says so; without binary media types, bytes that are no text are replaced.

    Source: API Gateway developer guide, "Binary media types for REST APIs in API Gateway".
    """
    deployed = Deployed()
    deployed.emulator.binary_media_types = ["application/octet-stream"]
    for body in (b"\x00\xff", b"text"):
        await deployed.send("POST", "/orders", body=body, headers={"Content-Type": "application/octet-stream"})
        assert deployed.function.event["isBase64Encoded"] is True
        assert base64.b64decode(deployed.function.event["body"]) == body
    await deployed.send("POST", "/orders", body=b"a\xff", headers={"Content-Type": "text/plain"})
    assert deployed.function.event["isBase64Encoded"] is False
    assert deployed.function.event["body"] == "a\N{REPLACEMENT CHARACTER}"


async def test_stage_variables_are_told() -> None:
    """The variables of the stage that was asked."""
    deployed = Deployed()
    deployed.emulator.variables = {"color": "blue"}
    await deployed.send("POST", "/orders")
    assert deployed.function.event["stageVariables"] == {"color": "blue"}
