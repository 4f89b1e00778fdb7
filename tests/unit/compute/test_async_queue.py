"""Asynchronous invokes: accepted at once, tried again, given up, and told of."""

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deployed import Emulator, Journal, StartCompute, until

from testbed.chaos.call import RESET, AwsError
from testbed.chaos.faults.environment_lost import Killed
from testbed.compute.async_queue import AsyncQueue
from testbed.compute.aws import AwsCallError
from testbed.compute.destinations import Event, Settings
from testbed.compute.execution import Request
from testbed.compute.invoke import Compute, Run
from testbed.compute.result import InvokeResult
from testbed.semantics.async_invoke import AsyncInvokeProfile, EventInvokeConfig
from testbed.trace import trace_header

OK = InvokeResult(200, b"1", None, None, None)
FAILED = InvokeResult(200, b'{"errorMessage": "no"}', "Unhandled", None, "function error")
THROTTLED = InvokeResult(429, b"", None, AwsError("TooManyRequestsException", 429, "Rate Exceeded."), "throttle")
UPDATING = InvokeResult(409, b"", None, AwsError("ResourceConflictException", 409, "Pending"), "ResourceConflict")
UNREACHABLE = InvokeResult(500, b"", None, AwsError("ServiceException", 500, "no answer"), "ServiceException")
RESET_BEFORE = InvokeResult(0, b"", None, RESET, "reset")
GONE = InvokeResult(404, b"", None, AwsError("ResourceNotFoundException", 404, "gone"), "ResourceNotFoundException")

FAST = AsyncInvokeProfile().compress(100_000)
QUEUE = "arn:aws:sqs:us-east-1:000000000000:ends"
LETTERS = "arn:aws:sqs:us-east-1:000000000000:letters"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:orders:$LATEST"
FAILS = "def handler(event, context): raise ValueError('no')"
BROKEN_QUEUE = AwsCallError("AWS.SimpleQueueService.NonExistentQueue", 400, "no such queue")
BUSY_QUEUE = AwsCallError("RequestThrottled", 400, "slow down")


async def process(
    results: list[InvokeResult | None],
    *,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    rules: AsyncInvokeProfile = FAST,
    refusals: list[AwsCallError] | None = None,
    trace: str | None = None,
) -> tuple[list[dict[str, Any]], Emulator]:
    """Process an event whose attempts end as ``results``: its journal, and what received its end."""
    emulator, journal = Emulator(), Journal()
    emulator.refusals = refusals or []

    async def attempt(_: Settings) -> tuple[Settings, InvokeResult | None]:
        return settings, results.pop(0)

    queue = AsyncQueue(rules, emulator, journal)
    queue.submit(event(trace=trace), attempt)
    await until(lambda: not len(queue))
    assert not results  # no attempt was left out
    assert {hop.pop("hop") for hop in journal.hops} == {"async"}
    return journal.hops, emulator


def event(*, trace: str | None = None, accepted: float | None = None) -> Event:
    """An event, accepted now unless told."""
    now = asyncio.get_running_loop().time()
    return Event(
        function="orders", arn=ARN, request_id="r-1", payload=b'{"id": "o-1"}', trace=trace,
        accepted=now if accepted is None else accepted,
    )  # fmt: skip


def ends(**destinations: Any) -> Settings:
    """A function with these destinations."""
    dead_letter = destinations.pop("dead_letter", None)
    return Settings(config=EventInvokeConfig(**destinations), dead_letter=dead_letter)


@pytest.mark.rule("async.dropped")
async def test_an_event_is_noted_when_it_is_accepted_and_when_it_ends() -> None:
    """With its attempts, its condition and its age; without a destination nobody else hears of it."""
    trace = trace_header("o-1", 2.0)
    (accepted, dropped), emulator = await process([FAILED, FAILED, FAILED], trace=trace)
    about = {"function": "orders", "request_id": "r-1", "trace": trace.removeprefix("Root=")}
    assert accepted == {"event": "accepted", **about}
    assert dropped.pop("age") >= 180 / 100_000
    assert dropped == about | {
        "event": "dropped", "attempts": 3, "cause": "function error", "condition": "RetriesExhausted",
    }  # fmt: skip
    assert emulator.sent == []


@pytest.mark.rule("async.throttles", "async.separate-retries")
@pytest.mark.parametrize("refused", [THROTTLED, UPDATING, UNREACHABLE, RESET_BEFORE])
async def test_what_is_refused_is_kept_and_tried_again(refused: InvokeResult) -> None:
    """While it is throttled, while the function is being updated, while the emulator is away; its retries stay."""
    hops, _ = await process([*[refused] * 5, FAILED, FAILED, OK])
    assert (hops[-1]["event"], hops[-1]["attempts"], hops[-1]["cause"]) == ("delivered", 3, None)


