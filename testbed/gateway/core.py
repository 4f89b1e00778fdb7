"""The way of a request through the gateway: classify, decide on faults, execute, journal.

HTTP clients, functions, pollers and the emulator's own calls all take this way; only how they reach it differs.
"""

import asyncio
import base64
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, quote, unquote

from multidict import CIMultiDict

from testbed.chaos.call import AwsError, Call, Injection
from testbed.chaos.schedule import Schedule
from testbed.compute.aws import AwsCaller
from testbed.compute.result import InvokeResult
from testbed.errors import UsageError
from testbed.gateway.classify import Target, classify
from testbed.gateway.emulator import UNREACHABLE, Emulator, EmulatorUnreachableError
from testbed.gateway.journal import Journal
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.rest_api import Address, RestApis, address_of, run_lambda_proxy
from testbed.gateway.wire import error_reply
from testbed.semantics.rest_api import RestResponse, not_routed, throttled_by_gateway
from testbed.trace import HEADER, fresh_trace_header, parse_trace

CALLER_HEADER: Final = "x-testbed-caller"
_APP_ID: Final = " app/"
_DEPLOYING: Final = frozenset({"CreateFunction", "UpdateFunctionConfiguration"})


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
    ) -> InvokeResult: ...

    def check_supported(self, configuration: Mapping[str, Any]) -> None: ...  # noqa: D102 - the same


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from.

    Attributes:
        trace: Id of its trace; None where it has none.
        at: When it belongs into the run, in seconds after the start of the traffic.
        planned: Whether the trace is that of a planned order, and so the same in every run.
    """

    trace: str | None
    at: float
    planned: bool

    def identity(self, kind: str, *content: bytes) -> str:
        """What stays the same over runs: the order that caused the request, or else the request's content."""
        return f"{kind}:{self.trace if self.planned else _digest(*content)}"


