"""The limits that are set for a REST API hold for its clients, whatever the integration.

Sources: API Gateway developer guide, "Throttle requests to your REST APIs for better throughput in API Gateway",
"Usage plans and API keys for REST APIs in API Gateway", "Gateway response types"; API reference, UpdateStage (keys of
the method settings) and CreateUsagePlan (keys of a plan's throttles of methods).
"""

import json
from typing import Any

import pytest
from rest_api_deployed import API, STAGE, Deployed, lambda_proxy

from testbed.compute.aws import AwsCallError
from testbed.gateway.message import Reply
from testbed.semantics.rest_api_limits import RestApiProfile

SQS = {"methodIntegration": {"type": "AWS", "uri": "arn:aws:apigateway:us-east-1:sqs:path/000000000000/orders"}}
CLOSED = {"throttlingRateLimit": 0.0, "throttlingBurstLimit": 0}
ONE = {"throttlingRateLimit": 0.0, "throttlingBurstLimit": 1}


def told(reply: Reply) -> tuple[int, str, str]:
    """Status, message and error type of one of the API's own answers."""
    return reply.status, json.loads(reply.body)["message"], reply.headers["x-amzn-ErrorType"]


THROTTLED = (429, "Too Many Requests", "TooManyRequestsException")
QUOTA_EXCEEDED = (429, "Limit Exceeded", "LimitExceededException")
FORBIDDEN = (403, "Forbidden", "ForbiddenException")


def keyed(**method: Any) -> dict[str, Any]:
    """A method that requires an API key."""
    return {**(method or lambda_proxy("orders")), "apiKeyRequired": True}


def with_plan(resources: dict[str, dict[str, Any]], stage: dict[str, Any] | None = None, **plan: Any) -> Deployed:
    """An API whose stage is in a usage plan of two clients."""
    deployed = Deployed(resources)
    deployed.emulator.api_keys = [
        {"id": "k1", "value": "one", "enabled": True},
        {"id": "k2", "value": "two", "enabled": True},
        {"id": "k3", "value": "disabled", "enabled": False},
        {"id": "k4", "value": "of no plan", "enabled": True},
    ]
    stages = [{"apiId": "another", "stage": "live"}, {"apiId": API, "stage": STAGE, **(stage or {})}]
    deployed.emulator.plans = [{"id": "empty"}, {"id": "plan", "apiStages": stages, **plan}]
    deployed.emulator.plan_keys = {"empty": [], "plan": ["k1", "k2", "k3"]}
    return deployed


async def statuses(deployed: Deployed, count: int, method: str, path: str, key: str | None = None) -> list[int]:
    """What a client gets for as many requests."""
    headers = {"X-Api-Key": key} if key else {}
    return [(await deployed.send(method, path, headers=headers)).status for _ in range(count)]


@pytest.mark.rule("rest-api.method-throttle")
async def test_each_method_of_a_stage_has_the_throttle_that_is_set_for_all() -> None:
    """Key ``*/*``: every method gets such a bucket of its own."""
    deployed = Deployed({"/a": {"GET": lambda_proxy("f"), "POST": lambda_proxy("f")}})
    deployed.emulator.settings = {"*/*": ONE}
    assert await statuses(deployed, 2, "GET", "/a") == [200, 429]
    assert await statuses(deployed, 2, "POST", "/a") == [200, 429]
    assert len(deployed.function.invokes) == 2


@pytest.mark.rule("rest-api.method-throttle", "rest-api.own-throttle")
@pytest.mark.parametrize("key", ["~1orders~1{id}/GET", "/orders/{id}/GET", "orders/{id}/GET"])
async def test_the_throttle_of_one_method_goes_before_that_for_all(key: str) -> None:
    """Whatever the emulator's way to write the key; all paths of the resource share it."""
    deployed = Deployed({"/orders/{id}": {"GET": lambda_proxy("f"), "PUT": lambda_proxy("f")}})
    deployed.emulator.settings = {"*/*": CLOSED, key: ONE}
    assert await statuses(deployed, 1, "GET", "/orders/1") == [200]
    reply = await deployed.send("GET", "/orders/2")
    assert told(reply) == THROTTLED
    assert await statuses(deployed, 1, "PUT", "/orders/1") == [429]
    assert [hop["cause"] for hop in deployed.journal.hops] == [None, "throttle", "throttle"]
    assert deployed.plane.throttles == 2