@pytest.mark.rule("async.event-age")
@pytest.mark.parametrize("result", [FAILED, THROTTLED])
async def test_an_event_is_given_up_at_the_age_that_its_function_says(result: InvokeResult) -> None:
    """However many retries are left: the first one would come too late."""
    hops, _ = await process([result], settings=ends(maximum_event_age=0.0))
    assert (hops[-1]["event"], hops[-1]["condition"]) == ("dropped", "EventAgeExceeded")


async def test_a_function_that_is_gone_uses_up_the_retries() -> None:
    """As third parties saw it; the record has the status, and no answer of a function."""
    _, emulator = await process([GONE, GONE, GONE], settings=ends(on_failure=QUEUE))
    record = json.loads(emulator.sent[0][1]["MessageBody"])
    assert record["responseContext"] == {"statusCode": 404}


@pytest.mark.rule("async.destinations")
async def test_success_and_failure_have_destinations_of_their_own() -> None:
    """OnSuccess gets no failures, and OnFailure no successes."""
    topic = "arn:aws:sns:us-east-1:000000000000:done"
    settings = ends(on_success=topic, on_failure=QUEUE)
    _, emulator = await process([FAILED, OK], settings=settings)
    ((operation, params),) = emulator.sent
    assert (operation, params["TopicArn"]) == ("Publish", topic)
    record = json.loads(params["Message"])
    assert record["requestContext"] == {
        "requestId": "r-1", "functionArn": ARN, "condition": "Success", "approximateInvokeCount": 2,
    }  # fmt: skip
    assert (record["requestPayload"], record["responsePayload"]) == ({"id": "o-1"}, 1)
    _, emulator = await process([FAILED] * 3, settings=settings)
    assert [operation for operation, _ in emulator.sent] == ["SendMessage"]


@pytest.mark.rule("async.dead-letter-queue")
async def test_a_destination_and_a_dead_letter_queue_both_get_what_was_given_up() -> None:
    """The one its record, the other the event itself."""
    _, emulator = await process([FAILED] * 3, settings=ends(on_failure=QUEUE, dead_letter=LETTERS))
    sent = {params["QueueUrl"].rpartition("/")[2]: params for _, params in emulator.sent}
    assert json.loads(sent["ends"]["MessageBody"])["requestContext"]["condition"] == "RetriesExhausted"
    assert sent["letters"]["MessageBody"] == '{"id": "o-1"}'
    attributes = {name: value["StringValue"] for name, value in sent["letters"]["MessageAttributes"].items()}
    assert attributes == {"RequestID": "r-1", "ErrorCode": "200", "ErrorMessage": "no"}
    _, emulator = await process([OK], settings=ends(dead_letter=LETTERS))
    assert emulator.sent == []


@pytest.mark.rule("async.delivery-retries")
async def test_a_throttled_delivery_is_tried_again_in_the_trace_of_the_order() -> None:
    """So that faults hit it alike in every run."""
    trace = trace_header("o-1", 2.0)
    settings = ends(on_failure=QUEUE)
    hops, emulator = await process([FAILED] * 3, settings=settings, refusals=[BUSY_QUEUE] * 9, trace=trace)
    assert emulator.calls == [f"SendMessage {trace}"] * 10
    assert (len(emulator.sent), len(hops)) == (1, 2)


@pytest.mark.rule("async.delivery-failure")
@pytest.mark.parametrize(("refusals", "attempts"), [([BROKEN_QUEUE], 1), ([BUSY_QUEUE] * 10, 10)])
async def test_an_end_that_cannot_be_told_is_noted(refusals: list[AwsCallError], attempts: int) -> None:
    """A refusal is final, a throttle is not for a while; each kind of place has a line of its own."""
    about = {"attempts": attempts, "cause": refusals[0].code}
    for settings, happened, place in (
        (ends(on_failure=QUEUE), "destination failed", QUEUE),
        (ends(dead_letter=LETTERS), "dead-letter failed", LETTERS),
    ):
        hops, emulator = await process([FAILED] * 3, settings=settings, refusals=list(refusals))
        assert about | {"event": happened, "destination": place} == {
            name: hops[-1][name] for name in ("attempts", "cause", "event", "destination")
        }
        assert emulator.sent == []


async def test_an_entry_that_the_bus_refuses_is_a_failed_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """PutEvents answers 200 all the same."""
    refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure", "ErrorMessage": "sorry"}]}
    monkeypatch.setattr(Emulator, "_sent", lambda *_: refused)
    bus = "arn:aws:events:us-east-1:000000000000:event-bus/default"
    hops, _ = await process([OK], settings=ends(on_success=bus))
    assert (hops[-1]["event"], hops[-1]["cause"]) == ("destination failed", "InternalFailure")


