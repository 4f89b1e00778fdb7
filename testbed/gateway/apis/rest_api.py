"""The data plane of REST APIs: Lambda proxy integrations run by our own compute plane, all others by the emulator."""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from multidict import CIMultiDict

from testbed.chaos.call import Answer, AwsError, HttpAnswer
from testbed.compute.aws import AwsCallError
from testbed.compute.result import Invoker
from testbed.gateway.apis.api_faults import api_call
from testbed.gateway.apis.rest_routes import Address, Matched, RestApis
from testbed.gateway.emulator import UNREACHABLE
from testbed.gateway.faults import Faults
from testbed.gateway.journal import Journal
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.origin import function_name
from testbed.semantics.rest_api import (
    DEFAULT_INTEGRATION_TIMEOUT,
    MAX_BODY_BYTES,
    ProxyRequest,
    RestResponse,
    gateway_response,
    integration_failed,
    integration_timed_out,
    invoke_rejected,
    is_binary,
    not_routed,
    proxy_event,
    proxy_response,
    quota_exceeded,
    request_too_large,
    throttled_by_gateway,
    without_valid_key,
)
from testbed.semantics.rest_api_limits import Limit, Quota, Refusal, RestApiLimits, RestApiProfile
from testbed.trace import HEADER, fresh_trace_header

_ACCOUNT: Final = "000000000000"
_KEY_HEADER: Final = "x-api-key"


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


@dataclass(frozen=True, slots=True)
class _Served:
    """What became of a request.

    Attributes:
        reply: What the client gets.
        matched: What it was for; None where nothing serves it.
        integration_ms: How long the integration took; None where it was not reached.
        by_fault: Whether a fault has answered.
    """

    reply: Reply
    matched: Matched | None = None
    integration_ms: float | None = None
    by_fault: bool = False

    @property
    def refused(self) -> bool:
        """Whether the client is told of an error."""
        return self.reply.refused


