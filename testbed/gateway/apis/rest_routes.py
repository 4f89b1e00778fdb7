"""What REST APIs are deployed: stages, and the routes that each of their deployments serves.

It is read from the emulator once and kept until the emulator says that it changed. As on AWS, a stage serves the
snapshot that was taken when it was deployed, not what was edited since.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from testbed.compute.aws import AwsCaller, AwsCallError
from testbed.compute.kept import kept
from testbed.gateway.apis.rest_limits import StageLimits, UsagePlans
from testbed.gateway.message import Inbound
from testbed.semantics.rest_api import METHODS
from testbed.semantics.rest_api_limits import Limit

CALLER: Final = "testbed"
_PATHS: Final = (
    re.compile(r"/restapis/(?P<api>[^/]+)/(?P<stage>[^/]+)/_user_request_(?P<path>/.*|)"),
    re.compile(r"/_aws/execute-api/(?P<api>[^/]+)/(?P<stage>[^/]+)(?P<path>/.*|)"),
)
_HOST: Final = re.compile(r"(?P<api>[a-z0-9]+)\.execute-api\.", re.IGNORECASE)
_HOST_PATH: Final = re.compile(r"/(?P<stage>[^/]+)(?P<path>/.*|)")
_LAMBDA_URI: Final = re.compile(r"arn:[^:]+:apigateway:[^:]*:lambda:path/[^/]+/functions/(?P<function>.+)/invocations")
_STAGE_VARIABLE: Final = re.compile(r"\$\{stageVariables\.(\w+)\}")


@dataclass(frozen=True, slots=True)
class Address:
    """Which API, stage and path a request means; the path is still percent-encoded."""

    api: str
    stage: str
    path: str


def address_of(request: Inbound) -> Address | None:
    """The REST API that ``request`` is for, by each form of address that the emulator knows; None if it is not one."""
    path = request.path
    for pattern in _PATHS:
        if found := pattern.fullmatch(path):
            return Address(found["api"].lower(), found["stage"], found["path"] or "/")
    if (host := _HOST.match(request.headers.get("Host", ""))) and (found := _HOST_PATH.fullmatch(path)):
        return Address(host["api"].lower(), found["stage"], found["path"] or "/")
    return None


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a resource.

    Attributes:
        name: As it was deployed, ``"ANY"`` included.
        integration: Its integration as the emulator describes it.
        needs_key: Whether a request must have an API key.
    """

    name: str
    integration: Mapping[str, Any]
    needs_key: bool


@dataclass(frozen=True, slots=True)
class Route:
    """One resource.

    Attributes:
        resource_id: Id of the resource.
        template: Its path (``/orders/{id}``).
        labels: Names of the labels of the path.
        pattern: Matches the paths that it serves, with a group for each label.
        methods: By name; ``"ANY"`` takes the rest.
    """

    resource_id: str
    template: str
    labels: Sequence[str]
    pattern: re.Pattern[str]
    methods: Mapping[str, Method]

    @property
    def precedence(self) -> list[int]:
        """From left to right: literal segments before labels, labels before greedy ones."""
        return [("{" in segment) + ("+}" in segment) for segment in self.template.split("/")]

    def method(self, method: str) -> Method | None:
        """What serves the HTTP method ``method``; None where nothing does."""
        if method in self.methods:
            return self.methods[method]
        return self.methods.get("ANY") if method in METHODS else None


def route_of(resource: Mapping[str, Any]) -> Route:
    """The route of one entry of ``GetResources`` with its methods embedded."""
    pieces = re.split(r"(\{[^}]+\})", resource["path"])
    labels = [piece.strip("{}+") for piece in pieces if piece.startswith("{")]
    pattern = "".join(_label(piece) if piece.startswith("{") else re.escape(piece) for piece in pieces)
    methods = {
        name: Method(name, method.get("methodIntegration") or {}, bool(method.get("apiKeyRequired")))
        for name, method in (resource.get("resourceMethods") or {}).items()
    }
    return Route(resource["id"], resource["path"], labels, re.compile(pattern), methods)


def _label(template: str) -> str:
    return "(.+)" if template.endswith("+}") else "([^/]+)"


@dataclass(frozen=True, slots=True)
class _Stage:
    deployment: str
    variables: Mapping[str, str]
    limits: StageLimits


@dataclass(frozen=True, slots=True)
class _Deployment:
    api_name: str
    routes: Sequence[Route]
    binary_media_types: Sequence[str]


