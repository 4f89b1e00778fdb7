"""The client of the open model: every request leaves at its planned time, whatever happened before."""

import asyncio
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import aiohttp

from testbed.ledger.history import Attempt, Outcome
from testbed.load.orders import Request
from testbed.printable import printable
from testbed.trace import HEADER, trace_header

_UNDECIDED: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
_LARGE: Final = 2**20  # bytes: aiohttp warns of more at once
_LOST_ON_THE_WAY: Final = (
    TimeoutError,
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    aiohttp.ClientResponseError,
)


def classify(status: int) -> Outcome:
    """What a client may conclude from the HTTP status of a REST API.

    2xx is acknowledged. 502 and 504 are unknown: the function failed or was too slow, yet it may have done its work
    before (Amazon API Gateway developer guide: 502 for a Lambda function error or a malformed answer, 504 for an
    integration that failed or exceeded its timeout, while the function runs on). Every other status is refused.
    """
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Outcome.ACKNOWLEDGED
    return Outcome.UNKNOWN if status in _UNDECIDED else Outcome.REFUSED


@dataclass(slots=True)
class LoadSummary:
    """The load so far; the same object grows while the load runs.

    Attributes:
        planned: Requests in the plan.
        acknowledged: Attempts with this outcome, so far.
        refused: The same.
        unknown: The same.
        unsent: The same: the connection was refused, or too many were in flight.
        in_flight: Requests that wait for their answer now.
        max_lag: Seconds by which the latest request left after its planned time: whether the load generator kept up.
    """

    planned: int
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    unsent: int = 0
    in_flight: int = 0
    max_lag: float = 0.0

    @property
    def sent(self) -> int:
        """Requests that have left, answered or not."""
        return self.acknowledged + self.refused + self.unknown + self.in_flight

    def count(self, outcome: Outcome) -> None:
        """Count one attempt whose outcome is known."""
        setattr(self, outcome.value, getattr(self, outcome.value) + 1)


async def run_load(
    plan: Sequence[Request],
    *,
    architecture: str,
    base_url: str,
    timeout: float,  # noqa: ASYNC109 - of each request, not of this function
    max_in_flight: int,
    record: Callable[[Attempt], None],
    progress: Callable[[LoadSummary], None] = lambda _: None,
    start: float | None = None,
) -> LoadSummary:
    """Send every request of the plan at its planned time, and record one attempt for each.

    There is no retry and no redirect: one request, one attempt. When this is cancelled, what is in flight is recorded
    as unknown; what was not sent yet is not recorded.

    Args:
        plan: Requests in the order of their planned times.
        architecture: Name for the attempts.
        base_url: What comes before each `Request.url_path`.
        timeout: Seconds after which a client gives up, from the time of sending.
        max_in_flight: How many requests may wait for their answer at once; those beyond it are unsent. It bounds
            sockets and memory, it is not meant to be reached.
        record: Takes each attempt as soon as its outcome is known; what it raises ends the load.
        progress: Called after each attempt with the summary so far.
        start: The `time.monotonic` of second 0 of the traffic; now, when None.
    """
    sender = _Sender(
        architecture=architecture,
        base_url=base_url.rstrip("/"),
        max_in_flight=max_in_flight,
        record=record,
        progress=progress,
        start=time.monotonic() if start is None else start,
        summary=LoadSummary(planned=len(plan)),
    )
    async with _session(timeout) as session:
        try:
            await sender.send_all(session, plan)
        except ExceptionGroup as group:  # of `record`: the first failure tells it all
            raise group.exceptions[0] from None
    return sender.summary


def _session(timeout: float) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),  # the cap on requests in flight is the limit
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=timeout),
    )
    # aiohttp repeats an idempotent request by itself when a kept-alive connection breaks; two requests would then
    # count as one attempt. There is no public switch (its own test client does the same).
    session._retry_connection = False  # noqa: SLF001
    return session


@dataclass(frozen=True, slots=True)
class _Answer:
    outcome: Outcome
    status: int | None = None
    error: str | None = None


_CANCELLED: Final = _Answer(Outcome.UNKNOWN, error="CancelledError")
_TOO_MANY: Final = _Answer(Outcome.UNSENT, error="too many requests in flight")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sender:
    architecture: str
    base_url: str
    max_in_flight: int
    record: Callable[[Attempt], None]
    progress: Callable[[LoadSummary], None]
    start: float
    summary: LoadSummary

    async def send_all(self, session: aiohttp.ClientSession, plan: Sequence[Request]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for request in plan:
                # a target on the absolute clock, so that no delay adds up; sleep(0) lets answers in when late
                await asyncio.sleep(max(0.0, request.planned - self._now()))
                if self.summary.in_flight >= self.max_in_flight:
                    self._finish(request, None, _TOO_MANY)
                else:
                    self.summary.in_flight += 1
                    tasks.create_task(self._send(session, request))

    async def _send(self, session: aiohttp.ClientSession, request: Request) -> None:
        sent = self._now()
        self.summary.max_lag = max(self.summary.max_lag, sent - request.planned)
        answer = _CANCELLED
        try:
            answer = await self._exchange(session, request)
        finally:
            self.summary.in_flight -= 1
            self._finish(request, None if answer.outcome is Outcome.UNSENT else sent, answer)

    async def _exchange(self, session: aiohttp.ClientSession, request: Request) -> _Answer:
        headers = {**request.headers, HEADER: _trace(request)}
        try:
            async with session.request(
                request.method,
                self.base_url + request.url_path,
                headers=headers,
                data=_sent(request.body),
                allow_redirects=False,
            ) as response:
                body = await response.read()
        except aiohttp.ClientConnectorError as error:
            return _Answer(Outcome.UNSENT, error=type(error).__name__)
        except _LOST_ON_THE_WAY as error:
            return _Answer(Outcome.UNKNOWN, error=type(error).__name__)
        outcome = classify(response.status)
        return _Answer(outcome, response.status, None if outcome is Outcome.ACKNOWLEDGED else _named_error(body))

    def _finish(self, request: Request, sent: float | None, answer: _Answer) -> None:
        attempt = Attempt(
            architecture=self.architecture,
            id=request.id,
            planned=request.planned,
            sent=None if sent is None else round(sent, 6),
            finished=None if sent is None else round(self._now(), 6),
            outcome=answer.outcome,
            status=answer.status,
            error=answer.error,
            trace=_trace(request).removeprefix("Root="),
            poison=request.poison,
        )
        self.summary.count(answer.outcome)
        self.record(attempt)
        self.progress(self.summary)

    def _now(self) -> float:
        return time.monotonic() - self.start


def _sent(body: bytes) -> bytes | io.BytesIO | None:
    """A body as aiohttp wants it: large ones piece by piece, so that others are sent meanwhile."""
    return io.BytesIO(body) if len(body) > _LARGE else body or None


def _trace(request: Request) -> str:
    return trace_header(request.id, request.planned, request.number)


def _named_error(body: bytes) -> str | None:
    """The ``error`` of a JSON body, where it is a text; what is wrong in an order may come back in it."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = document.get("error") if isinstance(document, dict) else None
    return printable(error) if isinstance(error, str) else None
