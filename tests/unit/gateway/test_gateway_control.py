"""The testbed's own routes: only who knows the run's token is heard, and everything gets an answer."""

import asyncio
import hmac
import json
from types import SimpleNamespace
from typing import Any

import pytest
from multidict import CIMultiDict

from testbed.chaos.schedule import Schedule
from testbed.errors import EngineDiedError, UsageError
from testbed.gateway.control import Control
from testbed.gateway.message import Inbound, Reply
from testbed.semantics.concurrency import Limits

TOKEN = "s3cret"  # noqa: S105 - of a test


class FakePlane:
    """Remembers what it was asked, and fails as told."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None
        self.death: asyncio.Future[EngineDiedError] = asyncio.get_running_loop().create_future()
        self.gateway = SimpleNamespace(faults=SimpleNamespace(journal_fault=lambda *_: None))
        self.schedule = Schedule((), 0)
        self.compute = SimpleNamespace(limits=Limits(account_concurrency=50), provisioned=self._provisioned)

    def clock(self) -> float:
        """The traffic has just begun."""
        return 0.0

    def busy(self) -> str:
        """No run goes on."""
        return ""

    def act(self, schedule: Schedule) -> None:
        """Faults were added by hand."""
        self.schedule = schedule

    def _provisioned(self, function: str) -> dict[str, Any]:
        self._note("provisioned", function)
        return {"1": {"status": "READY"}}

    def _note(self, *what: Any) -> None:
        self.asked.append(what)
        if self.failure is not None:
            raise self.failure

    async def connect(self, emulator_url: str, host: str, port: int, admin: str) -> int:
        """The emulator and Postgres are up."""
        self._note("connect", emulator_url, host, port, admin)
        return 5433

    def cut(self, part: str | None) -> None:
        """The network before a part is cut."""
        self._note("cut", part)

    async def mend(self, part: str | None) -> None:
        """And mended."""
        self._note("mend", part)

    async def changed(self, service: str, operation: str, resource: str) -> None:
        """Something deployed has changed."""
        self._note("changed", service, operation, resource)

    async def begin(self, order: dict[str, Any]) -> None:
        """Begin."""
        self._note("begin", order)

    async def end(self) -> dict[str, Any]:
        """End."""
        self._note("end")
        return {"fired": {"throttle-1": 2}}

    def status(self) -> dict[str, Any]:
        """Look."""
        self._note("status")
        return {"t": 1.0}


@pytest.fixture
async def plane() -> FakePlane:
    """A plane that does nothing."""
    return FakePlane()


async def ask(plane: FakePlane, route: str, order: Any = None, token: str | None = TOKEN) -> tuple[int, Any]:
    """Status and document for one request; a body in bytes is sent as it is."""
    headers = CIMultiDict({"x-testbed-token": token} if token is not None else {})
    body = order if isinstance(order, bytes) else json.dumps(order).encode() if order is not None else b""
    reply = await Control(plane, TOKEN).handle(Inbound("POST", f"/_testbed/{route}", headers, body))  # type: ignore[arg-type]  # stands in
    assert isinstance(reply, Reply)
    return reply.status, json.loads(reply.body)


async def test_everybody_may_ask_for_the_health(plane: FakePlane) -> None:
    """It says nothing about the run."""
    assert await ask(plane, "health", token=None) == (200, {"status": "ok"})


@pytest.mark.parametrize("token", [None, "", "wrong", "s3cre", "s3crett", "s3crét", "\udcff"])
@pytest.mark.parametrize("route", ["connect", "cut", "mend", "changed", "begin", "end", "status", "death", "unknown"])
async def test_without_the_token_nothing_is_done(plane: FakePlane, route: str, token: str | None) -> None:
    """403 for a missing and for a wrong one, of whatever letters, and for routes that are not there."""
    status, document = await ask(plane, route, {}, token)
    assert (status, plane.asked) == (403, [])
    assert "token" in document["message"]


async def test_tokens_are_compared_in_constant_time(plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a refusal takes must not tell how much of a guess was right."""
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def watched(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return compare(left, right)

    monkeypatch.setattr("testbed.gateway.control.hmac.compare_digest", watched)
    await ask(plane, "status", token="guess")  # noqa: S106 - of a test
    assert compared == [(b"guess", TOKEN.encode())]


async def test_an_unknown_route_is_named(plane: FakePlane) -> None:
    """404, once the token is right."""
    status, document = await ask(plane, "restart")
    assert (status, document) == (404, {"message": "no such route: /_testbed/restart"})


async def test_each_route_reaches_the_plane(plane: FakePlane) -> None:
    """With what the order says, and with the plane's answer."""
    begin = {"architecture": "sync", "seed": 1}
    assert await ask(plane, "connect", {"emulator_url": "u", "host": "h", "port": 5432, "admin": "a"}) == (
        200,
        {"port": 5433},
    )
    assert await ask(plane, "cut", {"part": "localstack"}) == (200, {})
    assert await ask(plane, "mend", {}) == (200, {})
    assert await ask(plane, "changed", {"service": "lambda", "operation": "O", "resource": None}) == (200, {})
    assert await ask(plane, "begin", begin) == (200, {})
    assert await ask(plane, "end") == (200, {"fired": {"throttle-1": 2}})
    assert await ask(plane, "status", {}) == (200, {"t": 1.0})
    assert plane.asked == [
        ("connect", "u", "h", 5432, "a"),
        ("cut", "localstack"),
        ("mend", None),
        ("changed", "lambda", "O", ""),
        ("begin", begin),
        ("end",),
        ("status",),
    ]


async def test_the_plugin_asks_for_quotas_and_for_what_is_provisioned(plane: FakePlane) -> None:
    """Those of the profile, a small account's minimum included."""
    assert await ask(plane, "quotas", {}) == (200, {"account": 50, "minimum_unreserved": 50})
    assert await ask(plane, "provisioned", {"function": "orders"}) == (200, {"versions": {"1": {"status": "READY"}}})
    assert plane.asked == [("provisioned", "orders")]


async def test_a_death_is_told_when_it_happens(plane: FakePlane) -> None:
    """The request waits for it."""
    waiting = asyncio.create_task(ask(plane, "death", {}))
    await asyncio.sleep(0)
    assert not waiting.done()
    plane.death.set_result(EngineDiedError("the fork server", "was killed", "last words"))
    status, document = await waiting
    assert (status, document["part"], document["log_tail"]) == (200, "the fork server", "last words")


@pytest.mark.parametrize("body", [b"not json", b"\xff", b'{"a":'])
async def test_a_body_that_is_no_json_is_refused(plane: FakePlane, body: bytes) -> None:
    """400 with the reason."""
    status, document = await ask(plane, "begin", body)
    assert (status, plane.asked) == (400, [])
    assert "not JSON" in document["message"]


async def test_a_mistake_of_the_user_keeps_its_words(plane: FakePlane) -> None:
    """Message and hint, without a traceback."""
    plane.failure = UsageError("two faults are named 'x'", "give each a name of its own")
    assert await ask(plane, "begin", {}) == (
        400,
        {"message": "two faults are named 'x'; give each a name of its own"},
    )


@pytest.mark.parametrize(
    ("order", "failure"),
    [({}, None), ({"emulator_url": "u", "host": "h", "port": 1, "admin": "a"}, OSError(24, "Too many"))],
)
async def test_a_failure_is_an_answer(
    plane: FakePlane, caplog: pytest.LogCaptureFixture, order: dict[str, Any], failure: Exception | None
) -> None:
    """500 that says what failed and why, and the traceback in the log; a connection that drops would say neither."""
    plane.failure = failure
    status, document = await ask(plane, "connect", order)
    assert status == 500
    assert document["message"].startswith("connect failed: ")
    assert type(failure or KeyError()).__name__ in document["message"]
    assert "Traceback" in caplog.text


async def test_an_order_that_is_no_object_is_a_failure_too(plane: FakePlane) -> None:
    """Whatever JSON it is."""
    status, _ = await ask(plane, "connect", [1])
    assert status == 500


async def test_faults_by_hand_need_the_token_but_for_localstack_s_routes(plane: FakePlane) -> None:
    """Those have none in LocalStack either."""
    control = Control(plane, TOKEN)  # type: ignore[arg-type]  # stands in

    async def status(path: str, headers: dict[str, str]) -> int:
        body = b'{"type": "Throttle", "service": "sqs"}' if "testbed" in path else b'[{"service": "s3"}]'
        return (await control.handle(Inbound("POST", path, CIMultiDict(headers), body))).status

    assert await status("/_testbed/chaos", {}) == 403
    assert await status("/_testbed/chaos/x", {"x-testbed-token": "wrong"}) == 403
    assert await status("/_testbed/chaos", {"x-testbed-token": TOKEN}) == 200
    assert await status("/_testbed/chaosx", {"x-testbed-token": TOKEN}) == 404
    assert await status("/_localstack/chaos/faults", {}) == 200
    assert [armed.fault.name for armed in plane.schedule.faults] == ["throttle-1", "localstack-1"]
