"""Requests to function URLs on the gateway: found by host or by path, run by the compute plane, journalled."""

import io
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from gateway_world import ORDER_TRACE, World

from testbed.chaos.call import AwsError
from testbed.chaos.faults.throttle import Throttle
from testbed.compute.refusals import request_too_large
from testbed.compute.result import InvokeResult

ARN = "arn:aws:lambda:us-east-1:000000000000:function:orders"
CORS = {"AllowOrigins": ["*"], "AllowMethods": ["POST"]}


class Configured:
    """Two functions, one with a URL for itself and one for an alias, as LocalStack lists them page by page."""

    def __init__(self, world: World) -> None:
        self.reads: list[str] = []
        self.status = 200
        self.urls: list[dict[str, Any]] = [
            {"FunctionUrl": f"http://{world.host}/_aws/lambda-url/abc/", "FunctionArn": ARN, "AuthType": "NONE"},
            {
                "FunctionUrl": "http://def.lambda-url.us-east-1.localhost:1/",
                "FunctionArn": f"{ARN}:live",
                "AuthType": "AWS_IAM",
                "Cors": CORS,
            },
        ]
        world.emulator.respond = self.respond

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer ListFunctions and ListFunctionUrlConfigs."""
        self.reads.append(request.path)
        if request.path.endswith("/functions") or request.path.endswith("/functions/"):
            return web.json_response({"Functions": [{"FunctionName": "orders"}]}, status=self.status)
        page = int(request.query.get("Marker", "0"))
        more = {"NextMarker": str(page + 1)} if page + 1 < len(self.urls) else {}
        return web.json_response({"FunctionUrlConfigs": self.urls[page : page + 1], **more}, status=self.status)


@pytest.fixture
def configured(world: World) -> Configured:
    """What is configured."""
    return Configured(world)


async def send(
    world: World, path: str, *, method: str = "POST", body: bytes = b"{}", headers: Mapping[str, str] | None = None
) -> tuple[int, bytes, Mapping[str, str]]:
    """What a client gets."""
    sent = {"Content-Type": "application/json", "X-Amzn-Trace-Id": ORDER_TRACE, **(headers or {})}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{world.host}{path}", data=io.BytesIO(body), headers=sent) as answer,
    ):
        return answer.status, await answer.read(), answer.headers


@pytest.mark.rule("url.address")
async def test_a_url_is_a_path_on_the_gateway(world: World, configured: Configured) -> None:
    """What follows its id is the path that the function sees; what is configured is read once."""
    status, body, headers = await send(world, "/_aws/lambda-url/abc/orders/7?x=1")
    assert (status, body) == (200, b'{"ok": true}')
    assert headers["X-Amzn-Trace-Id"] == ORDER_TRACE
    invoke = world.functions.invokes[0]
    event = json.loads(invoke["payload"])
    assert (invoke["function"], invoke["caller"], invoke["trace"]) == (ARN, "url:orders", ORDER_TRACE)
    assert (event["rawPath"], event["rawQueryString"], event["body"]) == ("/orders/7", "x=1", "{}")
    assert event["requestContext"]["requestId"] == headers["x-amzn-RequestId"]
    await send(world, "/_aws/lambda-url/abc")
    assert json.loads(world.functions.invokes[1]["payload"])["rawPath"] == "/"
    assert len(configured.reads) == 3


@pytest.mark.rule("url.address", "url.alias")
async def test_a_url_is_a_host_as_well(world: World, configured: Configured) -> None:
    """The alias that it is for runs, and the journal has what the metrics of URLs are made of."""
    assert configured.urls
    world.functions.result = InvokeResult(200, b"{}", None, None, None, executed_version="3")
    host = {"Host": "DEF.lambda-url.us-east-1.localhost"}
    assert (await send(world, "/a/b", headers=host))[0] == 200
    assert world.functions.invokes[0]["function"] == f"{ARN}:live"
    assert json.loads(world.functions.invokes[0]["payload"])["requestContext"]["apiId"] == "def"
    line = world.journal.of("url")[0]
    told = {"function": "orders", "qualifier": "live", "version": "3", "path": "/a/b", "status": 200, "cause": None}
    assert {name: line[name] for name in told} == told
    assert line["trace"] == ORDER_TRACE.removeprefix("Root=")
    assert line["ms"] > 0


@pytest.mark.rule("url.throttle")
async def test_a_throttled_invoke_is_429(world: World, configured: Configured) -> None:
    """Unlike a REST API, which makes a 500 of it."""
    assert configured.urls
    members = {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User"}
    error = AwsError("TooManyRequestsException", 429, "Rate Exceeded.", members)
    world.functions.result = InvokeResult(429, b"", None, error, "throttle")
    status, body, headers = await send(world, "/_aws/lambda-url/abc/")
    assert (status, json.loads(body)) == (429, {"message": "Rate Exceeded.", **members})
    assert headers["x-amzn-ErrorType"] == "TooManyRequestsException"
    assert world.journal.of("url")[0]["cause"] == "throttle"


async def test_any_other_rejected_invoke_is_502(world: World, configured: Configured) -> None:
    """Its error code is in the journal."""
    assert configured.urls
    world.functions.result = InvokeResult(404, b"", None, AwsError("ResourceNotFoundException", 404, "no"), None)
    assert (await send(world, "/_aws/lambda-url/abc/"))[:2] == (502, b"Internal Server Error")
    assert world.journal.of("url")[0]["cause"] == "ResourceNotFoundException"


async def test_faults_act_on_the_invoke(world: World, configured: Configured) -> None:
    """A throttle of Lambda reaches the client, and the function is not run."""
    assert configured.urls
    world.arm(Throttle(service="lambda", probability=1.0))
    assert (await send(world, "/_aws/lambda-url/abc/"))[0] == 429
    assert world.functions.invokes == []
    assert world.journal.of("fault")[0]["caller"] == "url:orders"


@pytest.mark.rule("url.payload")
async def test_an_event_over_the_limit_of_an_invoke_is_413(world: World, configured: Configured) -> None:
    """Six megabytes, the envelope included, is Lambda's own limit; a large body is read, not streamed."""
    assert configured.urls
    world.functions.result = InvokeResult(413, b"", None, request_too_large(7, 6), None)
    status, body, headers = await send(world, "/_aws/lambda-url/abc/", body=b"x" * (3 << 20))
    assert (status, json.loads(body)["Type"]) == (413, "User")
    assert headers["x-amzn-ErrorType"] == "RequestTooLargeException"
    assert len(json.loads(world.functions.invokes[0]["payload"])["body"]) == 3 << 20


