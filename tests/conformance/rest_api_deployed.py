"""A REST API as an emulator would describe it, a function that answers as it is told, and the plane between them."""

import asyncio
import copy
import json
from dataclasses import dataclass, field
from typing import Any

from multidict import CIMultiDict

from testbed.chaos.faults.throttle import Throttle
from testbed.chaos.schedule import Schedule
from testbed.compute.aws import AwsCallError
from testbed.compute.result import InvokeResult
from testbed.gateway.apis.rest_api import RestApiPlane
from testbed.gateway.apis.rest_routes import RestApis, address_of
from testbed.gateway.faults import Faults
from testbed.gateway.message import Inbound, Reply

API = "abc123"
STAGE = "live"


def lambda_proxy(function: str, **more: Any) -> dict[str, Any]:
    """A Lambda proxy integration as GetResources embeds it."""
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{function}"
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations"
    return {"methodIntegration": {"type": "AWS_PROXY", "httpMethod": "POST", "uri": uri, **more}}


class Emulator:
    """The control plane of one REST API: what is edited is served from its next deployment on."""

    def __init__(self, resources: dict[str, dict[str, Any]]) -> None:
        self.resources = resources
        self.binary_media_types: list[str] = []
        self.variables: dict[str, str] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        self.plans: list[dict[str, Any]] = []
        self.api_keys: list[dict[str, Any]] = []
        self.plan_keys: dict[str, list[str]] = {}
        self.deployments = ["d1"]
        self.stages = {STAGE: "d1"}
        self.calls: list[str] = []
        self.failure: AwsCallError | None = None
        self.page = 500
        self.has_read = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def call(self, service: str, operation: str, params: dict[str, Any], *, caller: str) -> dict[str, Any]:
        """The calls that the data plane makes to read what is deployed."""
        assert (service, caller) == ("apigateway", "testbed")
        self.calls.append(operation)
        if self.failure is not None:
            raise self.failure
        answer: dict[str, Any] = getattr(self, f"_{operation}")(params)
        self.has_read.set()
        await self.may_answer.wait()
        return answer

    def _GetStage(self, params: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - named as the operation
        if params["restApiId"] != API or params["stageName"] not in self.stages:
            raise AwsCallError("NotFoundException", 404, "Invalid stage identifier specified")
        return {
            "deploymentId": self.stages[params["stageName"]],
            "variables": dict(self.variables),
            "methodSettings": copy.deepcopy(self.settings),
        }

    def _GetRestApi(self, _: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - named as the operation
        return {"id": API, "name": "shop", "binaryMediaTypes": list(self.binary_media_types)}

    def _GetResources(self, params: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - named as the operation
        assert params["embed"] == ["methods"]
        items = [
            {"id": f"r{number}", "path": path, **({"resourceMethods": copy.deepcopy(methods)} if methods else {})}
            for number, (path, methods) in enumerate(self.resources.items())
        ]
        return self._page(items, params)

    def _GetApiKeys(self, params: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - named as the operation
        assert params["includeValues"] is True
        return self._page(self.api_keys, params)

    def _GetUsagePlans(self, params: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - named as the operation
        return self._page(self.plans, params)

    def _GetUsagePlanKeys(self, params: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - named as the operation
        return self._page([{"id": key} for key in self.plan_keys[params["usagePlanId"]]], params)

    def _page(self, items: list[dict[str, Any]], params: dict[str, Any]) -> dict[str, Any]:
        start = int(params.get("position", 0))
        more = {"position": str(start + self.page)} if start + self.page < len(items) else {}
        return {"items": copy.deepcopy(items[start : start + self.page]), **more}

    def _GetDeployments(self, _: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - named as the operation
        return {"items": [{"id": name} for name in self.deployments]}


class Function:
    """Stands for every function: remembers what it was invoked with, and answers ``answer``."""

    def __init__(self) -> None:
        self.invokes: list[tuple[str, dict[str, Any]]] = []
        self.callers: list[str] = []
        self.answer = InvokeResult(200, b'{"statusCode": 200}', None, None, None)
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.finished = 0

    def returns(self, document: Any) -> None:
        """Let it return ``document``."""
        self.answer = InvokeResult(200, json.dumps(document).encode(), None, None, None)

    @property
    def event(self) -> dict[str, Any]:
        """What it got last."""
        return self.invokes[-1][1]

    async def invoke(
        self, function: str, payload: bytes, *, caller: str, trace: str | None = None, identity: str | None = None
    ) -> InvokeResult:
        """Run the function."""
        assert trace is not None
        assert identity is None
        self.invokes.append((function, json.loads(payload)))
        self.callers.append(caller)
        await self.may_answer.wait()
        self.finished += 1
        return self.answer


@dataclass
class Journal:
    """Hops as a list."""

    hops: list[dict[str, Any]] = field(default_factory=list)

    def record(self, hop: str, **fields: object) -> None:
        """Append one line."""
        self.hops.append({"hop": hop, **fields})


class Deployed:
    """A REST API on the data plane, and its clients."""

    def __init__(self, resources: dict[str, dict[str, Any]] | None = None) -> None:
        default = {"/": {}, "/orders": {"POST": lambda_proxy("orders")}, "/{proxy+}": {"ANY": lambda_proxy("rest")}}
        self.emulator = Emulator(default if resources is None else resources)
        self.function = Function()
        self.journal = Journal()
        self.forwarded: list[Inbound] = []
        self.emulator_may_answer = asyncio.Event()
        self.emulator_may_answer.set()
        self.faults = Faults(self.journal, lambda: 1.0)  # type: ignore[arg-type]  # a list is all it needs
        self.apis = RestApis(self.emulator)
        self.plane = RestApiPlane(self.apis, self.faults, self.function, self._forward, self.journal)  # type: ignore[arg-type]  # the same

    def throttle(self) -> None:
        """Let the API refuse everything."""
        self.faults.arm(Schedule((Throttle(service="execute-api", probability=1.0),), 1, self.faults.journal_fault))

    async def deploy(self, name: str) -> None:
        """Create a deployment on the stage, as the emulator tells of it."""
        self.emulator.deployments.append(name)
        self.emulator.stages[STAGE] = name
        await self.apis.changed(API, "CreateDeployment")

    async def send(
        self, method: str, path: str, *, body: bytes = b"", stage: str = STAGE, headers: dict[str, str] | None = None
    ) -> Reply:
        """What a client gets for ``method`` at ``path``."""
        target = f"/restapis/{API}/{stage}/_user_request_{path}"
        sent = CIMultiDict({"Host": "127.0.0.1:4566", **(headers or {})})
        request = Inbound(method, target, sent, body)
        address = address_of(request)
        assert address is not None
        return await self.plane.handle(address, request, "10.0.0.7")

    async def _forward(self, request: Inbound) -> Reply:
        self.forwarded.append(request)
        await self.emulator_may_answer.wait()
        return Reply(200, CIMultiDict(), b"from the emulator")
