"""The data plane of REST APIs: routes as deployed, Lambda proxy integrations run by our own compute plane.

What is deployed is read from the emulator once and kept until the emulator says that it changed. As on AWS, a stage
serves the snapshot that was taken when it was deployed, not what was edited since.
"""

import asyncio
import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from testbed.compute.aws import AwsCaller, AwsCallError
from testbed.compute.result import Invoker
from testbed.gateway.message import Inbound
from testbed.semantics.rest_api import (
    DEFAULT_INTEGRATION_TIMEOUT,
    ProxyRequest,
    RestResponse,
    integration_timed_out,
    invoke_rejected,
    not_routed,
    proxy_event,
    proxy_response,
)

CALLER: Final = "testbed"
_PATHS: Final = (
    re.compile(r"/restapis/(?P<api>[^/]+)/(?P<stage>[^/]+)/_user_request_(?P<path>/.*|)"),
    re.compile(r"/_aws/execute-api/(?P<api>[^/]+)/(?P<stage>[^/]+)(?P<path>/.*|)"),
)
_HOST: Final = re.compile(r"(?P<api>[a-z0-9]+)\.execute-api\.")
_HOST_PATH: Final = re.compile(r"/(?P<stage>[^/]+)(?P<path>/.*|)")
_LAMBDA_URI: Final = re.compile(r"arn:[^:]+:apigateway:[^:]*:lambda:path/[^/]+/functions/(?P<function>.+)/invocations")
_ACCOUNT: Final = "000000000000"


@dataclass(frozen=True, slots=True)
class Address:
    """Which API, stage and path a request means; the path is still percent-encoded."""

    api: str
    stage: str
    path: str


