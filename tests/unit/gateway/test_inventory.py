"""What is deployed, and the removal of what a run has left: against AWS's models, and against answers of our own."""

import json
from typing import Any

import boto3
import jmespath
import pytest
from aiohttp import web
from botocore import xform_name
from gateway_world import World

from testbed.gateway.classify import service_model
from testbed.gateway.inventory import KINDS, Inventory, Kind
from testbed.threads import in_daemon_thread


def operation_of(kind: Kind, method: str) -> Any:
    model = service_model(kind.service)
    return model.operation_model(next(name for name in model.operation_names if xform_name(name) == method))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_is_as_aws_describes_it(kind: Kind) -> None:
    """Its operations exist and take the parameters; the ids are where the answer has them; all pages are read."""
    deletion = operation_of(kind, kind.delete).input_shape
    assert kind.parameter in deletion.members
    assert set(deletion.required_members) <= {kind.parameter}
    client = boto3.client(kind.service, "us-east-1", aws_access_key_id="-", aws_secret_access_key="-")  # type: ignore[call-overload]  # noqa: S106 - any service
    assert client.can_paginate(kind.list)
    answer = operation_of(kind, kind.list).output_shape
    example = {name: example_of(shape) for name, shape in answer.members.items()}
    assert jmespath.search(kind.ids, example) == ["x"]
    if kind.create:
        assert kind.create_parameter in operation_of(kind, xform_name(kind.create)).input_shape.members


def example_of(shape: Any) -> Any:
    """A value of this shape, with one member in each list."""
    match shape.type_name:
        case "list":
            return [example_of(shape.member)]
        case "structure":
            return {name: "x" if member.type_name != "structure" else {} for name, member in shape.members.items()}
    return "x"


class Sqs:
    """LocalStack's health, and queues."""

    def __init__(self, *queues: str) -> None:
        self.queues = list(queues)
        self.stubborn: set[str] = set()
        self.protected: set[str] = set()
        self.states = {kind.service: "available" for kind in KINDS} | {"sqs": "running"}
        self.asked: list[str] = []

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer the calls of an inventory."""
        if request.raw_path == "/_localstack/health":
            return web.json_response({"services": self.states})
        operation = request.headers["X-Amz-Target"].partition(".")[2]
        self.asked.append(operation)
        if operation == "ListQueues":
            return web.json_response({"QueueUrls": self.queues} if self.queues else {})
        url = json.loads(self.body)["QueueUrl"]
        if url in self.protected:
            return web.json_response({"__type": "AccessDenied", "message": "not yours"}, status=403)
        if url not in self.stubborn:
            self.queues.remove(url)
        return web.json_response({})

    body: bytes = b""


@pytest.fixture
def sqs(world: World) -> Sqs:
    """Two queues."""
    sqs = Sqs("http://x/0/mine", "http://x/0/new")

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        sqs.body = world.emulator.received[-1].body
        return await sqs.respond(request)

    world.emulator.respond = respond
    return sqs


async def of(world: World, work: str, *arguments: Any) -> Any:
    """What a method of the inventory answers."""
    inventory = Inventory(world.way_to_emulator.url)
    return await in_daemon_thread(lambda: getattr(inventory, work)(*arguments))


async def test_only_services_that_were_used_are_asked(world: World, sqs: Sqs) -> None:
    """LocalStack would load the others, which takes seconds."""
    assert await of(world, "take") == {"queue": ["http://x/0/mine", "http://x/0/new"]}
    assert sqs.asked == ["ListQueues"]


async def test_what_was_there_before_stays(world: World, sqs: Sqs) -> None:
    """Everything else goes."""
    assert await of(world, "remove_others", {"queue": ["http://x/0/mine"]}) == []
    assert sqs.queues == ["http://x/0/mine"]


async def test_what_came_with_a_service_that_was_unused_goes_too(world: World, sqs: Sqs) -> None:
    """Nothing was known of it then."""
    assert await of(world, "remove_others", {}) == []
    assert sqs.queues == []


async def test_what_does_not_go_is_told(world: World, sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is refused, or stays all the same; what can go goes."""
    monkeypatch.setattr("testbed.gateway.inventory._GONE_SECONDS", 0.05)
    sqs.protected, sqs.stubborn = {"http://x/0/mine"}, {"http://x/0/new"}
    sqs.queues.append("http://x/0/other")
    left = await of(world, "remove_others", {})
    assert any("queue http://x/0/mine: " in line and "not yours" in line for line in left)
    assert "queue http://x/0/new does not go away" in left
    assert "http://x/0/other" not in sqs.queues


async def test_a_localstack_that_is_gone_is_told(world: World) -> None:
    """Nothing is raised: the run is over anyway."""
    inventory = Inventory("http://127.0.0.1:9")
    [line] = await in_daemon_thread(lambda: inventory.remove_others({}))
    assert line.startswith("LocalStack does not tell what is deployed: ")
    assert world.emulator.received == []
