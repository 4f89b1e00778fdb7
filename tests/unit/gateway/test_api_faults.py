"""Faults on requests to REST APIs and function URLs: what is on the wire, what was done, what a client may conclude."""

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from gateway_world import ORDER_TRACE, World

from testbed.chaos.fault import Fault
from testbed.chaos.faults.latency import Latency
from testbed.chaos.faults.lost_reply import LostReply, Unreachable
from testbed.chaos.faults.service_error import ServiceError
from testbed.chaos.faults.throttle import Throttle
from testbed.compute.result import InvokeResult
from testbed.ledger.history import Attempt, Outcome
from testbed.load.client import run_load
from testbed.load.orders import Request

ARN = "arn:aws:lambda:us-east-1:000000000000:function:orders"
INTEGRATION = {
    "type": "AWS_PROXY",
    "httpMethod": "POST",
    "uri": f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{ARN}/invocations",
}
REST, URL = "/_aws/execute-api/shop1/live", "/_aws/lambda-url/url1"
WAYS = {REST: "shop1", URL: "url1"}
THROTTLED = {"message": "Rate Exceeded.", "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User"}


@pytest.fixture
def deployed(world: World) -> World:
    """A function behind a REST API and behind a URL of its own."""
    answers: dict[str, Any] = {
        "/restapis/shop1/stages/live": {"deploymentId": "d1"},
        "/restapis/shop1": {"id": "shop1", "name": "shop"},
        "/restapis/shop1/resources": {
            "item": [{"id": "r1", "path": "/orders", "resourceMethods": {"POST": {"methodIntegration": INTEGRATION}}}]
        },
        "/2015-03-31/functions": {"Functions": [{"FunctionName": "orders"}]},
        "/2021-10-31/functions/orders/urls": {
            "FunctionUrlConfigs": [
                {"FunctionUrl": f"http://{world.host}{URL}/", "FunctionArn": ARN, "AuthType": "NONE"}
            ]
        },
    }

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(answers[request.path.rstrip("/")])

    world.emulator.respond = respond
    world.functions.result = InvokeResult(200, b'{"statusCode": 201, "body": "made"}', None, None, None)
    return world