class Gateway:
    """Answers every request of a run.

    Args:
        emulator: Where everything goes that is not ours.
        functions: Runs functions.
        journal: Takes a line for each hop.
        clock: Seconds since the start of the traffic.
    """

    def __init__(self, emulator: Emulator, functions: Functions, journal: Journal, clock: Callable[[], float]) -> None:
        self._emulator = emulator
        self._functions = functions
        self._journal = journal
        self._clock = clock
        self._schedule = Schedule((), 0)
        self._attempts: Counter[str] = Counter()
        self.rest_apis: RestApis
        self.throttles = 0
        self.streamed_in: Counter[str] = Counter()

    def use_apis_of(self, aws: AwsCaller) -> None:
        """Read REST APIs through ``aws``."""
        self.rest_apis = RestApis(aws)

    def arm(self, schedule: Schedule) -> None:
        """Let ``schedule`` decide from now on; every count starts anew."""
        self._schedule = schedule
        self._attempts.clear()
        self.streamed_in.clear()
        self.throttles = 0

    async def handle(self, request: Inbound, client: str = "127.0.0.1") -> Reply:
        """Answer one request of an HTTP client at the address ``client``."""
        if address := address_of(request):
            return await self._rest_api(address, request, client)
        target = classify(request)
        if target is None:
            return await self._forward(request)
        return await self.aws(target, request, caller_of(request))

    async def aws(self, target: Target, request: Inbound, caller: str) -> Reply:
        """Answer one AWS request that ``caller`` makes."""
        started = time.monotonic()
        if target.service == "lambda" and target.operation == "Invoke":
            reply, trace = await self._invoke_request(target, request, caller)
            self._journal_aws(target, caller, reply, started, None, trace)
            return reply
        origin = self._origin(request.headers.get(HEADER))
        kind = f"{target.service}.{target.operation}:{target.resource}"
        content = (request.method.encode(), request.target.encode(), _without_host(request))
        call = self._call(target, caller, origin, origin.identity(kind, *content))
        error = await self.suffer(call)
        if error is not None:
            reply = error_reply(error, target, request, cause="throttle" if _is_throttle(error) else "error")
        elif (refusal := self._refusal(target, request)) is not None:
            reply = error_reply(refusal, target, request)
        else:
            reply = await self._forward(request, target)
        self._count_stream(target, request, reply)
        self._journal_aws(target, caller, reply, started, call, origin.trace)
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
        origin = self._origin(trace)
        name = function_name(function)
        kind = f"lambda.Invoke:{name}"
        stable = f"{kind}:{identity}" if identity else origin.identity(kind, payload)
        error = await self.suffer(self._call(Target("lambda", "Invoke", name), caller, origin, stable))
        if error is not None:
            cause = "throttle" if _is_throttle(error) else "error"
            self._journal.record(
                "lambda", function=name, caller=caller, status=error.status, trace=origin.trace, cause=cause,
                reason=error.members.get("Reason"), cold=False, ms=0.0,
            )  # fmt: skip
            result = InvokeResult(error.status, b"", None, error, cause)
        else:
            result = await self._functions.invoke(
                function, payload, caller=caller, trace=trace or fresh_trace_header(), identity=identity,
                qualifier=qualifier, invocation_type=invocation_type, client_context=client_context,
            )  # fmt: skip
        if result.cause == "throttle":
            self.throttles += 1
        return result

    async def suffer(self, call: Call) -> AwsError | None:
        """Let the faults that hit ``call`` act before it: wait as they say, return the error that they answer."""
        injection = self._schedule.decide(call)
        if injection is None:
            return None
        if injection.delay:
            await asyncio.sleep(injection.delay)
        if injection.error is not None and call.service != "lambda" and _is_throttle(injection.error):
            self.throttles += 1
        return injection.error

    def journal_fault(self, call: Call, injection: Injection) -> None:
        """Write down a fault that fired."""
        self._journal.record(
            "fault", fault=injection.fault, service=call.service, operation=call.operation, resource=call.resource,
            caller=call.caller, identity=call.identity, attempt=call.attempt, at=round(call.at, 4),
            delay_ms=round(injection.delay * 1000, 3), error=injection.error.code if injection.error else None,
        )  # fmt: skip

    def decide(self, call: Call) -> Injection | None:
        """What the schedule does to a call that takes another way, such as one on the Postgres wire."""
        return self._schedule.decide(call)

    async def _rest_api(self, address: Address, request: Inbound, client: str) -> Reply:
        started = time.monotonic()
        header = request.headers.get(HEADER) or fresh_trace_header()
        origin = self._origin(header)
        target = Target("execute-api", request.method, address.api)
        identity = origin.identity(f"execute-api.{request.method}", address.path.encode(), request.body)
        matched = None
        if await self.suffer(self._call(target, "client", origin, identity)) is not None:
            answer = throttled_by_gateway()
        elif (matched := await self.rest_apis.match(address, request.method)) is None:
            answer = not_routed()
        elif matched.function is None:
            return await self._forward(request)
        else:
            answer = await run_lambda_proxy(matched, request, self, header, client)
        self._journal.record(
            "api", method=request.method, path=unquote(address.path), status=answer.status,
            function=function_name(matched.function) if matched and matched.function else None,
            ms=_ms_since(started), trace=origin.trace, cause=answer.cause,
        )  # fmt: skip
        return _http(answer, header)

    async def _invoke_request(self, target: Target, request: Inbound, caller: str) -> tuple[Reply, str | None]:
        query = parse_qs(request.target.partition("?")[2])
        function = unquote(request.path.split("/")[3])
        header = request.headers.get(HEADER) or fresh_trace_header()
        result = await self.invoke(
            function, request.body, caller=caller, trace=header,
            qualifier=query.get("Qualifier", [None])[0],
            invocation_type=request.headers.get("X-Amz-Invocation-Type", "RequestResponse"),
            client_context=request.headers.get("X-Amz-Client-Context"),
        )  # fmt: skip
        trace = self._origin(header).trace
        if result.error is not None:
            return error_reply(result.error, target, request, result.cause), trace
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

    def _refusal(self, target: Target, request: Inbound) -> AwsError | None:
        """Refuse at deploy time what could not run later."""
        if target.service != "lambda" or target.operation not in _DEPLOYING:
            return None
        try:
            self._functions.check_supported(json.loads(request.body) | {"FunctionName": target.resource})
        except UsageError as error:
            return AwsError("InvalidParameterValueException", 400, f"{error.message}; {error.hint}", {"Type": "User"})
        except ValueError:
            return None  # not JSON: the emulator says so better
        return None

    async def _forward(self, request: Inbound, target: Target | None = None) -> Reply:
        try:
            reply = await self._emulator.forward(request)
        except EmulatorUnreachableError as error:
            unreachable = AwsError("ServiceUnavailable", 503, f"LocalStack does not answer: {error}")
            if target is not None:
                return error_reply(unreachable, target, request, cause=UNREACHABLE)
            return Reply(503, CIMultiDict({"Content-Type": "text/plain"}), unreachable.message.encode())
        if reply.status >= 400:  # noqa: PLR2004 - HTTP's errors begin here
            reply.error = reply.headers.get("x-amzn-errortype", "").partition(":")[0] or str(reply.status)
        return reply

    def _origin(self, header: str | None) -> Origin:
        trace, planned = parse_trace(header) or (None, None)
        return Origin(trace, self._clock() if planned is None else planned, planned is not None)

    def _call(self, target: Target, caller: str, origin: Origin, identity: str) -> Call:
        if not self._schedule.armed:
            return Call(target.service, target.operation, target.resource, caller, identity, 1, origin.at)
        self._attempts[identity] += 1
        attempt = self._attempts[identity]
        return Call(target.service, target.operation, target.resource, caller, identity, attempt, origin.at)

    def _count_stream(self, target: Target, request: Inbound, reply: Reply) -> None:
        """Count the records that a stream has taken: how far its consumers are behind is not told by the stream."""
        if target.service != "kinesis" or reply.error is not None:
            return
        if target.operation == "PutRecord":
            self.streamed_in[target.resource] += 1
        elif target.operation == "PutRecords":
            taken = len(json.loads(request.body)["Records"]) - json.loads(reply.body).get("FailedRecordCount", 0)
            self.streamed_in[target.resource] += taken

    def _journal_aws(  # noqa: PLR0917 - one line of the journal has that many facts
        self, target: Target, caller: str, reply: Reply, started: float, call: Call | None, trace: str | None
    ) -> None:
        self._journal.record(
            "aws", service=target.service, operation=target.operation, resource=target.resource, caller=caller,
            status=reply.status, ms=_ms_since(started), trace=trace, error=reply.error, cause=reply.cause,
            identity=call.identity if call else None, attempt=call.attempt if call else None,
        )  # fmt: skip


