"""Function URLs: which are configured, and the requests to them, which our own compute plane runs.

A URL has two forms: the host of AWS's, ``<url-id>.lambda-url.<region>.<anything>``, which needs a name that resolves,
and the path ``/_aws/lambda-url/<url-id>/...`` on the gateway's own address, which needs none. The second is what
LocalStack tells as ``FunctionUrl``, by the plugin.
"""

import asyncio
import json
import re
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from multidict import CIMultiDict

from testbed.chaos.call import Answer, AwsError, HttpAnswer
from testbed.chaos.faults.throttle import throttling_error
from testbed.compute.aws import AwsCaller, AwsCallError
from testbed.compute.kept import kept
from testbed.compute.result import Invoker, InvokeResult
from testbed.gateway.apis.api_faults import api_call
from testbed.gateway.emulator import UNREACHABLE
from testbed.gateway.faults import Faults
from testbed.gateway.journal import Journal
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.origin import function_name
from testbed.semantics.function_url import Cors, UrlRequest, url_event, url_refused, url_response
from testbed.semantics.rest_api import RestResponse
from testbed.trace import HEADER, fresh_trace_header

CALLER: Final = "testbed"
_ACCOUNT: Final = "000000000000"
_HOST: Final = re.compile(r"(?P<id>[a-z0-9-]+)\.lambda-url\.", re.IGNORECASE)
_PATH: Final = re.compile(r"/_aws/lambda-url/(?P<id>[^/]+)(?P<path>/.*|)")
_THROTTLED: Final = "TooManyRequestsException"
_PASSED_ON: Final = frozenset({_THROTTLED, "RequestTooLargeException"})
_BAD_GATEWAY: Final = 502


@dataclass(frozen=True, slots=True)
class UrlAddress:
    """Which function URL and path a request means; the path is still percent-encoded."""

    url_id: str
    path: str


def url_address_of(request: Inbound) -> UrlAddress | None:
    """The function URL that ``request`` is for, in either form; None if it is not one."""
    if found := _PATH.fullmatch(request.path):
        return UrlAddress(found["id"].lower(), found["path"] or "/")
    if host := _HOST.match(request.headers.get("Host", "")):
        return UrlAddress(host["id"].lower(), request.path)
    return None


@dataclass(frozen=True, slots=True)
class FunctionUrl:
    """A function URL as it is configured.

    Attributes:
        function: ARN of the function, with the alias that the URL is for.
        auth_type: ``"NONE"`` or ``"AWS_IAM"``.
        cors: Its CORS settings; None where it has none.
    """

    function: str
    auth_type: str
    cors: Cors | None