@dataclass(frozen=True, slots=True)
class Matched:
    """A request that found its method.

    Attributes:
        address: Where it was sent.
        api_name: Name of the API.
        deployment: Id of the deployment that serves it.
        route: The resource.
        parameters: Values of the labels, percent-encoded as they came.
        method: The method.
        limits: Its throttle on this stage.
        stage_variables: Variables of the stage.
        binary_media_types: Binary media types of the API.
        function: Function of a Lambda proxy integration; None for every other integration.
    """

    address: Address
    api_name: str
    deployment: str
    route: Route
    parameters: Mapping[str, str]
    method: Method
    limits: tuple[Limit, ...]
    stage_variables: Mapping[str, str]
    binary_media_types: Sequence[str]
    function: str | None


class RestApis:
    """What REST APIs are deployed, as far as anybody has asked.

    Args:
        aws: Reads them.

    Attributes:
        usage_plans: Who may call methods that require an API key.
    """

    def __init__(self, aws: AwsCaller) -> None:
        self._aws = aws
        self.usage_plans = UsagePlans(aws)
        self._stages: dict[tuple[str, str], asyncio.Task[_Stage | None]] = {}
        self._deployments: dict[tuple[str, str], asyncio.Task[_Deployment]] = {}

    async def changed(self, api: str, operation: str) -> None:
        """The emulator says that ``operation`` changed ``api``; a deployment is read before anybody can edit on."""
        self.usage_plans.forget()
        for key in [key for key in self._stages if api in {"", key[0]}]:
            del self._stages[key]
        if operation == "CreateDeployment" and api:
            snapshot = asyncio.create_task(self._read_deployment(api))
            await snapshot
            answer = await self._aws.call("apigateway", "GetDeployments", {"restApiId": api}, caller=CALLER)
            for deployment in answer.get("items", ()):
                self._deployments.setdefault((api, deployment["id"]), snapshot)

    async def match(self, address: Address, method: str) -> Matched | None:
        """The method that serves ``method`` at ``address``; None where nothing does.

        A resource that has no such method leaves the request to the next one that fits, and a slash at the end does
        not count (both as recorded on AWS by LocalStack's test suite).

        Raises:
            AwsCallError: The emulator did not answer.
        """
        key = (address.api, address.stage)
        stage = await kept(self._stages, key, lambda: self._read_stage(address))
        if stage is None:
            self._stages.pop(key, None)
            return None
        deployed = await kept(
            self._deployments, (address.api, stage.deployment), lambda: self._read_deployment(address.api)
        )
        path = address.path.rstrip("/") or "/"
        for route in deployed.routes:
            found = route.pattern.fullmatch(path)
            if found and (serving := route.method(method)) is not None:
                parameters = dict(zip(route.labels, found.groups(), strict=True))
                function = _function_of(serving.integration, stage.variables)
                limits = stage.limits.of(route.template, serving.name)
                return Matched(
                    address, deployed.api_name, stage.deployment, route, parameters, serving, limits, stage.variables,
                    deployed.binary_media_types, function,
                )  # fmt: skip
        return None

    async def _read_stage(self, address: Address) -> _Stage | None:
        params = {"restApiId": address.api, "stageName": address.stage}
        try:
            answer = await self._aws.call("apigateway", "GetStage", params, caller=CALLER)
        except AwsCallError as error:
            if error.code == "NotFoundException":
                return None
            raise
        limits = StageLimits((address.api, address.stage), answer.get("methodSettings") or {})
        return _Stage(answer.get("deploymentId", ""), answer.get("variables") or {}, limits)

    async def _read_deployment(self, api: str) -> _Deployment:
        about = await self._aws.call("apigateway", "GetRestApi", {"restApiId": api}, caller=CALLER)
        params: dict[str, Any] = {"restApiId": api, "embed": ["methods"], "limit": 500}
        routes: list[Route] = []
        while True:
            answer = await self._aws.call("apigateway", "GetResources", params, caller=CALLER)
            routes += [route_of(resource) for resource in answer.get("items", ())]
            if not answer.get("position"):
                routes.sort(key=lambda route: route.precedence)
                return _Deployment(about.get("name", ""), routes, about.get("binaryMediaTypes") or ())
            params["position"] = answer["position"]


def _function_of(integration: Mapping[str, Any], variables: Mapping[str, str]) -> str | None:
    if integration.get("type") != "AWS_PROXY":
        return None
    uri = _STAGE_VARIABLE.sub(lambda found: variables.get(found[1], ""), integration.get("uri") or "")
    found = _LAMBDA_URI.fullmatch(uri)
    return found["function"] if found else None