async def test_an_unknown_url_is_forbidden(world: World, configured: Configured) -> None:
    """403, and nothing is run; a URL that was created meanwhile is found once the emulator told of it."""
    status, body, _ = await send(world, "/_aws/lambda-url/new/")
    assert (status, json.loads(body)) == (403, {"Message": None})
    configured.urls[0] |= {"FunctionUrl": "http://x/_aws/lambda-url/new/"}
    assert (await send(world, "/_aws/lambda-url/new/"))[0] == 403
    world.gateway.function_urls.forget()
    assert (await send(world, "/_aws/lambda-url/new/"))[0] == 200


async def test_while_nothing_can_be_read_the_answer_is_503(world: World, configured: Configured) -> None:
    """It is read again with the next request."""
    configured.status = 500
    assert (await send(world, "/_aws/lambda-url/abc/"))[0] == 503
    configured.status = 200
    assert (await send(world, "/_aws/lambda-url/abc/"))[0] == 200


@pytest.mark.rule("url.cors")
async def test_a_preflight_is_answered_by_lambda(world: World, configured: Configured) -> None:
    """With CORS settings the function does not see it; without, it does. Other requests get the headers besides."""
    assert configured.urls
    origin = {"Origin": f"http://{world.host}"}
    asked = origin | {"Access-Control-Request-Method": "POST"}
    status, body, headers = await send(world, "/_aws/lambda-url/def/", method="OPTIONS", body=b"", headers=asked)
    assert (status, body, headers["Access-Control-Allow-Methods"]) == (200, b"", "POST")
    assert world.functions.invokes == []
    _, _, headers = await send(world, "/_aws/lambda-url/def/", headers=origin)
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Methods" not in headers
    _, _, headers = await send(world, "/_aws/lambda-url/abc/", method="OPTIONS", headers=asked)
    assert "Access-Control-Allow-Origin" not in headers
    assert len(world.functions.invokes) == 2


async def test_pages_of_others_reach_no_function(world: World, configured: Configured) -> None:
    """Whatever a URL's CORS settings say: the gateway refuses what a browser sends for another page."""
    assert configured.urls
    assert (await send(world, "/_aws/lambda-url/def/", headers={"Origin": "https://other.example"}))[0] == 403
    assert world.functions.invokes == []
