"""Which method of which deployment serves a request to a REST API.

Sources: API Gateway developer guide, "Set up a proxy integration with a proxy resource" (greedy paths, ANY), "Use API
Gateway stage variables", "Deploy REST APIs in API Gateway" (a deployment is a snapshot); routing recorded on AWS by
LocalStack's test suite (test_proxy_routing_with_hardcoded_resource_sibling).
"""

import asyncio
from typing import Any

import pytest
from multidict import CIMultiDict
from rest_api_deployed import API, Deployed, lambda_proxy

from testbed.compute.aws import AwsCallError
from testbed.gateway.apis.rest_routes import Address, address_of
from testbed.gateway.message import Inbound


def methods(function: str, *names: str) -> dict[str, Any]:
    """Methods that are all served by ``function``."""
    return {name: lambda_proxy(function) for name in names}


SHOP = {
    "/{proxy+}": methods("rest", "ANY"),
    "/orders/{id}": methods("one", "GET"),
    "/{kind}/latest": methods("latest-of-kind", "GET"),
    "/orders/{proxy+}": methods("rest-of-orders", "ANY"),
    "/orders/latest": methods("latest", "GET"),
    "/orders": methods("all", "ANY", "POST"),
    "/": methods("root", "GET"),
    "/files/{id}.json": methods("file", "GET"),
}


async def served_by(deployed: Deployed, method: str, path: str) -> tuple[str, dict[str, str] | None]:
    """Name of the function, and the path parameters that it got."""
    assert (await deployed.send(method, path)).status == 200
    arn, event = deployed.function.invokes[-1]
    return arn.rpartition(":")[2], event["pathParameters"]


@pytest.mark.parametrize(
    ("method", "path", "function", "parameters"),
    [
        ("GET", "", "root", None),
        ("GET", "/", "root", None),
        ("GET", "/orders/latest", "latest", None),
        ("GET", "/orders/latest/", "latest", None),
        ("GET", "/orders/7", "one", {"id": "7"}),
        ("GET", "/orders/a%2Fb", "one", {"id": "a%2Fb"}),
        ("POST", "/orders/7", "rest-of-orders", {"proxy": "7"}),
        ("GET", "/orders/7/items/1", "rest-of-orders", {"proxy": "7/items/1"}),
        ("GET", "/carts/latest", "latest-of-kind", {"kind": "carts"}),
        ("GET", "/carts/7", "rest", {"proxy": "carts/7"}),
        ("POST", "/orders", "all", None),
        ("DELETE", "/orders", "all", None),
        ("GET", "/files/7.json", "file", {"id": "7"}),
        ("GET", "/files/7xjson", "rest", {"proxy": "files/7xjson"}),
    ],
)
async def test_the_most_specific_resource_serves(
    method: str, path: str, function: str, parameters: dict[str, str] | None
) -> None:
    """Literal before label before greedy, segment by segment; a resource without the method leaves it to the next."""
    assert await served_by(Deployed(SHOP), method, path) == (function, parameters)


async def test_a_method_goes_before_any() -> None:
    """ANY takes what no method of its own takes, and stands for the seven methods of a REST API alone."""
    deployed = Deployed({"/a": {"POST": lambda_proxy("post"), "ANY": lambda_proxy("any")}})
    assert await served_by(deployed, "POST", "/a") == ("post", None)
    assert await served_by(deployed, "HEAD", "/a") == ("any", None)
    assert (await deployed.send("TRACE", "/a")).status == 403


async def test_labels_may_have_any_name() -> None:
    """What Python could not name a group of a pattern is a good name of a label."""
    deployed = Deployed({"/{order-id}/{2nd.part}": methods("f", "GET")})
    assert await served_by(deployed, "GET", "/7/8") == ("f", {"order-id": "7", "2nd.part": "8"})


async def test_stage_variables_choose_the_function() -> None:
    """``${stageVariables.x}`` in the URI of the integration."""
    deployed = Deployed({"/a": methods("${stageVariables.function}", "GET")})
    deployed.emulator.variables = {"function": "blue"}
    assert await served_by(deployed, "GET", "/a") == ("blue", None)


async def test_a_change_of_the_stage_is_served_at_once() -> None:
    """A stage variable that was changed, as the emulator tells of it."""
    deployed = Deployed({"/a": methods("${stageVariables.function}", "GET")})
    deployed.emulator.variables = {"function": "blue"}
    await served_by(deployed, "GET", "/a")
    deployed.emulator.variables = {"function": "green"}
    await deployed.apis.changed(API, "UpdateStage")
    assert await served_by(deployed, "GET", "/a") == ("green", None)


async def test_what_is_edited_is_served_from_the_next_deployment_on() -> None:
    """A method that was changed after the deployment is not served before the next one."""
    deployed = Deployed({"/a": methods("old", "GET")})
    await deployed.apis.changed(API, "CreateDeployment")
    deployed.emulator.resources["/a"] = methods("new", "GET")
    await deployed.apis.changed(API, "PutIntegration")
    assert await served_by(deployed, "GET", "/a") == ("old", None)
    await deployed.deploy("d2")
    assert await served_by(deployed, "GET", "/a") == ("new", None)


