"""The way of a request through the gateway: classify, let faults act, execute, journal.

HTTP clients, functions, pollers and the emulator's own calls all take this way; only how they reach it differs.
"""

import base64
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol
from urllib.parse import parse_qs, unquote

from multidict import CIMultiDict

from testbed.chaos.call import AwsError, Call, Effect
from testbed.chaos.schedule import Schedule
from testbed.compute import refusals
from testbed.compute.aws import AwsCaller
from testbed.compute.functions import CALLER as COMPUTE
from testbed.compute.result import InvokeResult
from testbed.gateway.apis.function_urls import FunctionUrlPlane, FunctionUrls, url_address_of
from testbed.gateway.apis.rest_api import RestApiPlane
from testbed.gateway.apis.rest_routes import RestApis, address_of
from testbed.gateway.classify import Target, classify
from testbed.gateway.contents import contents_of
from testbed.gateway.dialects import plain
from testbed.gateway.effects import answer_reply, under
from testbed.gateway.emulator import UNREACHABLE, Emulator, EmulatorUnreachableError
from testbed.gateway.faults import Faults
from testbed.gateway.invokes import Invokes, identity_of_invoke
from testbed.gateway.journal import Journal
from testbed.gateway.limits import ServiceLimits
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.origin import Origin, caller_of, function_name, identity_of_content, stable_body
from testbed.gateway.wire import error_code, error_reply, json_reply
from testbed.trace import HEADER, fresh_trace_header

_PUTS: Final = frozenset({"PutRecord", "PutRecords"})


class Functions(Protocol):
    """The compute plane, as far as the gateway needs it."""

    async def invoke(  # noqa: D102 - documented where it is implemented
        self,
        function: str,
        payload: bytes,
        *,
        caller: str,
        trace: str | None = None,
        identity: str | None = None,
        qualifier: str | None = None,
        invocation_type: str = "RequestResponse",
        client_context: str | None = None,
        effects: tuple[Effect, ...] = (),
    ) -> InvokeResult: ...


