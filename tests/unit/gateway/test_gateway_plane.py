"""The plane around the gateway: it keeps in step with the emulator, looks at everything, and never stops doing so."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from aiohttp import web
from gateway_world import World, until
from multidict import CIMultiDict
from postgres_server import Server

from testbed.compute.pollers.status import MappingStatus
from testbed.errors import UsageError
from testbed.gateway.caller import AwsClient
from testbed.gateway.message import Inbound
from testbed.gateway.plane import Plane, PlaneSettings
from testbed.semantics.profiles import Profile, aws
from testbed.semantics.rest_api_limits import RestApiProfile

QUEUE = "arn:aws:sqs:us-east-1:000000000000:orders"
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"


class Fleet:
    """Stands for the pollers: remembers which mappings they were to serve."""

    def __init__(self) -> None:
        self.reconciled: asyncio.Queue[list[str]] = asyncio.Queue()
        self.statuses: list[MappingStatus] = []
        self.failure: Exception | None = None

    async def reconcile(self, mappings: list[dict[str, Any]]) -> None:
        """Serve ``mappings``; a failure happens once."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        await self.reconciled.put([mapping["UUID"] for mapping in mappings])

    async def end_retiring(self) -> None:
        """There is none."""

    def status(self) -> list[MappingStatus]:
        """What is polled."""
        return self.statuses

    def use(self, profile: Profile) -> None:
        """Go by other numbers."""

    async def stop(self, grace: float) -> None:
        """Stop."""


class Emulated:
    """What the emulator tells about mappings and queues."""

    def __init__(self) -> None:
        self.mappings: list[list[dict[str, str]]] = [[]]
        self.listed = 0
        self.counts = {"ApproximateNumberOfMessages": "7"}
        self.status = 200

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer ListEventSourceMappings, page by page, and GetQueueAttributes."""
        if self.status != 200:
            return web.json_response({"message": "no"}, status=self.status)
        if "event-source-mappings" in request.raw_path:
            page = int(request.query.get("Marker", "0"))
            self.listed += page == 0
            last = page + 1 == len(self.mappings)
            more = {} if last else {"NextMarker": str(page + 1)}
            return web.json_response({"EventSourceMappings": self.mappings[page], **more})
        return web.json_response({"Attributes": self.counts})


def mapping(uuid: str, state: str = "Enabled") -> dict[str, str]:
    """An entry of ListEventSourceMappings, as far as the plane looks at it."""
    return {"UUID": uuid, "State": state}


@pytest.fixture
def emulated(world: World) -> Emulated:
    """What is deployed."""
    emulated = Emulated()
    world.emulator.respond = emulated.respond
    return emulated


@pytest_asyncio.fixture
async def plane(
    world: World, emulated: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Plane]:
    """A plane without processes and pollers, whose loops hardly wait."""
    assert emulated.listed == 0
    monkeypatch.setattr("testbed.gateway.plane._SETTLING_SECONDS", 0.0)
    monkeypatch.setattr("testbed.gateway.plane._RETRY_SECONDS", 0.0)
    monkeypatch.setattr("testbed.gateway.plane._SAMPLE_SECONDS", 0.01)
    plane = Plane(PlaneSettings(host=world.host, folder=tmp_path / "plane", logs=tmp_path / "logs", run="test"))
    plane._emulator.url = world.way_to_emulator.url
    monkeypatch.setattr(plane, "fleet", Fleet())
    for name in ("start", "stop", "reset"):
        monkeypatch.setattr(plane.compute, name, _nothing)
    await plane.start()
    yield plane
    await plane.stop()


async def _nothing() -> None:
    """What the compute plane does not do here."""


def fleet_of(plane: Plane) -> Fleet:
    """The stand-in."""
    assert isinstance(plane.fleet, Fleet)
    return plane.fleet


def order(journal: Path, faults: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """What the command asks for at the beginning of an architecture."""
    zero = time.monotonic()
    return {"architecture": "buffered", "seed": 1, "faults": faults or [], "journal": str(journal), "zero": zero}


def samples(journal: Path) -> list[dict[str, Any]]:
    """The samples in the journal."""
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    return [sample for sample in map(json.loads, lines) if sample["hop"] == "sample"]


async def sampled(journal: Path, depth: int) -> None:
    """Wait until a sample found ``depth`` messages in the queues."""
    await until(lambda: any(sample["queue_depth"] == depth for sample in samples(journal)))


async def test_mappings_are_read_when_they_change(plane: Plane, emulated: Emulated) -> None:
    """Every page of them, and not before the emulator says so."""
    emulated.mappings = [[mapping("a"), mapping("b")], [mapping("c")]]
    assert emulated.listed == 0
    await plane.changed("lambda", "CreateEventSourceMapping", "a")
    assert await fleet_of(plane).reconciled.get() == ["a", "b", "c"]
    assert emulated.listed == 1


async def test_mappings_are_read_until_they_have_settled(plane: Plane, emulated: Emulated) -> None:
    """One that is still being created becomes another one without anybody saying so."""
    emulated.mappings = [[mapping("a", "Creating")]]
    await plane.changed("lambda", "CreateEventSourceMapping", "a")
    assert await fleet_of(plane).reconciled.get() == ["a"]
    assert await fleet_of(plane).reconciled.get() == ["a"]
    emulated.mappings = [[]]
    while await fleet_of(plane).reconciled.get():
        pass
    assert fleet_of(plane).reconciled.empty()


async def test_mappings_that_cannot_be_listed_are_asked_for_again(
    plane: Plane, emulated: Emulated, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged; the change is not forgotten."""
    emulated.mappings, emulated.status = [[mapping("a")]], 500
    await plane.changed("lambda", "UpdateEventSourceMapping", "a")
    await until(lambda: "keeper of the mappings failed" in caplog.text)
    emulated.status = 200
    assert await fleet_of(plane).reconciled.get() == ["a"]