async def test_its_age_counts_from_where_it_was_accepted() -> None:
    """Not from its first attempt: what the journal says of attempts and of the end is one age."""
    journal = Journal()
    queue = AsyncQueue(FAST, Emulator(), journal)

    async def attempt(_: Settings) -> tuple[Settings, InvokeResult | None]:
        return Settings(), OK

    queue.submit(event(accepted=asyncio.get_running_loop().time() - 5), attempt)
    await until(lambda: not len(queue))
    assert journal.hops[-1]["age"] >= 5


async def test_a_bug_in_an_attempt_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    """An event must not vanish in silence."""

    async def attempt(_: Settings) -> tuple[Settings, InvokeResult | None]:
        raise RuntimeError("a bug")

    journal = Journal()
    queue = AsyncQueue(FAST, Emulator(), journal)
    queue.submit(event(), attempt)
    await until(lambda: not len(queue))
    assert journal.hops[-1] == {"hop": "async", "event": "error", "cause": "RuntimeError('a bug')"}
    assert "lost to a bug" in caplog.text


async def invoke_event(compute: Compute, function: str = "orders", payload: bytes = b"", **options: Any) -> str:
    """Invoke asynchronously, and wait for the end; the request id."""
    accepted = await compute.invoke(function, payload, caller="client", invocation_type="Event", **options)
    assert (accepted.status, accepted.payload) == (202, b"")
    await until(lambda: not compute.stats().queued_events)
    return accepted.request_id


@pytest.mark.rule("async.accepted")
async def test_an_event_invoke_is_accepted_then_retried_with_the_same_request_id(
    emulator: Emulator, start_compute: StartCompute, journal: Journal, tmp_path: Path
) -> None:
    """202 before the function has run; all attempts carry the id that the caller got, and the drop is counted."""
    compute = await start_compute(asynchronous=AsyncInvokeProfile(error_waits=(0.01, 0.02)))
    marks = tmp_path / "marks"
    emulator.deploy(
        "orders",
        f"def handler(event, context):\n    open({str(marks)!r}, 'a').write(context.aws_request_id + ' ')\n    1 / 0",
    )
    request_id = await invoke_event(compute)
    assert marks.read_text().split() == [request_id] * 3
    assert [hop["hop"] for hop in journal.hops] == ["async", "lambda", "lambda", "lambda", "async"]
    assert (journal.hops[-1]["event"], journal.hops[-1]["attempts"]) == ("dropped", 3)
    assert compute.stats().dropped_events == 1
    await compute.reset()
    assert compute.stats().dropped_events == 0


@pytest.mark.rule("async.reserved-zero")
async def test_an_event_for_a_function_that_is_turned_off_is_dropped_without_an_attempt(
    emulator: Emulator, start_compute: StartCompute, journal: Journal
) -> None:
    """AsyncEventsReceived 1, AsyncEventsDropped 1, Throttles 0."""
    compute = await start_compute()
    emulator.deploy("orders", FAILS, DeadLetterConfig={"TargetArn": LETTERS})
    emulator.event_invoke_configs["orders:$LATEST"] = {"DestinationConfig": {"OnFailure": {"Destination": QUEUE}}}
    emulator.reserved["orders"] = 0
    await invoke_event(compute)
    assert [(hop["hop"], hop["event"]) for hop in journal.hops] == [("async", "accepted"), ("async", "dropped")]
    assert (compute.stats().throttles, compute.stats().dropped_events) == (0, 1)
    assert len(emulator.sent) == 2
    assert emulator.sent[0][1]["MessageBody"].count("ZeroReservedConcurrency") == 1


@pytest.mark.rule("async.dead-letter-version")
async def test_a_version_keeps_the_dead_letter_queue_that_it_was_published_with(
    emulator: Emulator, start_compute: StartCompute
) -> None:
    """$LATEST has another one by now."""
    compute = await start_compute(asynchronous=FAST)
    emulator.deploy("orders", FAILS, DeadLetterConfig={"TargetArn": QUEUE})
    emulator.publish("orders", "1", FAILS, DeadLetterConfig={"TargetArn": LETTERS})
    await invoke_event(compute, qualifier="1")
    await invoke_event(compute)
    assert [params["QueueUrl"].rpartition("/")[2] for _, params in emulator.sent] == ["letters", "ends"]


@pytest.mark.rule("async.qualifier")
async def test_each_qualifier_has_a_configuration_of_its_own(emulator: Emulator, start_compute: StartCompute) -> None:
    """Read once, and again when it changed; the environments stay warm."""
    compute = await start_compute(asynchronous=FAST)
    emulator.deploy("orders", FAILS)
    emulator.event_invoke_configs["orders:live"] = {"MaximumRetryAttempts": 0}
    await invoke_event(compute, qualifier="live")
    assert compute.stats().invokes == 1
    await invoke_event(compute)
    assert compute.stats().invokes == 4
    emulator.event_invoke_configs["orders:live"] = {"MaximumRetryAttempts": 1}
    await invoke_event(compute, qualifier="live")
    assert compute.stats().invokes == 5
    compute.reconfigure_events("orders")
    await invoke_event(compute, qualifier="live")
    assert compute.stats().invokes == 7
    assert emulator.calls.count("GetFunctionEventInvokeConfig orders") == 3