class RestApiPlane:
    """Answers the requests to REST APIs, whatever their integration, as many as their limits let through.

    Args:
        apis: What is deployed.
        faults: Act before a request is routed.
        invoker: The way to a function.
        forward: The way to the emulator.
        journal: Takes a line for each request.

    Attributes:
        throttles: Requests that a limit has refused since `restart`.
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
        self._profile = RestApiProfile()
        self.restart()

    def use(self, profile: RestApiProfile) -> None:
        """Limit requests by other numbers from now on."""
        self._profile = profile
        self.restart()

    def restart(self) -> None:
        """Let every limit begin anew, and the count of what they refused."""
        self._limits = RestApiLimits(self._profile)
        self.throttles = 0

    async def handle(self, address: Address, inbound: Inbound, client: str) -> Reply:
        """Answer a request that a client at the IP address ``client`` sent to ``address``."""
        started = time.monotonic()
        request = _Received(address, inbound, client, inbound.headers.get(HEADER) or fresh_trace_header())
        origin = self._faults.origin(request.trace)
        served = await self._faults.around(
            api_call(self._faults, address.api, address.path, inbound, origin),
            lambda _: self._served(request),
            lambda answer, cause: _Served(_injected(request, answer, cause), by_fault=True),
        )
        reply = served.reply
        matched = await self._meant(request) if served.by_fault else served.matched
        self._journal.record(
            "api", api=matched.api_name if matched else None, api_id=address.api, stage=address.stage,
            resource=matched.route.template if matched else None, method=inbound.method, path=unquote(address.path),
            status=reply.status, function=function_name(matched.function) if matched and matched.function else None,
            ms=_milliseconds_since(started), integration_ms=served.integration_ms, trace=origin.trace,
            cause=reply.cause,
        )  # fmt: skip
        return reply

    async def _meant(self, request: _Received) -> Matched | None:
        """What a request was for that a fault has answered."""
        with suppress(AwsCallError):
            return await self._apis.match(request.address, request.inbound.method)
        return None

    async def _served(self, request: _Received) -> _Served:
        if len(request.inbound.body) > MAX_BODY_BYTES:
            return _Served(request.reply(request_too_large()))
        try:
            matched = await self._apis.match(request.address, request.inbound.method)
            refusal = await self._refusal(matched, request)
        except AwsCallError as error:
            message = f"LocalStack does not tell what is deployed: {error}"
            answer = gateway_response(503, message, UNREACHABLE, "ServiceUnavailableException")
            return _Served(request.reply(answer))
        if refusal is not None:
            return _Served(request.reply(refusal), matched)
        if matched is None:
            return _Served(request.reply(not_routed()))
        started = time.monotonic()
        reply = await self._integrated(matched, request)
        return _Served(reply, matched, _milliseconds_since(started))

    async def _integrated(self, matched: Matched, request: _Received) -> Reply:
        """What the integration answers, or that it was too slow; then it is carried on to its end all the same."""
        seconds = (matched.method.integration.get("timeoutInMillis") or DEFAULT_INTEGRATION_TIMEOUT * 1000) / 1000
        if matched.function is None:
            work = self._by_emulator(request.inbound, time.monotonic() + seconds)
        else:
            work = self._lambda_proxy(matched, matched.function, request)
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait((task,), timeout=seconds)
        return task.result() if done else request.reply(integration_timed_out())

    async def _refusal(self, matched: Matched | None, request: _Received) -> RestResponse | None:
        """Why ``request`` is not served; the limits of its client's usage plan go before those of its method."""
        limits: tuple[Limit, ...] = ()
        quota: Quota | None = None
        if matched is not None:
            limits = matched.limits
            if matched.method.needs_key:
                address, key = request.address, request.inbound.headers.get(_KEY_HEADER)
                client = await self._apis.usage_plans.client(address.api, address.stage, key)
                if client is None:
                    return without_valid_key()
                limits = (*client.limits_of(matched.route.template, matched.method.name), *limits)
                quota = client.quota
        refusal = self._limits.admit(limits, quota, now=time.monotonic(), epoch=time.time())
        if refusal is None:
            return None
        self.throttles += 1
        return throttled_by_gateway() if refusal is Refusal.THROTTLED else quota_exceeded()

    async def _by_emulator(self, request: Inbound, deadline: float) -> Reply:
        """The whole answer of any integration but Lambda proxy; after ``deadline`` nothing is sent any more."""

        def is_abandoned() -> bool:
            return time.monotonic() > deadline or request.abandoned()

        reply = await self._forward(replace(request, abandoned=is_abandoned))
        await reply.whole()
        return reply

    async def _lambda_proxy(self, matched: Matched, function: str, request: _Received) -> Reply:
        """Invoke the function and answer as API Gateway would."""
        event = json.dumps(_event(matched, request)).encode()
        caller = f"api:{request.address.api}"
        result = await self._invoker.invoke(function, event, caller=caller, trace=request.trace)
        if result.error is not None:
            cause = result.cause or result.error.code
            return request.reply(invoke_rejected(cause) if result.status else integration_failed(cause))
        takes_binary = is_binary(request.inbound.headers.get("Accept"), matched.binary_media_types)
        answer = proxy_response(result.payload, result.function_error, result.cause, takes_binary=takes_binary)
        return request.reply(answer)


def _injected(request: _Received, answer: Answer, cause: str) -> Reply:
    """What a fault answers in place of the API; a reply without a status is a broken connection."""
    if isinstance(answer, HttpAnswer):
        headers = CIMultiDict({"Content-Type": answer.content_type})
        return request.reply(RestResponse(answer.status, list(headers.items()), answer.body, cause))
    if isinstance(answer, AwsError) and answer.status:
        return request.reply(gateway_response(answer.status, answer.message, cause, answer.code))
    return Reply(0, cause=cause)


def _milliseconds_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)


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
