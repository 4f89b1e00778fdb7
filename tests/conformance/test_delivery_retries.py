"""SNS developer guide, Message delivery retries; EventBridge user guide, Retrying events, and Dead-letter queues."""

from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.semantics.delivery_retries import (
    EventsDelivery,
    EventsProfile,
    Failure,
    GiveUp,
    Retry,
    RetryPolicy,
    SnsDelivery,
    SnsProfile,
    dead_letter_attributes,
)

THROTTLE = Failure("TooManyRequestsException", 429, "Rate Exceeded.")
DOWN = Failure("ServiceException", 500, "failed")
SILENT = Failure("ServiceUnavailable", 0, "nothing answered")
GONE = Failure("AWS.SimpleQueueService.NonExistentQueue", 400, "The specified queue does not exist.")
DENIED = Failure("AccessDeniedException", 403, "no permission")


def steps(way: SnsDelivery | EventsDelivery, spread: float, failure: Failure = THROTTLE) -> Iterator[Retry | GiveUp]:
    """What follows each failure, until the delivery is given up; attempts take no time."""
    attempts, age = 0, 0.0
    while True:
        attempts += 1
        step = way.after(failure, attempts=attempts, age=age, spread=spread)
        yield step
        if isinstance(step, GiveUp):
            return
        age += step.wait


def waits(way: SnsDelivery | EventsDelivery, *, most: int = 200, spread: float = 1.0) -> list[float]:
    return [step.wait for step in islice(steps(way, spread), most) if isinstance(step, Retry)]


@pytest.mark.rule("sns.retries")
@pytest.mark.rule("case.sns-attempts")
def test_sns_tries_100_015_times_over_23_days() -> None:
    """Three at once, two after a second, ten with 1 to 20 s, and 100,000 with 20 s."""
    every = waits(SnsDelivery(SnsProfile()), most=200_000, spread=0)
    assert len(every) + 1 == 3 + 2 + 10 + 100_000 == 100_015
    assert every[:4] == [0, 0, 1, 1]
    growing = every[4:14]
    assert (growing[0], growing[-1]) == (1, pytest.approx(20))
    assert growing == sorted(growing)
    assert set(every[14:]) == {20}
    assert 23 < sum(every) / 86_400 < 24


@pytest.mark.rule("sns.dead-letter-queue")
def test_after_the_last_attempt_sns_gives_up() -> None:
    """Not before, and with no attempt left."""
    way = SnsDelivery(SnsProfile())
    assert isinstance(way.after(DOWN, attempts=100_014, age=0, spread=0), Retry)
    assert isinstance(way.after(DOWN, attempts=100_015, age=0, spread=0), GiveUp)


@pytest.mark.rule("sns.client-errors")
@pytest.mark.parametrize("failure", [GONE, DENIED, Failure("ResourceNotFoundException", 404, "")])
def test_sns_does_not_retry_client_errors(failure: Failure) -> None:
    """An endpoint that is gone or that forbids it."""
    assert SnsDelivery(SnsProfile()).after(failure, attempts=1, age=0, spread=0) == GiveUp(None)


@pytest.mark.rule("sns.client-errors")
@pytest.mark.parametrize("failure", [THROTTLE, DOWN, SILENT, Failure("ThrottlingException", 400, "Rate exceeded")])
def test_throttles_and_errors_of_the_service_are_retried(failure: Failure) -> None:
    """A throttle is none of the client's errors, whatever its status."""
    assert isinstance(SnsDelivery(SnsProfile()).after(failure, attempts=1, age=0, spread=0), Retry)
    way = EventsDelivery(EventsProfile(), RetryPolicy())
    assert isinstance(way.after(failure, attempts=1, age=0, spread=0), Retry)


@given(spread=st.floats(0, 1), attempts=st.integers(1, 100_014))
def test_sns_waits_are_longer_by_the_jitter_at_most(spread: float, attempts: int) -> None:
    """The jitter is the caller's."""
    way = SnsDelivery(SnsProfile())
    plain = way.after(DOWN, attempts=attempts, age=0, spread=0)
    jittered = way.after(DOWN, attempts=attempts, age=0, spread=spread)
    assert isinstance(plain, Retry)
    assert isinstance(jittered, Retry)
    assert plain.wait <= jittered.wait <= plain.wait * 1.05 * (1 + 1e-9)