async def test_a_fault_in_the_fleet_does_not_end_the_keeper(
    plane: Plane, emulated: Emulated, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and tried again."""
    emulated.mappings = [[mapping("a")]]
    fleet_of(plane).failure = KeyError("EventSourceArn")
    await plane.changed("lambda", "CreateEventSourceMapping", "a")
    assert await fleet_of(plane).reconciled.get() == ["a"]
    assert "KeyError: 'EventSourceArn'" in caplog.text


async def test_a_fault_in_the_sampler_does_not_end_it(
    plane: Plane, emulated: Emulated, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the next sample is taken."""
    fleet_of(plane).statuses = [status(QUEUE)]
    emulated.counts = {}  # an answer that nobody expects
    await until(lambda: "KeyError" in caplog.text)
    emulated.counts = {f"ApproximateNumberOfMessages{kind}": "1" for kind in ("", "NotVisible", "Delayed")}
    await plane.begin(order(tmp_path / "journal.jsonl"))
    await sampled(tmp_path / "journal.jsonl", 3)
    assert not plane.death.done()


@pytest.mark.parametrize("name", ["sampler", "gauge of the queues", "keeper of the mappings"])
async def test_a_loop_that_ends_all_the_same_is_a_death(plane: Plane, name: str) -> None:
    """Whoever started the plane is told: what it says from then on cannot be believed."""
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == name]
    task.cancel()
    death = await plane.death
    assert name in death.message


async def test_the_end_of_the_plane_is_no_death(plane: Plane) -> None:
    """The loops end then, as they should."""
    await plane.stop()
    assert not plane.death.done()


def status(source: str, processed: int = 0) -> MappingStatus:
    """The status of a poller."""
    return MappingStatus(
        uuid="u", source=source, function="f", in_flight=0, held=0, behind=0, idle=True, processed=processed
    )


async def test_depth_is_what_is_left_in_queues_and_streams(plane: Plane, emulated: Emulated, tmp_path: Path) -> None:
    """Visible, in flight and delayed messages; records taken less records done. The peak is kept."""
    emulated.counts = {
        "ApproximateNumberOfMessages": "3",
        "ApproximateNumberOfMessagesNotVisible": "20",
        "ApproximateNumberOfMessagesDelayed": "100",
    }
    journal = tmp_path / "journal.jsonl"
    await plane.begin(order(journal))
    fleet_of(plane).statuses = [status(QUEUE), status(STREAM, processed=400)]
    plane.gateway.streamed_in["orders"] = 1400
    await sampled(journal, 1123)
    looked = plane.status()
    assert [entry["depth"] for entry in looked["mappings"]] == [123, 1000]
    fleet_of(plane).statuses = []
    await sampled(journal, 0)
    assert (await plane.end())["resources"]["peak_queue_depth"] == 1123


async def test_a_queue_that_cannot_be_asked_keeps_its_depth(plane: Plane, emulated: Emulated) -> None:
    """The last known number, which does not pass for a new one."""
    plane._queues.depths[QUEUE] = 9
    fleet_of(plane).statuses = [status(QUEUE)]
    emulated.status = 500
    before = time.time()
    looked = await plane.measured()
    assert looked["queue_depth"] == 9
    assert looked["measured_at"] < before
    emulated.status = 200
    emulated.counts = {f"ApproximateNumberOfMessages{kind}": "1" for kind in ("", "NotVisible", "Delayed")}
    looked = await plane.measured()
    assert looked["queue_depth"] == 3
    assert looked["measured_at"] >= before


