"""AWS Lambda developer guide, How Lambda handles errors and retries with asynchronous invocation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.semantics.async_invoke import (
    SUCCESS,
    AsyncInvoke,
    AsyncInvokeProfile,
    End,
    EventInvokeConfig,
    Outcome,
    Retry,
)

RULES = AsyncInvokeProfile()
SUCCEEDED, FAILED, REFUSED, DISABLED = Outcome.SUCCEEDED, Outcome.FAILED, Outcome.REFUSED, Outcome.DISABLED


def way_of(
    *outcomes: Outcome,
    rules: AsyncInvokeProfile = RULES,
    spread: float = 0.0,
    retries: int | None = None,
    age_limit: float | None = None,
) -> tuple[list[float], str | None, int]:
    """The waits of an event whose attempts end so and take no time, its condition, and its approximate invoke count."""
    config = EventInvokeConfig(maximum_retry_attempts=retries, maximum_event_age=age_limit)
    way, age, waits = AsyncInvoke(rules), 0.0, list[float]()
    for outcome in outcomes:
        step = way.after(outcome, age=age, config=config, spread=spread)
        if isinstance(step, End):
            return waits, step.condition, way.invokes
        waits.append(step.wait)
        age += step.wait
    return waits, None, way.invokes


@pytest.mark.rule("async.function-errors")
def test_function_errors_are_retried_after_one_and_two_minutes() -> None:
    """Three attempts in all; each may be the last."""
    assert way_of(FAILED, FAILED, FAILED) == ([60, 120], "RetriesExhausted", 3)
    assert way_of(FAILED, SUCCEEDED) == ([60], SUCCESS, 2)
    assert way_of(SUCCEEDED) == ([], SUCCESS, 1)


@pytest.mark.rule("async.function-errors")
@pytest.mark.parametrize("retries", [0, 1, 2])
def test_the_function_says_how_often_it_is_retried(retries: int) -> None:
    """MaximumRetryAttempts, 0 to 2."""
    waits, condition, invokes = way_of(*[FAILED] * 3, retries=retries)
    assert (waits, condition, invokes) == ([60.0, 120.0][:retries], "RetriesExhausted", retries + 1)


@pytest.mark.rule("async.throttles")
def test_throttles_wait_from_a_second_to_five_minutes() -> None:
    """Exponential, until the event would be older than six hours."""
    waits, condition, invokes = way_of(*[REFUSED] * 200)
    assert waits[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert set(waits[10:]) == {300}
    assert 21300 < sum(waits) <= 21600
    assert (condition, invokes) == ("EventAgeExceeded", 0)


@pytest.mark.rule("async.separate-retries")
def test_throttles_do_not_use_up_the_retries_of_function_errors() -> None:
    """Nor does a function error use up a wait of theirs: which starts anew, unless the profile says otherwise."""
    steps = (REFUSED, REFUSED, FAILED, REFUSED, FAILED, FAILED)
    assert way_of(*steps) == ([1, 2, 60, 1, 120], "RetriesExhausted", 3)
    goes_on = AsyncInvokeProfile(throttle_wait_restarts=False)
    assert way_of(*steps, rules=goes_on) == ([1, 2, 60, 4, 120], "RetriesExhausted", 3)


@pytest.mark.rule("async.event-age")
def test_the_function_says_how_old_an_event_may_grow() -> None:
    """MaximumEventAgeInSeconds: a retry that would come later is not waited for."""
    assert way_of(FAILED, FAILED, age_limit=90) == ([60], "EventAgeExceeded", 2)
    assert way_of(FAILED, age_limit=59) == ([], "EventAgeExceeded", 1)
    assert way_of(*[REFUSED] * 9, age_limit=60) == ([1, 2, 4, 8, 16], "EventAgeExceeded", 0)


@pytest.mark.rule("async.reserved-zero")
def test_a_reserved_concurrency_of_zero_ends_an_event_at_once() -> None:
    """No retry, and no attempt either."""
    assert way_of(DISABLED) == ([], "ZeroReservedConcurrency", 0)
    assert way_of(FAILED, DISABLED) == ([60], "ZeroReservedConcurrency", 1)


@pytest.mark.rule("async.jitter")
@given(spread=st.floats(0, 1), refusals=st.integers(1, 30))
def test_a_wait_is_never_shorter_and_a_few_per_cent_longer_at_most(spread: float, refusals: int) -> None:
    """The jitter is the caller's, so that it is the same in every run."""
    plain = way_of(*[REFUSED] * refusals, FAILED)[0]
    jittered = way_of(*[REFUSED] * refusals, FAILED, spread=spread)[0]
    for wait, longer in zip(plain, jittered, strict=True):
        assert wait <= longer <= wait * 1.05 * (1 + 1e-9)


def test_compressed_rules_wait_less_and_try_as_often() -> None:
    """All waits of AWS's side; what the function says of the age is the user's."""
    fast = RULES.compress(60)
    assert way_of(FAILED, FAILED, FAILED, rules=fast) == ([1, 2], "RetriesExhausted", 3)
    assert fast.maximum_age == 360
    step = AsyncInvoke(fast).after(FAILED, age=58.5, config=EventInvokeConfig(maximum_event_age=60), spread=0)
    assert step == Retry(1)