@pytest.mark.rule("rest-api.method-throttle")
async def test_the_root_and_any_have_throttles_too() -> None:
    """Keys ``~1/GET`` and ``~1{proxy+}/ANY``."""
    deployed = Deployed({"/": {"GET": lambda_proxy("f")}, "/{proxy+}": {"ANY": lambda_proxy("f")}})
    deployed.emulator.settings = {"~1/GET": CLOSED, "~1{proxy+}/ANY": ONE}
    assert await statuses(deployed, 1, "GET", "/") == [429]
    assert await statuses(deployed, 1, "GET", "/a") == [200]
    assert await statuses(deployed, 1, "POST", "/b") == [429]


async def test_settings_below_zero_set_nothing() -> None:
    """Terraform writes -1 for a throttle that is switched off."""
    deployed = Deployed({"/a": {"GET": lambda_proxy("f")}})
    deployed.emulator.settings = {"*/*": {"throttlingRateLimit": -1.0, "throttlingBurstLimit": -1}}
    assert await statuses(deployed, 3, "GET", "/a") == [200] * 3


async def test_a_throttle_holds_from_its_change_on() -> None:
    """The stage is read once, and anew when the emulator says that it changed."""
    deployed = Deployed({"/a": {"GET": lambda_proxy("f")}})
    await statuses(deployed, 3, "GET", "/a")
    assert deployed.emulator.calls.count("GetStage") == 1
    deployed.emulator.settings = {"*/*": CLOSED}
    assert await statuses(deployed, 1, "GET", "/a") == [200]
    await deployed.apis.changed(API, "UpdateStage")
    assert await statuses(deployed, 1, "GET", "/a") == [429]


@pytest.mark.rule("rest-api.integrations-throttled")
async def test_other_integrations_are_under_the_same_throttle() -> None:
    """What a limit refuses never reaches the emulator, which serves them."""
    deployed = Deployed({"/queue": {"POST": SQS}})
    deployed.emulator.settings = {"~1queue/POST": ONE}
    assert await statuses(deployed, 3, "POST", "/queue") == [200, 429, 429]
    assert len(deployed.forwarded) == 1


@pytest.mark.rule("rest-api.account-throttle")
async def test_the_account_s_limit_holds_for_whatever_comes() -> None:
    """All APIs and methods together, requests that no method serves included."""
    deployed = Deployed({"/a": {"GET": lambda_proxy("f")}, "/queue": {"POST": SQS}})
    deployed.plane.use(RestApiProfile(account_rate=0, account_burst=3))
    sent = [("GET", "/a"), ("POST", "/queue"), ("GET", "/nothing"), ("GET", "/a"), ("GET", "/nothing")]
    assert [(await deployed.send(*each)).status for each in sent] == [200, 200, 403, 429, 429]
    deployed.plane.restart()
    assert deployed.plane.throttles == 0
    assert await statuses(deployed, 1, "GET", "/a") == [200]


@pytest.mark.rule("rest-api.api-key")
@pytest.mark.parametrize("key", [None, "", "disabled", "of no plan", "unknown"])
async def test_without_a_key_of_a_plan_of_the_stage_nothing_is_served(key: str | None) -> None:
    """403, and no token is used up."""
    deployed = with_plan({"/a": {"GET": keyed()}, "/queue": {"POST": keyed(**SQS)}})
    deployed.emulator.settings = {"*/*": ONE}
    headers = {} if key is None else {"x-api-key": key}
    for method, path in (("GET", "/a"), ("POST", "/queue")):
        assert told(await deployed.send(method, path, headers=headers)) == FORBIDDEN
        assert await statuses(deployed, 1, method, path, "one") == [200]
    assert (len(deployed.function.invokes), len(deployed.forwarded)) == (1, 1)


@pytest.mark.rule("rest-api.api-key")
async def test_whether_a_key_is_required_belongs_to_the_deployment() -> None:
    """An edit takes effect with the next deployment; a method that requires none asks for no plans."""
    deployed = with_plan({"/a": {"GET": lambda_proxy("f")}})
    assert await statuses(deployed, 1, "GET", "/a") == [200]
    deployed.emulator.resources["/a"]["GET"]["apiKeyRequired"] = True
    assert await statuses(deployed, 1, "GET", "/a") == [200]
    assert "GetUsagePlans" not in deployed.emulator.calls
    await deployed.deploy("d2")
    assert await statuses(deployed, 1, "GET", "/a") == [403]
    assert await statuses(deployed, 2, "GET", "/a", "one") == [200, 200]
    assert deployed.emulator.calls.count("GetUsagePlans") == 1