@pytest.mark.parametrize(
    ("operation", "resource", "told"),
    [
        ("CreateFunction", "orders", "CreateFunction"),
        ("UpdateFunctionCode", "arn:aws:lambda:us-east-1:000000000000:function:orders", "UpdateFunctionCode"),
        ("UpdateFunctionConfiguration", "000000000000:function:orders", "UpdateFunctionConfiguration"),
        (
            "PutFunctionConcurrency", "arn:aws:lambda:us-east-1:000000000000:function:orders:live",
            "PutFunctionConcurrency",
        ),
        ("PublishVersion", "orders:7", "PublishVersion"),
        ("PutProvisionedConcurrencyConfig", "orders", "PutProvisionedConcurrencyConfig"),
        ("DeleteFunction", "orders", "DeleteFunction"),
        ("DeleteFunction", "orders:7", ""),
        ("DeleteFunction", "arn:aws:lambda:us-east-1:000000000000:function:orders:7:7", ""),
    ],
)  # fmt: skip
async def test_a_function_that_changed_is_read_again(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, operation: str, resource: str, told: str
) -> None:
    """Whichever of its names the call used (AWS Lambda API reference, FunctionName): the plugin tells it as it came.

    With one version of it gone, the function itself is not.
    """
    forgotten: list[tuple[str, str]] = []
    monkeypatch.setattr(plane.compute, "invalidate", lambda *what: forgotten.append(what))
    await plane.changed("lambda", operation, resource)
    assert forgotten == [("orders", told)]