def _ms_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)


def caller_of(request: Inbound) -> str:
    """Who sends an HTTP request: functions say so in the application id that every AWS SDK puts into its user agent."""
    if caller := request.headers.get(CALLER_HEADER):
        return caller
    agent = request.headers.get("User-Agent", "")
    if "exec-env/AWS_Lambda" in agent and _APP_ID in agent:
        return "function:" + agent.partition(_APP_ID)[2].partition(" ")[0]
    return "client"


def function_name(function: str) -> str:
    """The bare name in a function name, an ARN or a partial ARN, with or without a qualifier."""
    parts = unquote(function).split(":")
    if "function" in parts[:-1]:
        return parts[parts.index("function") + 1]
    return parts[0]


def _without_host(request: Inbound) -> bytes:
    """The body without the address of this very gateway, which queue URLs carry and which differs from run to run."""
    host = request.headers.get("Host", "")
    return request.body.replace(host.encode(), b"").replace(quote(host).encode(), b"") if host else request.body


def _digest(*parts: bytes) -> str:
    return hashlib.blake2b(b"\0".join(parts), digest_size=12).hexdigest()


def _is_throttle(error: AwsError) -> bool:
    return error.status == 429 or "Thrott" in error.code or "Exceeded" in error.code or error.code == "SlowDown"  # noqa: PLR2004 - HTTP's "too many requests"


def _http(answer: RestResponse, trace: str) -> Reply:
    reply = Reply(answer.status, CIMultiDict(answer.headers), answer.body, cause=answer.cause)
    reply.headers.setdefault("x-amzn-RequestId", _digest(trace.encode()))
    reply.headers["X-Amzn-Trace-Id"] = trace
    return reply