async def test_a_configuration_that_cannot_be_read_is_waited_for(
    emulator: Emulator, start_compute: StartCompute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event stays in the queue, and the function is not run with the wrong one."""
    compute = await start_compute(asynchronous=FAST)
    emulator.deploy("orders", FAILS)
    reads: list[str] = []

    def unreachable_once(_: Emulator, qualified: str) -> dict[str, Any]:
        reads.append(qualified)
        if len(reads) == 1:
            raise AwsCallError("ServiceUnavailable", 0, "LocalStack does not answer")
        return {"MaximumRetryAttempts": 0}

    monkeypatch.setattr(Emulator, "_event_invoke_config", unreachable_once)
    await invoke_event(compute)
    assert (len(reads), compute.stats().invokes) == (2, 1)


@pytest.mark.rule("async.payload")
async def test_an_event_of_more_than_a_megabyte_is_refused(emulator: Emulator, start_compute: StartCompute) -> None:
    """413 RequestTooLargeException; exactly one megabyte is taken."""
    compute = await start_compute()
    emulator.deploy("orders", "def handler(event, context): pass")
    payload = json.dumps("x" * (1024 * 1024 - 2)).encode()
    await invoke_event(compute, payload=payload)
    refused = await compute.invoke("orders", payload + b" ", caller="client", invocation_type="Event")
    assert refused.error
    assert (refused.status, refused.error.code) == (413, "RequestTooLargeException")


async def test_a_record_is_of_the_minute_it_is_sent_in(emulator: Emulator, start_compute: StartCompute) -> None:
    """A bucket's object is named by it, and holds the record."""
    compute = await start_compute(asynchronous=FAST)
    emulator.deploy("orders", FAILS)
    bucket = {"OnFailure": {"Destination": "arn:aws:s3:::ends"}}
    emulator.event_invoke_configs["orders:$LATEST"] = {"DestinationConfig": bucket, "MaximumRetryAttempts": 0}
    before = time.gmtime()
    request_id = await invoke_event(compute)
    ((operation, params),) = emulator.sent
    assert (operation, params["Bucket"]) == ("PutObject", "ends")
    days = {time.strftime("aws/lambda/async/orders/%Y/%m/%d/", moment) for moment in (before, time.gmtime())}
    assert any(params["Key"].startswith(day) for day in days)
    record = json.loads(params["Body"])
    assert record["requestContext"]["requestId"] == request_id
    assert record["responsePayload"]["errorMessage"] == "no"


async def test_faults_act_on_each_attempt(
    emulator: Emulator, start_compute: StartCompute, journal: Journal, tmp_path: Path
) -> None:
    """A throttle spends none of its retries; a kill after the handler does, and the work is done again."""
    seen: list[tuple[str, str, bytes]] = []

    async def around(request: Request, run: Run) -> InvokeResult:
        seen.append((request.reference.name, request.identity, request.payload))
        if len(seen) <= 3:
            return THROTTLED
        return await run((Killed("after", 0.0),) if len(seen) <= 5 else ())

    patient = replace(FAST, maximum_age=60.0)  # however long the machine takes
    compute = await start_compute(asynchronous=patient, around_attempt=around)
    log = tmp_path / "log"
    emulator.deploy("orders", f"def handler(event, context): open({str(log)!r}, 'a').write(context.aws_request_id[:1])")
    accepted = await compute.invoke("orders", b"{}", caller="client", identity="i-1", invocation_type="Event")
    assert accepted.status == 202
    await until(lambda: not len(compute._events))
    ended = journal.hops[-1]
    assert (ended["event"], ended["attempts"]) == ("delivered", 3)
    assert seen == [("orders", "i-1", b"{}")] * 6
    assert log.read_text() == accepted.request_id[:1] * 3


async def test_no_fault_acts_on_an_attempt_that_is_not_made(emulator: Emulator, start_compute: StartCompute) -> None:
    """A reserved concurrency of 0 turns the function off."""
    seen: list[Request] = []

    async def around(request: Request, run: Run) -> InvokeResult:
        seen.append(request)
        return await run(())

    compute = await start_compute(asynchronous=FAST, around_attempt=around)
    emulator.deploy("orders", FAILS)
    emulator.reserved["orders"] = 0
    await compute.invoke("orders", b"{}", caller="client", invocation_type="Event")
    await until(lambda: not len(compute._events))
    assert seen == []