async def send(world: World, way: str) -> tuple[int, bytes, Mapping[str, str]]:
    """What a client gets."""
    url = f"http://{world.host}{way}/orders"
    headers = {"X-Amzn-Trace-Id": ORDER_TRACE}
    async with aiohttp.ClientSession() as session, session.post(url, data=b"{}", headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers


async def outcome(world: World, way: str, **options: Any) -> tuple[Outcome, int | None, str | None]:
    """What the load client writes into its history for one request."""
    attempts: list[Attempt] = []
    plan = [Request(id="o-1", planned=0.0, method="POST", url_path="/orders", body=b"{}")]
    settings: dict[str, Any] = {"timeout": 5.0, "max_in_flight": 9, "record": attempts.append} | options
    await run_load(plan, architecture="test", base_url=f"http://{world.host}{way}", **settings)
    (attempt,) = attempts
    return attempt.outcome, attempt.status, attempt.error


@pytest.mark.parametrize(
    ("fault", "status", "error_type", "message"),
    [
        (Throttle(service="execute-api"), 429, "TooManyRequestsException", "Too Many Requests"),
        (ServiceError(service="execute-api"), 500, "InternalServerErrorException", "Internal server error"),
        (ServiceError(service="execute-api", status=502), 502, "InternalServerErrorException", "Internal server error"),
        (ServiceError(service="execute-api", status=503), 503, "ServiceUnavailableException", "Service Unavailable"),
        (
            ServiceError(service="execute-api", status=504),
            504,
            "InternalServerErrorException",
            "Endpoint request timed out",
        ),
        (ServiceError(service="execute-api", status=418, code="Tea", message="no"), 418, "Tea", "no"),
    ],
)
async def test_a_rest_api_answers_as_api_gateway_does(
    deployed: World, fault: Fault, status: int, error_type: str, message: str
) -> None:
    """One member in the body, the error type and the ids in the headers; the journal knows what was asked for."""
    deployed.arm(fault)
    got, body, headers = await send(deployed, REST)
    assert (got, json.loads(body)) == (status, {"message": message})
    assert (headers["x-amzn-ErrorType"], headers["Content-Type"]) == (error_type, "application/json")
    assert headers["x-amzn-RequestId"]
    assert headers["X-Amzn-Trace-Id"] == ORDER_TRACE
    assert deployed.functions.invokes == []
    (line,) = deployed.journal.of("api")
    told = {"api": "shop", "resource": "/orders", "function": "orders", "status": status, "integration_ms": None}
    assert {name: line[name] for name in told} == told
    assert line["cause"] == ("throttle" if status == 429 else "error")


@pytest.mark.parametrize(
    ("fault", "status", "error_type", "document"),
    [
        (Throttle(service="execute-api"), 429, "TooManyRequestsException", THROTTLED),
        (
            ServiceError(service="execute-api"),
            500,
            "InternalServerErrorException",
            {"Message": "Internal server error"},
        ),
        (ServiceError(service="execute-api", status=418, code="Tea", message="no"), 418, "Tea", {"Message": "no"}),
    ],
)
async def test_a_function_url_answers_as_lambda_does(
    deployed: World, fault: Fault, status: int, error_type: str, document: Any
) -> None:
    """A throttle in the words of Invoke, all else as Lambda's own refusals."""
    deployed.arm(fault)
    got, body, headers = await send(deployed, URL)
    assert (got, json.loads(body), headers["x-amzn-ErrorType"]) == (status, document, error_type)
    assert headers["x-amzn-RequestId"]
    assert headers["X-Amzn-Trace-Id"] == ORDER_TRACE
    assert deployed.functions.invokes == []
    (line,) = deployed.journal.of("url")
    assert (line["url"], line["function"], line["status"]) == ("url1", "orders", status)


async def test_a_502_of_a_function_url_is_a_bare_text(deployed: World) -> None:
    """As for a function that failed."""
    deployed.arm(ServiceError(service="execute-api", status=502))
    assert (await send(deployed, URL))[:2] == (502, b"Internal Server Error")


@pytest.mark.parametrize(("way", "resource"), WAYS.items())
async def test_a_fault_selects_by_id_and_method(deployed: World, way: str, resource: str) -> None:
    """Its identity is that of the order; a request without a plan is known by what it says."""
    deployed.arm(
        ServiceError(service="execute-api", resources=("other",)),
        ServiceError(service="execute-api", operations=("GET",)),
        ServiceError(name="mine", service="execute-api", resources=(resource,), operations=("POST",)),
    )
    assert (await send(deployed, way))[0] == 500
    (line,) = deployed.journal.of("fault")
    trace = ORDER_TRACE.removeprefix("Root=")
    told = {
        "fault": "mine",
        "operation": "POST",
        "caller": "client",
        "identity": f"execute-api.POST:{trace}",
        "at": 1.0,
    }
    assert {name: line[name] for name in told} == told


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("fault", "expected", "executed"),
    [
        (LostReply(service="execute-api"), (Outcome.UNKNOWN, None), True),
        (LostReply(service="execute-api", hang_seconds=0.05), (Outcome.UNKNOWN, None), True),
        (Unreachable(service="execute-api"), (Outcome.UNKNOWN, None), False),
        (Unreachable(service="execute-api", kind="hang", hang_seconds=0.05), (Outcome.UNKNOWN, None), False),
        (Throttle(service="execute-api"), (Outcome.REFUSED, 429), False),
        (ServiceError(service="execute-api"), (Outcome.REFUSED, 500), False),
        (ServiceError(service="execute-api", position="after"), (Outcome.REFUSED, 500), True),
        (ServiceError(service="execute-api", status=502), (Outcome.UNKNOWN, 502), False),
        (ServiceError(service="execute-api", status=503), (Outcome.REFUSED, 503), False),
        (ServiceError(service="execute-api", status=504, position="after"), (Outcome.UNKNOWN, 504), True),
        (Latency(service="execute-api", latency_ms=20), (Outcome.ACKNOWLEDGED, 201), True),
        (Latency(service="execute-api", latency_ms=20, position="after"), (Outcome.ACKNOWLEDGED, 201), True),
    ],
)
async def test_what_the_history_says(
    deployed: World, way: str, fault: Fault, expected: tuple[Outcome, int | None], *, executed: bool
) -> None:
    """A client cannot tell a request that never arrived from an answer that did not; a status is taken at its word."""
    deployed.arm(fault)
    seen, status, _ = await outcome(deployed, way)
    assert (seen, status) == expected
    assert len(deployed.functions.invokes) == executed


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "fault",
    [
        Latency(service="execute-api", latency_ms=5000, position="after"),
        LostReply(service="execute-api", hang_seconds=5.0),
        Unreachable(service="execute-api", kind="hang", hang_seconds=5.0),
    ],
)
async def test_a_client_that_gives_up_first_does_not_know_either(deployed: World, way: str, fault: Fault) -> None:
    """Its patience is its own."""
    deployed.arm(fault)
    assert (await outcome(deployed, way, timeout=0.2))[:2] == (Outcome.UNKNOWN, None)


@pytest.mark.parametrize(("way", "status"), [(REST, 504), (URL, 502)])
async def test_a_lost_answer_of_lambda_is_unknown_to_the_client(deployed: World, way: str, status: int) -> None:
    """The function has run; an API that has not heard of it says so with a status that promises nothing."""
    deployed.arm(LostReply(service="lambda"))
    assert (await outcome(deployed, way))[:2] == (Outcome.UNKNOWN, status)
    assert len(deployed.functions.invokes) == 1