class FunctionUrls:
    """The function URLs that are configured, by id; read once, and kept until the emulator says that they changed.

    Args:
        aws: Reads them.
    """

    def __init__(self, aws: AwsCaller) -> None:
        self._aws = aws
        self._known: dict[None, asyncio.Task[dict[str, FunctionUrl]]] = {}

    def forget(self) -> None:
        """They may have changed."""
        self._known.clear()

    async def get(self, url_id: str) -> FunctionUrl | None:
        """The URL of an id; None where there is none.

        Raises:
            AwsCallError: The emulator did not answer.
        """
        return (await kept(self._known, None, self._read)).get(url_id)

    async def _read(self) -> dict[str, FunctionUrl]:
        urls: dict[str, FunctionUrl] = {}
        for function in await self._all("ListFunctions", {}, "Functions"):
            name = {"FunctionName": function["FunctionName"]}
            for config in await self._all("ListFunctionUrlConfigs", name, "FunctionUrlConfigs"):
                if found := _url_id(config["FunctionUrl"]):
                    urls[found] = FunctionUrl(config["FunctionArn"], config["AuthType"], _cors(config.get("Cors")))
        return urls

    async def _all(self, operation: str, params: dict[str, Any], member: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        while True:
            answer = await self._aws.call("lambda", operation, params, caller=CALLER)
            items += answer.get(member) or ()
            if not answer.get("NextMarker"):
                return items
            params = params | {"Marker": answer["NextMarker"]}


def _url_id(url: str) -> str | None:
    """The id in a ``FunctionUrl`` of either form."""
    host, slash, path = url.partition("://")[2].partition("/")
    address = url_address_of(Inbound("GET", slash + path, CIMultiDict({"Host": host})))
    return address.url_id if address else None


def _cors(settings: Mapping[str, Any] | None) -> Cors | None:
    if not settings:
        return None
    return Cors(
        allow_origins=settings.get("AllowOrigins") or (),
        allow_methods=settings.get("AllowMethods") or (),
        allow_headers=settings.get("AllowHeaders") or (),
        expose_headers=settings.get("ExposeHeaders") or (),
        allow_credentials=bool(settings.get("AllowCredentials")),
        max_age=settings.get("MaxAge"),
    )


@dataclass(frozen=True, slots=True)
class _Served:
    """What became of a request.

    Attributes:
        answer: The answer; status 0 breaks the connection.
        url: The URL that it was for, where that is known.
        result: The invoke.
        by_fault: Whether a fault has answered.
    """

    answer: RestResponse
    url: FunctionUrl | None = None
    result: InvokeResult | None = None
    by_fault: bool = False

    @property
    def refused(self) -> bool:
        """Whether the client is told of an error."""
        return self.answer.status >= 400  # noqa: PLR2004 - HTTP's errors begin here


class FunctionUrlPlane:
    """Answers the requests to function URLs. Signatures are not checked, whatever the URL's ``AuthType``.

    Args:
        urls: What is configured.
        faults: Act before a request reaches its URL: they know it by the service ``execute-api`` and the URL's id.
        invoker: The way to a function.
        journal: Takes a line for each request.
    """

    def __init__(self, urls: FunctionUrls, faults: Faults, invoker: Invoker, journal: Journal) -> None:
        self._urls = urls
        self._faults = faults
        self._invoker = invoker
        self._journal = journal

    async def handle(self, address: UrlAddress, inbound: Inbound, client: str) -> Reply:
        """Answer a request that a client at the IP address ``client`` sent to ``address``."""
        started = time.monotonic()
        trace = inbound.headers.get(HEADER) or fresh_trace_header()
        request_id = str(uuid.uuid4())
        origin = self._faults.origin(trace)
        served = await self._faults.around(
            api_call(self._faults, address.url_id, address.path, inbound, origin),
            lambda _: self._served(address, inbound, client, trace, request_id),
            lambda answer, cause: _Served(_injected(answer, cause), by_fault=True),
        )
        answer, result = served.answer, served.result
        url = await self._meant(address) if served.by_fault else served.url
        self._journal.record(
            "url", url=address.url_id, function=function_name(url.function) if url else None,
            qualifier=_alias(url.function) if url else None, version=result.executed_version if result else None,
            method=inbound.method, path=address.path, status=answer.status,
            ms=round((time.monotonic() - started) * 1000, 3), trace=origin.trace, cause=answer.cause,
        )  # fmt: skip
        reply = Reply(answer.status, CIMultiDict(answer.headers), answer.body, cause=answer.cause)
        reply.headers.setdefault("x-amzn-RequestId", request_id)
        reply.headers[HEADER] = trace
        if url and url.cors:
            preflight = url.cors.is_preflight(inbound.method, inbound.headers)
            for name, value in url.cors.headers(inbound.headers.get("Origin"), preflight=preflight):
                reply.headers.add(name, value)
        return reply

    async def _meant(self, address: UrlAddress) -> FunctionUrl | None:
        """What a request was for that a fault has answered."""
        with suppress(AwsCallError):
            return await self._urls.get(address.url_id)
        return None

    async def _served(self, address: UrlAddress, inbound: Inbound, client: str, trace: str, request_id: str) -> _Served:
        try:
            url = await self._urls.get(address.url_id)
        except AwsCallError as error:
            message = {"Message": f"LocalStack does not tell what is deployed: {error}"}
            return _Served(url_refused(503, "ServiceUnavailableException", message, UNREACHABLE))
        if url is None:
            return _Served(url_refused(403, "AccessDeniedException", {"Message": None}, "no function URL"))
        if url.cors and url.cors.is_preflight(inbound.method, inbound.headers):
            return _Served(RestResponse(200), url)
        event = url_event(
            UrlRequest(
                url_id=address.url_id,
                account=_ACCOUNT,
                auth_type=url.auth_type,
                method=inbound.method,
                path=address.path,
                query=inbound.target.partition("?")[2],
                headers=list(inbound.headers.items()),
                body=inbound.body,
                host=inbound.headers.get("Host", ""),
                trace=trace,
                request_id=request_id,
                source_ip=client,
                epoch=time.time(),
            )
        )
        caller = f"url:{function_name(url.function)}"
        result = await self._invoker.invoke(url.function, json.dumps(event).encode(), caller=caller, trace=trace)
        if result.error is not None:
            return _Served(_rejected(result.error, result.cause), url, result)
        return _Served(url_response(result.payload, result.function_error, result.cause), url, result)


def _injected(answer: Answer, cause: str) -> RestResponse:
    """What a fault answers in place of the URL: a throttle is told as Lambda does, all else as its own refusals."""
    if isinstance(answer, HttpAnswer):
        return RestResponse(answer.status, (("Content-Type", answer.content_type),), answer.body, cause)
    if not isinstance(answer, AwsError) or not answer.status:
        return RestResponse(0, cause=cause)
    if answer.code == _THROTTLED:
        return _rejected(throttling_error("lambda", "Invoke", ""), cause)
    if answer.status == _BAD_GATEWAY:
        return url_response(b"", "Unhandled", cause)
    return url_refused(answer.status, answer.code, {"Message": answer.message}, cause)


def _rejected(error: AwsError, cause: str | None) -> RestResponse:
    """An invoke that Lambda rejected: throttles and what is too large as they are, the rest is a 502 (UNCONFIRMED)."""
    if error.code in _PASSED_ON:
        return url_refused(error.status, error.code, {"message": error.message, **error.members}, cause or error.code)
    return url_response(b"", "Unhandled", cause or error.code)


def _alias(arn: str) -> str:
    """The alias in a function's ARN; ``"$LATEST"`` where there is none."""
    parts = arn.split(":")
    return parts[7] if len(parts) > 7 else "$LATEST"  # noqa: PLR2004 - arn:aws:lambda:region:account:function:name:alias