def address_of(request: Inbound) -> Address | None:
    """The REST API that ``request`` is for, by each form of address that the emulator knows; None if it is not one."""
    for pattern in _PATHS:
        if found := pattern.fullmatch(request.path):
            return Address(found["api"], found["stage"], found["path"] or "/")
    if (host := _HOST.match(request.headers.get("Host", ""))) and (found := _HOST_PATH.fullmatch(request.path)):
        return Address(host["api"], found["stage"], found["path"] or "/")
    return None


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one resource.

    Attributes:
        resource_id: Id of the resource.
        template: Its path (``/orders/{id}``).
        methods: Integrations by method; ``"ANY"`` takes the rest.
    """

    resource_id: str
    template: str
    pattern: re.Pattern[str]
    methods: Mapping[str, Mapping[str, Any]]

    @property
    def precedence(self) -> tuple[bool, int, int]:
        """Literal resources before labels, labels before greedy ones, long ones before short ones."""
        return ("+}" in self.template, self.template.count("{"), -len(self.template))


def route_of(resource: Mapping[str, Any]) -> Route:
    """The route of one entry of ``GetResources`` with its methods embedded."""
    pieces = re.split(r"(\{[^}]+\})", resource["path"])
    pattern = "".join(_label(piece) if piece.startswith("{") else re.escape(piece) for piece in pieces)
    methods = {
        name: method.get("methodIntegration") or {} for name, method in resource.get("resourceMethods", {}).items()
    }
    return Route(resource["id"], resource["path"], re.compile(pattern), methods)


def _label(template: str) -> str:
    name = template.strip("{}+")
    group = re.sub(r"\W", "_", name)
    return f"(?P<{group}>{'.+' if template.endswith('+}') else '[^/]+'})"


@dataclass(frozen=True, slots=True)
class _Stage:
    deployment: str
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Matched:
    """A request that found its method.

    Attributes:
        integration: The method's integration as the emulator describes it.
        function: Function of a Lambda proxy integration; None for every other integration.
    """

    address: Address
    route: Route
    parameters: Mapping[str, str]
    integration: Mapping[str, Any]
    stage_variables: Mapping[str, str]
    function: str | None


class RestApis:
    """What REST APIs are deployed, as far as anybody has asked."""

    def __init__(self, aws: AwsCaller) -> None:
        self._aws = aws
        self._stages: dict[tuple[str, str], _Stage] = {}
        self._deployed: dict[tuple[str, str], Sequence[Route]] = {}

    async def changed(self, api: str, operation: str) -> None:
        """The emulator says that ``operation`` changed ``api``; a deployment is read before anybody can edit on."""
        self._stages = {key: stage for key, stage in self._stages.items() if api and key[0] != api}
        if operation == "CreateDeployment" and api:
            routes = await self._read_routes(api)
            answer = await self._aws.call("apigateway", "GetDeployments", {"restApiId": api}, caller=CALLER)
            for deployment in answer.get("items", ()):
                self._deployed.setdefault((api, deployment["id"]), routes)

    async def match(self, address: Address, method: str) -> Matched | None:
        """The method that serves ``method`` at ``address``; None where nothing does."""
        stage = await self._stage(address)
        if stage is None:
            return None
        path = unquote(address.path)
        path = path.rstrip("/") or "/"
        for route in await self._routes(address.api, stage.deployment):
            found = route.pattern.fullmatch(path)
            integration = route.methods.get(method) or route.methods.get("ANY")
            if found and integration is not None:
                function = _function_of(integration, stage.variables)
                return Matched(address, route, found.groupdict(), integration, stage.variables, function)
        return None

    async def _stage(self, address: Address) -> _Stage | None:
        key = (address.api, address.stage)
        if key not in self._stages:
            params = {"restApiId": address.api, "stageName": address.stage}
            try:
                answer = await self._aws.call("apigateway", "GetStage", params, caller=CALLER)
            except AwsCallError as error:
                if error.code == "NotFoundException":
                    return None
                raise
            self._stages[key] = _Stage(answer.get("deploymentId", ""), answer.get("variables", {}))
        return self._stages[key]

    async def _routes(self, api: str, deployment: str) -> Sequence[Route]:
        key = (api, deployment)
        if key not in self._deployed:
            self._deployed[key] = await self._read_routes(api)
        return self._deployed[key]

    async def _read_routes(self, api: str) -> Sequence[Route]:
        params: dict[str, Any] = {"restApiId": api, "embed": ["methods"], "limit": 500}
        routes: list[Route] = []
        while True:
            answer = await self._aws.call("apigateway", "GetResources", params, caller=CALLER)
            routes += [route_of(resource) for resource in answer.get("items", ())]
            if "position" not in answer:
                return sorted(routes, key=lambda route: route.precedence)
            params["position"] = answer["position"]


def _function_of(integration: Mapping[str, Any], variables: Mapping[str, str]) -> str | None:
    if integration.get("type") != "AWS_PROXY":
        return None
    uri = re.sub(r"\$\{stageVariables\.(\w+)\}", lambda found: variables.get(found[1], ""), integration.get("uri", ""))
    found = _LAMBDA_URI.fullmatch(uri)
    return found["function"] if found else None


async def run_lambda_proxy(
    matched: Matched, request: Inbound, invoker: Invoker, trace: str, client: str
) -> RestResponse:
    """Invoke the function of ``matched`` and answer as API Gateway would."""
    function = matched.function
    if function is None:
        return not_routed()
    now = time.time()
    event = proxy_event(
        ProxyRequest(
            api_id=matched.address.api,
            stage=matched.address.stage,
            account=_ACCOUNT,
            method=request.method,
            path=unquote(matched.address.path),
            resource_id=matched.route.resource_id,
            resource_path=matched.route.template,
            path_parameters=matched.parameters,
            query=parse_qsl(request.target.partition("?")[2], keep_blank_values=True),
            headers=list(request.headers.items()),
            stage_variables=matched.stage_variables,
            body=request.body,
            request_id=str(uuid.uuid4()),
            source_ip=client,
            epoch=now,
            request_time=time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
        )
    )
    caller = f"api:{matched.address.api}"
    # Shielded: on AWS a function outlives the integration's timeout, and the client that has gone away.
    invoke = asyncio.ensure_future(invoker.invoke(function, json.dumps(event).encode(), caller=caller, trace=trace))
    seconds = matched.integration.get("timeoutInMillis", DEFAULT_INTEGRATION_TIMEOUT * 1000) / 1000
    try:
        result = await asyncio.wait_for(asyncio.shield(invoke), seconds)
    except TimeoutError:
        return integration_timed_out()
    if result.error is not None:
        return invoke_rejected(result.cause or result.error.code)
    return proxy_response(result.payload, result.function_error, result.cause)