async def test_a_change_of_the_plans_takes_effect_at_once() -> None:
    """They are kept until the emulator says so; many pages are read to the end."""
    deployed = with_plan({"/a": {"GET": keyed()}})
    deployed.emulator.page = 1
    assert await statuses(deployed, 1, "GET", "/a", "two") == [200]
    deployed.emulator.plan_keys["plan"] = ["k1"]
    assert await statuses(deployed, 1, "GET", "/a", "two") == [200]
    await deployed.apis.changed("plan", "DeleteUsagePlanKey")
    assert await statuses(deployed, 1, "GET", "/a", "two") == [403]


async def test_plans_that_cannot_be_read_are_read_again() -> None:
    """503 while the emulator does not answer, as for everything that is not known yet."""
    deployed = with_plan({"/a": {"GET": keyed()}})
    await deployed.send("GET", "/nothing")
    deployed.emulator.failure = AwsCallError("ServiceUnavailable", 0, "cut")
    assert await statuses(deployed, 1, "GET", "/a", "one") == [503]
    deployed.emulator.failure = None
    assert await statuses(deployed, 1, "GET", "/a", "one") == [200]


@pytest.mark.rule("rest-api.usage-plan-throttle")
async def test_each_client_has_the_plan_s_throttle_for_itself() -> None:
    """Over all methods together; the other client has as much."""
    throttle = {"rateLimit": 0.0, "burstLimit": 2}
    deployed = with_plan({"/a": {"GET": keyed()}, "/b": {"GET": keyed()}}, throttle=throttle)
    assert await statuses(deployed, 1, "GET", "/a", "one") == [200]
    assert await statuses(deployed, 2, "GET", "/b", "one") == [200, 429]
    assert await statuses(deployed, 3, "GET", "/a", "two") == [200, 200, 429]


@pytest.mark.rule("rest-api.usage-plan-throttle")
async def test_a_plan_may_throttle_single_methods_as_well() -> None:
    """``apiStages[].throttle``, key ``/a/GET``: for each client, beside the plan's own throttle."""
    stage = {"throttle": {"/a/GET": {"rateLimit": 0.0, "burstLimit": 1}}}
    throttle = {"rateLimit": 0.0, "burstLimit": 3}
    deployed = with_plan({"/a": {"GET": keyed()}, "/b": {"GET": keyed()}}, stage, throttle=throttle)
    assert await statuses(deployed, 2, "GET", "/a", "one") == [200, 429]
    assert await statuses(deployed, 3, "GET", "/b", "one") == [200, 200, 429]
    assert await statuses(deployed, 1, "GET", "/a", "two") == [200]


@pytest.mark.rule("rest-api.quota")
async def test_a_client_that_used_its_quota_up_is_told_so() -> None:
    """429 with another message than a throttle's; other clients have theirs."""
    deployed = with_plan({"/a": {"GET": keyed()}}, quota={"limit": "3", "period": "MONTH", "offset": 1})
    assert await statuses(deployed, 2, "GET", "/a", "one") == [200, 200]
    assert told(await deployed.send("GET", "/a", headers={"x-api-key": "one"})) == QUOTA_EXCEEDED
    assert deployed.journal.hops[-1]["cause"] == "quota"
    assert await statuses(deployed, 1, "GET", "/a", "two") == [200]


@pytest.mark.rule("rest-api.integration-timeout")
async def test_other_integrations_have_a_timeout_too() -> None:
    """504; what the emulator does meanwhile it does to its end."""
    deployed = Deployed({"/queue": {"POST": {"methodIntegration": {"type": "AWS", "timeoutInMillis": 50}}}})
    deployed.emulator_may_answer.clear()
    reply = await deployed.send("POST", "/queue")
    assert told(reply) == (504, "Endpoint request timed out", "InternalServerErrorException")
    assert len(deployed.forwarded) == 1
    assert deployed.forwarded[0].abandoned()
    assert deployed.journal.hops[-1]["cause"] == "timeout"


async def test_the_journal_tells_of_api_stage_method_and_integration() -> None:
    """What the metrics of API Gateway are made of; a request that was refused reached no integration."""
    deployed = Deployed({"/orders/{id}": {"GET": lambda_proxy("f")}})
    deployed.emulator.settings = {"*/*": ONE}
    await statuses(deployed, 2, "GET", "/orders/7")
    served, refused = deployed.journal.hops
    told = {"api": "shop", "api_id": API, "stage": STAGE, "resource": "/orders/{id}", "path": "/orders/7"}
    assert [{name: hop[name] for name in told} for hop in (served, refused)] == [told, told]
    assert 0 <= served["integration_ms"] <= served["ms"]
    assert refused["integration_ms"] is None