@pytest.mark.parametrize(
    "operation", ["CreateEventSourceMapping", "UpdateEventSourceMapping", "DeleteEventSourceMapping"]
)
async def test_a_mapping_that_changed_leaves_functions_alone(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """Their environments stay warm."""
    forgotten: list[str] = []
    monkeypatch.setattr(plane.compute, "invalidate", forgotten.append)
    await plane.changed("lambda", operation, "5b1f0c52-0000-0000-0000-000000000000")
    assert forgotten == []
    assert await fleet_of(plane).reconciled.get() == []


@pytest.mark.parametrize("operation", ["CreateDeployment", "UpdateStage", "PutMethod", "DeleteRestApi"])
async def test_an_api_that_changed_is_told_to_the_routes(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """With what was done to it."""
    told: list[tuple[str, str]] = []

    async def changed(api: str, operation: str) -> None:
        told.append((api, operation))

    monkeypatch.setattr(plane.gateway.rest_apis, "changed", changed)
    await plane.changed("apigateway", operation, "abc")
    assert told == [("abc", operation)]


async def test_an_architecture_begins_and_ends(plane: Plane, tmp_path: Path) -> None:
    """Faults act and lines are written in between; the facts of the end tell of them."""
    journal = tmp_path / "journal.jsonl"
    fault = {"type": "Throttle", "service": "sqs", "probability": 1.0}
    await plane.begin(order(journal, [fault]))
    with pytest.raises(Exception, match="RequestThrottled"):
        await _client(plane)("sqs", "ListQueues", {}, caller="client")
    facts = await plane.end()
    assert facts["fired"] == {"throttle-1": 1}
    assert facts["resources"]["throttles"] == 1
    assert facts["journal_error"] is None
    hops = {json.loads(line)["hop"] for line in journal.read_text().splitlines()}
    assert {"fault", "aws"} <= hops


async def test_the_end_tells_how_the_plane_kept_up(plane: Plane, tmp_path: Path) -> None:
    """How long it stood still at most, and how long it ran and waited since the start of this architecture."""
    journal = tmp_path / "journal.jsonl"
    await plane.begin(order(journal, []))
    await until(lambda: '"hop":"sample"' in journal.read_text().replace(" ", ""))
    time.sleep(0.2)  # noqa: ASYNC251 - on purpose: nothing else runs meanwhile
    lines = len(journal.read_text())
    await until(lambda: len(journal.read_text()) > lines)
    first = (await plane.end())["pace"]
    assert first["stalled"] >= 0.15
    await plane.begin(order(journal, []))
    second = (await plane.end())["pace"]
    assert second["stalled"] < first["stalled"]
    assert second["ran"] < first["ran"]


def _client(plane: Plane) -> Callable[..., Awaitable[dict[str, Any]]]:
    return AwsClient(plane.gateway.aws, "127.0.0.1:4566").call


async def test_the_end_waits_until_cloudwatch_is_up_to_date(
    plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it, logs too; but not for a LocalStack that the network is cut to."""
    asked: list[int | None] = []

    async def flush(log_bytes: int | None = None) -> bool:
        asked.append(log_bytes)
        return True

    monkeypatch.setattr(plane.observability, "flush", flush)
    await plane.begin(order(tmp_path / "journal.jsonl"))
    await plane.end()
    assert asked.count(None) == 1
    plane.cut("localstack")
    await plane.end()
    assert asked.count(None) == 1


async def test_a_journal_that_cannot_be_opened_leaves_no_fault_armed(plane: Plane, tmp_path: Path) -> None:
    """The command is told, and what is deployed later is not hit by chaos."""
    fault = {"type": "Throttle", "service": "sqs", "probability": 1.0}
    with pytest.raises(IsADirectoryError):
        await plane.begin(order(tmp_path, [fault]))
    assert await _client(plane)("sqs", "GetQueueAttributes", {"QueueUrl": "http://h/0/q"}, caller="client")


async def test_a_full_disk_is_told_by_status_and_end(plane: Plane) -> None:
    """While it happens, and when all that shows it is the last line."""
    await plane.begin(order(Path("/dev/full")))
    await until(lambda: plane.status()["journal_error"])
    assert "No space left" in plane.status()["journal_error"]
    assert "No space left" in (await plane.end())["journal_error"]
    await plane.begin(order(Path("/dev/full")))
    plane.journal.record("api")
    assert "No space left" in (await plane.end())["journal_error"]


# The front of an engine


async def connect(plane: Plane, url: str, server: Server) -> int:
    """Put the plane in front of these; the proxy's port."""
    return await plane.connect(url, server.host, server.port, "postgres")


async def test_the_first_attachment_reads_nothing(plane: Plane, emulated: Emulated, postgres_server: Server) -> None:
    """Nothing is deployed, and the plugin will say so when that changes."""
    await connect(plane, plane._emulator.url, postgres_server)
    await sleep_a_little()
    assert emulated.listed == 0


async def sleep_a_little() -> None:
    """Time for what should not happen."""
    await asyncio.sleep(0.2)


async def test_an_engine_that_is_attached_again_is_read_anew(
    plane: Plane, world: World, postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An emulator that was started again has nothing deployed; the way to Postgres stays the same for its clients."""
    plane._emulator.url = "http://127.0.0.1:9"
    port = await plane.connect("http://127.0.0.1:9", "127.0.0.1", 9, "boss")
    stage = asyncio.get_running_loop().create_future()
    plane.gateway.rest_apis._stages["abc", "live"] = stage  # type: ignore[assignment]  # any will do
    forgotten: list[bool] = []
    monkeypatch.setattr(plane.compute._functions, "clear", lambda: forgotten.append(True))
    fleet_of(plane).statuses = [status(STREAM, processed=3)]
    plane.gateway.streamed_in["orders"] = 5
    assert await connect(plane, world.way_to_emulator.url, postgres_server) == port
    assert await fleet_of(plane).reconciled.get() == []
    assert forgotten == [True]
    assert plane.gateway.rest_apis._stages == {}
    assert plane.gateway.streamed_in["orders"] == 0
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(port)) as connection:
        await connection.execute("SELECT 1")
    assert plane.postgres is not None
    assert plane.postgres.peak_sessions == 0  # the superuser has another name now


async def test_a_stream_that_is_still_read_keeps_its_backlog(
    plane: Plane, emulated: Emulated, postgres_server: Server
) -> None:
    """It was Postgres that moved."""
    await connect(plane, plane._emulator.url, postgres_server)
    fleet_of(plane).statuses = [status(STREAM, processed=3)]
    plane.gateway.streamed_in["orders"] = 5
    emulated.mappings = [[mapping("a") | {"EventSourceArn": STREAM}]]
    await connect(plane, plane._emulator.url, postgres_server)
    assert await fleet_of(plane).reconciled.get() == ["a"]
    assert plane.gateway.streamed_in["orders"] == 5


@pytest.mark.parametrize("part", ["localstack", "postgres"])
async def test_a_cut_is_in_the_journal(plane: Plane, postgres_server: Server, tmp_path: Path, part: str) -> None:
    """Each once, however often it is asked for."""
    journal = tmp_path / "journal.jsonl"
    await connect(plane, plane._emulator.url, postgres_server)
    await plane.begin(order(journal))
    await plane.mend(part)
    for _ in range(2):
        plane.cut(part)
    assert plane._network(part).is_cut
    for _ in range(2):
        await plane.mend(part)
    assert not plane._network(part).is_cut
    plane.journal.flush()
    lines = [line for line in map(json.loads, journal.read_text().splitlines()) if line["hop"] == "engine"]
    assert [(line["event"], line["part"]) for line in lines] == [("cut", part), ("mend", part)]


@pytest.mark.parametrize("part", ["redis", "", None, "postgres"])
async def test_what_is_no_part_cannot_be_cut(plane: Plane, part: str | None) -> None:
    """Nor can Postgres before it is there."""
    with pytest.raises(UsageError, match="there is no part"):
        plane.cut(part)
    with pytest.raises(UsageError, match="there is no part"):
        await plane.mend(part)


async def test_samples_go_on_in_a_cut(plane: Plane, emulated: Emulated, tmp_path: Path) -> None:
    """With the depth that was known last; the new one is there at once when the cut ends."""
    journal = tmp_path / "journal.jsonl"
    emulated.counts = {f"ApproximateNumberOfMessages{kind}": "1" for kind in ("", "NotVisible", "Delayed")}
    fleet_of(plane).statuses = [status(QUEUE)]
    await plane.begin(order(journal))
    await sampled(journal, 3)
    plane.cut("localstack")
    await sleep_a_little()
    before, asked = len(samples(journal)), len(plane._emulator._under_way)
    emulated.counts = {f"ApproximateNumberOfMessages{kind}": "2" for kind in ("", "NotVisible", "Delayed")}
    await sleep_a_little()
    plane.journal.flush()
    assert len(samples(journal)) > before + 5
    assert {sample["queue_depth"] for sample in samples(journal)[before:]} == {3}
    assert asked == 0
    assert plane.status()["queue_depth"] == 3
    await plane.mend("localstack")
    async with asyncio.timeout(1):
        await sampled(journal, 6)
    assert not plane.death.done()


@pytest.mark.parametrize("asked", [True, False])
async def test_mappings_are_read_when_a_cut_ends(plane: Plane, emulated: Emulated, *, asked: bool) -> None:
    """The emulator could not tell of changes; and a question that hangs meanwhile hangs no longer."""
    plane.cut("localstack")
    if asked:
        await plane.changed("lambda", "CreateEventSourceMapping", "a")
    await sleep_a_little()
    assert emulated.listed == 0
    emulated.mappings = [[mapping("a")]]
    await plane.mend("localstack")
    async with asyncio.timeout(1):
        assert await fleet_of(plane).reconciled.get() == ["a"]


async def test_an_emulator_that_never_answers_is_asked_again(
    plane: Plane, world: World, emulated: Emulated, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It was paused, and killed and started again: the question is lost. Samples, depths and mappings recover."""
    monkeypatch.setattr("testbed.gateway.plane._ANSWER_SECONDS", 0.05)
    monkeypatch.setattr("testbed.gateway.queue_gauge._ANSWER_SECONDS", 0.05)
    respond, hung, ended = emulated.respond, asyncio.Event(), asyncio.Event()

    async def hang(request: web.BaseRequest) -> web.StreamResponse:
        hung.set()
        await ended.wait()
        return await respond(request)

    journal = tmp_path / "journal.jsonl"
    emulated.mappings = [[mapping("a")]]
    emulated.counts = {f"ApproximateNumberOfMessages{kind}": "1" for kind in ("", "NotVisible", "Delayed")}
    await plane.begin(order(journal))
    world.emulator.respond = hang
    fleet_of(plane).statuses = [status(QUEUE)]
    await plane.changed("lambda", "CreateEventSourceMapping", "a")
    await hung.wait()
    await sleep_a_little()
    world.emulator.respond = respond
    assert await fleet_of(plane).reconciled.get() == ["a"]
    await sampled(journal, 3)
    ended.set()
    assert not plane.death.done()


async def test_the_profile_reaches_the_limits_of_rest_apis(plane: Plane, tmp_path: Path) -> None:
    """What they refuse counts among the throttles of the architecture."""
    await plane.use(replace(aws, rest_api=RestApiProfile(account_burst=0)))
    await plane.begin(order(tmp_path / "journal.jsonl"))
    request = Inbound("GET", "/restapis/shop/live/_user_request_/orders", CIMultiDict())
    assert (await plane.gateway.handle(request)).status == 429
    assert (await plane.end())["resources"]["throttles"] == 1