async def test_a_stage_can_go_back_to_an_earlier_deployment() -> None:
    """Every deployment keeps its snapshot."""
    deployed = Deployed({"/a": methods("old", "GET")})
    await deployed.apis.changed(API, "CreateDeployment")
    deployed.emulator.resources["/a"] = methods("new", "GET")
    await deployed.deploy("d2")
    await served_by(deployed, "GET", "/a")
    deployed.emulator.stages["live"] = "d1"
    await deployed.apis.changed(API, "UpdateStage")
    assert await served_by(deployed, "GET", "/a") == ("old", None)


async def test_a_stage_that_comes_later_is_found() -> None:
    """That a stage was not there once is not remembered."""
    deployed = Deployed()
    assert (await deployed.send("POST", "/orders", stage="later")).status == 403
    deployed.emulator.stages["later"] = "d1"
    assert (await deployed.send("POST", "/orders", stage="later")).status == 200


async def test_every_page_of_the_resources_is_read() -> None:
    """GetResources answers in pages (API reference, GetResources, position)."""
    deployed = Deployed(SHOP)
    deployed.emulator.page = 3
    assert await served_by(deployed, "GET", "/files/7.json") == ("file", {"id": "7"})


async def test_a_burst_of_first_requests_reads_the_api_once() -> None:
    """However many come before the emulator has answered."""
    deployed = Deployed()
    replies = await asyncio.gather(*(deployed.send("POST", "/orders") for _ in range(50)))
    assert {reply.status for reply in replies} == {200}
    assert sorted(deployed.emulator.calls) == ["GetResources", "GetRestApi", "GetStage"]


async def test_what_was_being_read_when_it_changed_is_not_kept() -> None:
    """The stage that a request has read just before a change does not outlive the change."""
    deployed = Deployed({"/a": methods("${stageVariables.function}", "GET")})
    deployed.emulator.variables = {"function": "blue"}
    await deployed.apis.changed(API, "CreateDeployment")
    deployed.emulator.has_read.clear()
    deployed.emulator.may_answer.clear()
    first = asyncio.create_task(deployed.send("GET", "/a"))
    await deployed.emulator.has_read.wait()
    deployed.emulator.variables = {"function": "green"}
    await deployed.apis.changed(API, "UpdateStage")
    deployed.emulator.may_answer.set()
    await first
    assert await served_by(deployed, "GET", "/a") == ("green", None)


async def test_an_emulator_that_does_not_answer_is_told_and_asked_again() -> None:
    """503 while it is gone, with the reason; a failure is not remembered."""
    deployed = Deployed()
    deployed.emulator.failure = AwsCallError("ServiceUnavailable", 0, "connection refused")
    reply = await deployed.send("POST", "/orders")
    assert reply.status == 503
    assert b"connection refused" in reply.body
    assert deployed.journal.hops[-1]["cause"] == "emulator unreachable"
    deployed.emulator.failure = None
    assert (await deployed.send("POST", "/orders")).status == 200


async def test_other_integrations_are_the_emulator_s() -> None:
    """MOCK, HTTP, services and Lambda without proxy are forwarded as they came, and journalled."""
    mock = {"methodIntegration": {"type": "MOCK"}}
    custom = {"methodIntegration": {**lambda_proxy("f")["methodIntegration"], "type": "AWS"}}
    deployed = Deployed({"/mock": {"GET": mock}, "/custom": {"POST": custom}, "/bare": {"GET": {}}})
    for method, path in (("GET", "/mock?a=1"), ("POST", "/custom"), ("GET", "/bare")):
        reply = await deployed.send(method, path)
        assert reply.body == b"from the emulator"
    assert [request.target.partition("_user_request_")[2] for request in deployed.forwarded] == [
        "/mock?a=1",
        "/custom",
        "/bare",
    ]
    assert [(hop["hop"], hop["function"], hop["status"]) for hop in deployed.journal.hops] == [("api", None, 200)] * 3
    assert deployed.function.invokes == []


@pytest.mark.parametrize(
    ("target", "host", "address"),
    [
        ("/restapis/abc/live/_user_request_/orders?x=/y", "localhost", Address("abc", "live", "/orders")),
        ("/restapis/abc/live/_user_request_", "localhost", Address("abc", "live", "/")),
        ("/_aws/execute-api/ABC/live/a%2Fb", "localhost", Address("abc", "live", "/a%2Fb")),
        ("/_aws/execute-api/abc/live", "localhost", Address("abc", "live", "/")),
        ("/live/orders", "Abc.execute-api.us-east-1.localhost:4566", Address("abc", "live", "/orders")),
        ("/live", "abc.execute-api.localhost.localstack.cloud:4566", Address("abc", "live", "/")),
        ("/restapis/abc/stages/live", "localhost", None),
        ("/restapis/abc/live/_user_request_orders", "localhost", None),
        ("/orders", "localhost:4566", None),
    ],
)
def test_each_form_of_address_is_known(target: str, host: str, address: Address | None) -> None:
    """The three forms of LocalStack; the control plane of API Gateway is none of them."""
    assert address_of(Inbound("GET", target, CIMultiDict({"Host": host}))) == address