class Gateway:
    """Answers every request of a run.

    Args:
        emulator: Where everything goes that is not ours.
        functions: Runs functions.
        journal: Takes a line for each hop.
        clock: Seconds since the start of the traffic.
        aws: Reads what is deployed, past faults and journal.

    Attributes:
        emulator: See above.
        faults: What acts on calls before they are executed.
        invokes: Lets them act on invokes.
        limits: What services refuse when they are overloaded.
        rest_apis: The REST APIs that are deployed.
        rest_api_plane: Answers the requests to them.
        function_urls: The function URLs that are configured.
        streamed_in: How many records each Kinesis stream has taken.
    """

    def __init__(
        self, emulator: Emulator, functions: Functions, journal: Journal, clock: Callable[[], float], aws: AwsCaller
    ) -> None:
        self.emulator = emulator
        self._functions = functions
        self._journal = journal
        self.faults = Faults(journal, clock)
        self.invokes = Invokes(self.faults, journal)
        self.limits = ServiceLimits(aws)
        self.rest_apis = RestApis(aws)
        self.rest_api_plane = RestApiPlane(self.rest_apis, self.faults, self, self._forward, journal)
        self.function_urls = FunctionUrls(aws)
        self._function_url_plane = FunctionUrlPlane(self.function_urls, self.faults, self, journal)
        self.streamed_in: Counter[str] = Counter()

    def arm(self, schedule: Schedule) -> None:
        """Let ``schedule`` decide from now on; every count starts anew."""
        self.faults.arm(schedule)
        self.limits.restart()
        self.rest_api_plane.restart()
        self.streamed_in.clear()

    @property
    def refusing(self) -> "tuple[Faults, RestApiPlane, ServiceLimits]":
        """What throttles calls at the gateway, and counts them as ``throttles``."""
        return self.faults, self.rest_api_plane, self.limits

    async def handle(self, request: Inbound, client: str = "127.0.0.1") -> Reply:
        """Answer one request of an HTTP client at the address ``client``."""
        if address := address_of(request):
            return await self.rest_api_plane.handle(address, request, client)
        if url := url_address_of(request):
            return await self._function_url_plane.handle(url, request, client)
        request, back = plain(request)
        target, caller = classify(request), caller_of(request)
        if target is None or caller == COMPUTE:  # Lambda has a function's code at hand, however S3 is
            return await self._forward(request)
        return await back(await self.aws(target, request, caller))

    async def aws(self, target: Target, request: Inbound, caller: str) -> Reply:
        """Answer one AWS request that ``caller`` makes."""
        started = time.monotonic()
        if target.service == "lambda" and target.operation == "Invoke":
            reply, trace = await self._invoke_request(target, request, caller)
            self._journal_aws(target, caller, reply, started, None, trace)
            return reply
        target = self.limits.named(target, request)
        origin = self.faults.origin(request.headers.get(HEADER))
        call = self.faults.call(target, caller, origin, _identity(target, request, origin))
        contents: Mapping[str, int] = {}

        async def execute(effects: tuple[Effect, ...]) -> Reply:
            nonlocal contents
            reply = await under(effects, target, request, self._execute)
            contents = await contents_of(target, request, reply)
            return reply

        reply = await self.faults.around(
            call, execute, lambda answer, cause: answer_reply(answer, target, request, cause)
        )
        if reply.error and target.operation not in _PUTS:
            contents = {}  # nobody has seen what was read
        self._journal_aws(target, caller, reply, started, call, origin.trace, contents)
        return reply

    async def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        caller: str,
        trace: str | None = None,
        identity: str | None = None,
        qualifier: str | None = None,
        invocation_type: str = "RequestResponse",
        client_context: str | None = None,
    ) -> InvokeResult:
        """Invoke a function under chaos: the one way to a function for APIs, pollers and clients alike."""
        origin = self.faults.origin(trace)
        target = Target("lambda", "Invoke", function_name(function))
        stable = identity_of_invoke(f"lambda.Invoke:{target.resource}", origin, identity, payload)

        async def run(effects: tuple[Effect, ...]) -> InvokeResult:
            return await self._functions.invoke(
                function, payload, caller=caller, trace=trace or fresh_trace_header(), identity=identity,
                qualifier=qualifier, invocation_type=invocation_type, client_context=client_context, effects=effects,
            )  # fmt: skip

        runs = invocation_type == "RequestResponse"
        call = self.faults.call(target, caller, origin, stable, runs=runs, payload=payload)
        return await self.invokes.under_faults(call, run, caller=caller, trace=origin.trace)

    async def _execute(self, request: Inbound, target: Target) -> Reply:
        reply = await self.limits.execute(target, request, self._forward)
        if target.operation in _PUTS and (contents := await contents_of(target, request, reply)):
            self.streamed_in[target.resource] += contents["records"]
        return reply

    async def _invoke_request(self, target: Target, request: Inbound, caller: str) -> tuple[Reply, str | None]:
        query = parse_qs(request.target.partition("?")[2])
        function = unquote(request.path.split("/")[3])
        header = request.headers.get(HEADER) or fresh_trace_header()
        try:
            client_context = _client_context(request.headers.get("X-Amz-Client-Context"))
        except ValueError:
            refused = refusals.invalid_client_context()
            return answer_reply(refused, target, request, refused.code), self.faults.origin(header).trace
        result = await self.invoke(
            function, request.body, caller=caller, trace=header,
            qualifier=query.get("Qualifier", [None])[0],
            invocation_type=request.headers.get("X-Amz-Invocation-Type", "RequestResponse"),
            client_context=client_context,
        )  # fmt: skip
        trace = self.faults.origin(header).trace
        if result.error is not None:
            return answer_reply(result.error, target, request, result.cause), trace
        reply = Reply(result.status, CIMultiDict({"Content-Type": "application/json"}), result.payload)
        reply.cause = result.cause
        reply.headers["x-amzn-RequestId"] = result.request_id
        reply.headers["X-Amz-Executed-Version"] = result.executed_version
        reply.headers["X-Amzn-Trace-Id"] = header
        if result.function_error:
            reply.headers["X-Amz-Function-Error"] = result.function_error
        if request.headers.get("X-Amz-Log-Type") == "Tail":
            reply.headers["X-Amz-Log-Result"] = base64.b64encode(result.log_tail).decode()
        return reply, trace

    async def _forward(self, request: Inbound, target: Target | None = None) -> Reply:
        try:
            reply = await self.emulator.forward(request)
        except EmulatorUnreachableError as error:
            unreachable = AwsError("ServiceUnavailable", 503, f"LocalStack does not answer: {error}")
            if target is not None:
                return error_reply(unreachable, target, request, cause=UNREACHABLE)
            reply = json_reply(unreachable.status, {"message": unreachable.message})
            reply.error, reply.cause = unreachable.code, UNREACHABLE
            return reply
        if reply.status >= 400:  # noqa: PLR2004 - HTTP's errors begin here
            reply.error = error_code(reply)
        return reply

    def _journal_aws(  # noqa: PLR0917 - one line of the journal has that many facts
        self,
        target: Target,
        caller: str,
        reply: Reply,
        started: float,
        call: Call | None,
        trace: str | None,
        contents: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._journal.record(
            "aws", service=target.service, operation=target.operation, resource=target.resource, caller=caller,
            status=reply.status, ms=round((time.monotonic() - started) * 1000, 3), trace=trace, error=reply.error,
            cause=reply.cause, identity=call.identity if call else None, attempt=call.attempt if call else None,
            **contents,
        )  # fmt: skip


def _identity(target: Target, request: Inbound, origin: Origin) -> str:
    """What stays the same over runs: the order that caused the request, or else the request's content."""
    kind = f"{target.service}.{target.operation}:{target.resource}"
    if origin.planned:
        return f"{kind}:{origin.trace}"
    return identity_of_content(kind, request.method.encode(), request.target.encode(), stable_body(request))


def _client_context(header: str | None) -> str | None:
    """What a client says of itself, as JSON in one line (AWS Lambda API reference, Invoke, ClientContext).

    Raises:
        ValueError: It is not a JSON object in base64.
    """
    if header is None:
        return None
    document = json.loads(base64.b64decode(header, validate=True))
    if not isinstance(document, dict):
        raise ValueError("no object")  # noqa: TRY004 - as where it is no JSON
    return json.dumps(document)
