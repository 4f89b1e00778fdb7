"""The data plane of REST APIs: Lambda proxy integrations run by our own compute plane, all others by the emulator."""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from multidict import CIMultiDict

from testbed.chaos.call import Call
from testbed.compute.aws import AwsCallError
from testbed.compute.result import Invoker
from testbed.gateway.classify import Target
from testbed.gateway.emulator import UNREACHABLE
from testbed.gateway.faults import Faults
from testbed.gateway.journal import Journal
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.origin import Origin, function_name, identity_of_content
from testbed.gateway.rest_routes import Address, Matched, RestApis
from testbed.semantics.rest_api import (
    DEFAULT_INTEGRATION_TIMEOUT,
    MAX_BODY_BYTES,
    ProxyRequest,
    RestResponse,
    gateway_response,
    integration_timed_out,
    invoke_rejected,
    is_binary,
    not_routed,
    proxy_event,
    proxy_response,
    request_too_large,
    throttled_by_gateway,
)
from testbed.trace import HEADER, fresh_trace_header

_ACCOUNT: Final = "000000000000"


@dataclass(frozen=True, slots=True)
class _Received:
    """A request to a REST API.

    Attributes:
        address: What it is for.
        inbound: The request itself.
        client: IP address of the client.
        trace: Its trace header, or the one that it was given.
        id: API Gateway's id of the request.
    """

    address: Address
    inbound: Inbound
    client: str
    trace: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def query(self) -> str:
        """The query, percent-encoded."""
        return self.inbound.target.partition("?")[2]

    def reply(self, answer: RestResponse) -> Reply:
        """``answer`` on its way to the client."""
        reply = Reply(answer.status, CIMultiDict(answer.headers), answer.body, cause=answer.cause)
        reply.headers.setdefault("x-amzn-RequestId", self.id)
        reply.headers["X-Amzn-Trace-Id"] = self.trace
        return reply


class RestApiPlane:
    """Answers the requests to REST APIs.

    Args:
        apis: What is deployed.
        faults: Act before a request is routed.
        invoker: The way to a function.
        forward: The way to the emulator.
        journal: Takes a line for each request.
    """

    def __init__(
        self,
        apis: RestApis,
        faults: Faults,
        invoker: Invoker,
        forward: Callable[[Inbound], Awaitable[Reply]],
        journal: Journal,
    ) -> None:
        self._apis = apis
        self._faults = faults
        self._invoker = invoker
        self._forward = forward
        self._journal = journal

    async def handle(self, address: Address, inbound: Inbound, client: str) -> Reply:
        """Answer a request that a client at the IP address ``client`` sent to ``address``."""
        started = time.monotonic()
        request = _Received(address, inbound, client, inbound.headers.get(HEADER) or fresh_trace_header())
        origin = self._faults.origin(request.trace)
        matched = None
        if await self._faults.suffer(self._call(request, origin)) is not None:
            reply = request.reply(throttled_by_gateway())
        elif len(inbound.body) > MAX_BODY_BYTES:
            reply = request.reply(request_too_large())
        else:
            matched, reply = await self._routed(request)
        self._journal.record(
            "api", method=inbound.method, path=unquote(address.path), status=reply.status,
            function=function_name(matched.function) if matched and matched.function else None,
            ms=round((time.monotonic() - started) * 1000, 3), trace=origin.trace, cause=reply.cause,
        )  # fmt: skip
        return reply

    def _call(self, request: _Received, origin: Origin) -> Call:
        inbound, address = request.inbound, request.address
        identity = f"execute-api.{inbound.method}:{origin.trace}"
        if not origin.planned:
            content = (address.path.encode(), request.query.encode(), inbound.body)
            identity = identity_of_content(f"execute-api.{inbound.method}", *content)
        return self._faults.call(Target("execute-api", inbound.method, address.api), "client", origin, identity)

    async def _routed(self, request: _Received) -> tuple[Matched | None, Reply]:
        try:
            matched = await self._apis.match(request.address, request.inbound.method)
        except AwsCallError as error:
            message = f"LocalStack does not tell what is deployed: {error}"
            return None, request.reply(gateway_response(503, message, UNREACHABLE, "ServiceUnavailableException"))
        if matched is None:
            return None, request.reply(not_routed())
        if matched.function is None:
            return matched, await self._forward(request.inbound)
        return matched, request.reply(await self._lambda_proxy(matched, matched.function, request))

    async def _lambda_proxy(self, matched: Matched, function: str, request: _Received) -> RestResponse:
        """Invoke the function and answer as API Gateway would; the function outlives the integration's timeout."""
        event = json.dumps(_event(matched, request)).encode()
        caller = f"api:{request.address.api}"
        invoke = asyncio.ensure_future(self._invoker.invoke(function, event, caller=caller, trace=request.trace))
        seconds = (matched.integration.get("timeoutInMillis") or DEFAULT_INTEGRATION_TIMEOUT * 1000) / 1000
        done, _ = await asyncio.wait((invoke,), timeout=seconds)
        if not done:
            return integration_timed_out()
        result = invoke.result()
        if result.error is not None:
            return invoke_rejected(result.cause or result.error.code)
        takes_binary = is_binary(request.inbound.headers.get("Accept"), matched.binary_media_types)
        return proxy_response(result.payload, result.function_error, result.cause, takes_binary=takes_binary)


def _event(matched: Matched, request: _Received) -> dict[str, Any]:
    now = time.time()
    headers = request.inbound.headers
    return proxy_event(
        ProxyRequest(
            api_id=request.address.api,
            stage=request.address.stage,
            deployment_id=matched.deployment,
            account=_ACCOUNT,
            method=request.inbound.method,
            path=request.address.path,
            resource_id=matched.route.resource_id,
            resource_path=matched.route.template,
            path_parameters=matched.parameters,
            query=parse_qsl(request.query, keep_blank_values=True),
            headers=list(headers.items()),
            stage_variables=matched.stage_variables,
            body=request.inbound.body,
            is_binary=is_binary(headers.get("Content-Type"), matched.binary_media_types),
            host=headers.get("Host", ""),
            trace=request.trace,
            request_id=request.id,
            source_ip=request.client,
            epoch=now,
            request_time=_clf(int(now)),
        )
    )


@lru_cache(maxsize=1)  # a thousand requests come in the same second
def _clf(epoch: int) -> str:
    """A time as API Gateway prints it."""
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(epoch))