@pytest.mark.rule("events.retries")
@pytest.mark.rule("case.eventbridge-attempts")
def test_eventbridge_retries_185_times_within_24_hours() -> None:
    """Waits grow; the schedule itself is not published."""
    every = waits(EventsDelivery(EventsProfile(), RetryPolicy()))
    assert len(every) == 185
    assert every == sorted(every)
    assert 20 * 3600 < sum(every) < 24 * 3600


@pytest.mark.rule("events.retries")
@pytest.mark.parametrize("retries", [0, 1, 10])
def test_the_target_says_how_often_it_is_retried(retries: int) -> None:
    """MaximumRetryAttempts, 0 to 185."""
    way = EventsDelivery(EventsProfile(), RetryPolicy(maximum_retry_attempts=retries))
    assert len(waits(way)) == retries
    assert list(steps(way, 1.0))[-1] == GiveUp("MaximumRetryAttempts")


@pytest.mark.rule("events.retries")
def test_the_target_says_how_old_an_event_may_grow() -> None:
    """MaximumEventAgeInSeconds: a retry that would come later is not waited for."""
    way = EventsDelivery(EventsProfile(), RetryPolicy(maximum_event_age=60))
    assert list(steps(way, 1.0)) == [*map(Retry, (1, 2, 4, 8, 16)), GiveUp("MaximumEventAgeInSeconds")]


@pytest.mark.rule("events.dead-letter-queue")
@pytest.mark.parametrize(("failure", "code"), [(GONE, "NO_RESOURCE"), (DENIED, "NO_PERMISSIONS")])
def test_an_error_that_cannot_pass_goes_to_the_dead_letter_queue_at_once(failure: Failure, code: str) -> None:
    """Without a retry."""
    end = EventsDelivery(EventsProfile(), RetryPolicy()).after(failure, attempts=1, age=0, spread=0)
    assert end == GiveUp(None)
    attributes = dead_letter_attributes("arn:rule", "arn:target", failure, GiveUp(None), 1)
    assert {name: each["StringValue"] for name, each in attributes.items()} == {
        "RULE_ARN": "arn:rule",
        "TARGET_ARN": "arn:target",
        "ERROR_CODE": code,
        "ERROR_MESSAGE": failure.message,
        "RETRY_ATTEMPTS": "0",
    }


@pytest.mark.rule("events.dead-letter-queue")
@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (THROTTLE, "THROTTLING"),
        (DOWN, "ERROR_FROM_TARGET"),
        (SILENT, "CONNECTION_FAILURE"),
        (Failure("ValidationException", 400, ""), "SDK_CLIENT_ERROR"),
    ],
)
def test_a_dead_letter_says_why(failure: Failure, code: str) -> None:
    """Which limit was reached after how many retries, and the last error."""
    attributes = dead_letter_attributes("rule", "target", failure, GiveUp("MaximumRetryAttempts"), 186)
    assert attributes["ERROR_CODE"]["StringValue"] == code
    assert attributes["ERROR_MESSAGE"]["StringValue"]  # SQS takes no empty ones
    assert attributes["EXHAUSTED_RETRY_CONDITION"]["StringValue"] == "MaximumRetryAttempts"
    assert attributes["RETRY_ATTEMPTS"] == {"DataType": "Number", "StringValue": "185"}


def test_compressed_rules_wait_less_and_try_as_often() -> None:
    """What a RetryPolicy says stays."""
    sns, events = SnsProfile().compress(100), EventsProfile().compress(100)
    assert waits(SnsDelivery(sns), most=14, spread=0)[2:] == pytest.approx(
        [wait / 100 for wait in waits(SnsDelivery(SnsProfile()), most=14, spread=0)[2:]]
    )
    assert len(waits(EventsDelivery(events, RetryPolicy()))) == 185
    assert events.maximum_event_age == 864
    assert EventsDelivery(events, RetryPolicy(maximum_event_age=60)).after(
        DOWN, attempts=9, age=59.9, spread=1
    ) == GiveUp("MaximumEventAgeInSeconds")
