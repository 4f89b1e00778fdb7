"""Asynchronous invokes: accepted at once, tried again, given up."""

from pathlib import Path

from deployed import Emulator, Journal, StartCompute, until

from testbed.chaos.call import AwsError
from testbed.compute.async_queue import AsyncQueue, Event
from testbed.compute.result import InvokeResult
from testbed.semantics.async_invoke import AsyncInvokeProfile

OK = InvokeResult(200, b"1", None, None, None)
FAILED = InvokeResult(200, b"{}", "Unhandled", None, "function error")
THROTTLED = InvokeResult(429, b"", None, AwsError("TooManyRequestsException", 429, "Rate Exceeded."), "throttle")
GONE = InvokeResult(404, b"", None, AwsError("ResourceNotFoundException", 404, "gone"), "ResourceNotFoundException")


async def deliver(
    results: list[InvokeResult], rules: AsyncInvokeProfile, *, hopeless: bool = False
) -> tuple[int, list[int]]:
    """Deliver one event whose attempts end as ``results``: attempts made, and attempts told at its drop."""
    made = 0
    drops: list[int] = []

    async def attempt() -> InvokeResult:
        nonlocal made
        made += 1
        return results[made - 1]

    queue = AsyncQueue(rules)
    event = Event(attempt=attempt, is_hopeless=lambda: hopeless, on_drop=lambda _, attempts: drops.append(attempts))
    queue.submit(event)
    await until(lambda: not len(queue))
    return made, drops


FAST = AsyncInvokeProfile().compress(100_000)


async def test_a_function_error_is_tried_twice_more() -> None:
    """Three attempts in all, then the event is dropped."""
    assert await deliver([FAILED, FAILED, FAILED], FAST) == (3, [3])
    assert await deliver([FAILED, OK], FAST) == (2, [])


async def test_throttles_do_not_use_up_the_retries_of_function_errors() -> None:
    """An event that was throttled five times still has its three attempts."""
    assert await deliver([*[THROTTLED] * 5, FAILED, FAILED, OK], FAST) == (8, [])


async def test_an_event_that_is_too_old_is_dropped() -> None:
    """No retry is begun that would end after the maximum age."""
    rules = AsyncInvokeProfile(throttle_wait=0.001, maximum_age=0.004)
    assert await deliver([THROTTLED] * 9, rules) in ((made, [made]) for made in (1, 2, 3))


async def test_a_function_that_is_turned_off_drops_at_once() -> None:
    """Reserved concurrency 0: no retry."""
    assert await deliver([THROTTLED], FAST, hopeless=True) == (1, [1])


async def test_a_function_that_is_gone_drops_at_once() -> None:
    """A client error will not mend itself."""
    assert await deliver([GONE], FAST) == (1, [1])


async def test_an_event_invoke_is_accepted_then_retried_with_the_same_request_id(
    emulator: Emulator, start_compute: StartCompute, journal: Journal, tmp_path: Path
) -> None:
    """202 before the function has run; all attempts carry the id that the caller got, and the drop is recorded."""
    compute = await start_compute(asynchronous=AsyncInvokeProfile(error_waits=(0.01, 0.02)))
    marks = tmp_path / "marks"
    emulator.deploy(
        "orders",
        f"def handler(event, context):\n    open({str(marks)!r}, 'a').write(context.aws_request_id + ' ')\n    1 / 0",
    )
    accepted = await compute.invoke("orders", b"", caller="client", invocation_type="Event")
    assert (accepted.status, accepted.payload) == (202, b"")
    await until(lambda: not compute.stats().queued_events)
    assert marks.read_text().split() == [accepted.request_id] * 3
    assert [hop["hop"] for hop in journal.hops] == ["lambda", "lambda", "lambda", "async"]
    assert journal.hops[-1]["event"] == "dropped"
    assert journal.hops[-1]["attempts"] == 3


async def test_an_event_for_a_function_that_is_turned_off_is_dropped_without_retry(
    emulator: Emulator, start_compute: StartCompute, journal: Journal
) -> None:
    """Accepted with 202, refused for its reservation of 0, dropped."""
    compute = await start_compute()
    emulator.deploy("orders", "def handler(event, context): pass")
    emulator.reserved["orders"] = 0
    accepted = await compute.invoke("orders", b"", caller="client", invocation_type="Event")
    assert accepted.status == 202
    await until(lambda: not compute.stats().queued_events)
    assert [hop["hop"] for hop in journal.hops] == ["lambda", "async"]
