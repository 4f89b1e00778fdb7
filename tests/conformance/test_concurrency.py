"""Lambda's concurrency rules against the numbers of AWS's documentation."""

import pytest

from testbed.semantics.concurrency import Concurrency, Limits, ThrottleReason
from testbed.semantics.token_bucket import TokenBucket


def admitted(concurrency: Concurrency, function: str, count: int, *, now: float = 0.0) -> int:
    """How many of ``count`` invokes at once are admitted."""
    return sum(concurrency.admit(function, now=now) is None for _ in range(count))


def test_reserved_concurrency_caps_and_sets_aside() -> None:
    """Account 1,000, two functions with 400 reserved each: 200 are left for all others together."""
    concurrency = Concurrency(Limits())
    concurrency.reserve("blue", 400)
    concurrency.reserve("orange", 400)
    assert admitted(concurrency, "other", 201) == 200
    assert concurrency.admit("third", now=0) is ThrottleReason.ACCOUNT_CONCURRENCY
    assert admitted(concurrency, "blue", 401) == 400
    assert concurrency.admit("blue", now=0) is ThrottleReason.RESERVED_CONCURRENCY
    assert admitted(concurrency, "orange", 401) == 400
    assert concurrency.peak_total == 1000


def test_a_release_makes_room_for_one() -> None:
    """What ended can be replaced by exactly one."""
    concurrency = Concurrency(Limits())
    concurrency.reserve("orders", 1)
    assert admitted(concurrency, "orders", 3) == 1
    concurrency.release("orders")
    assert admitted(concurrency, "orders", 3) == 1
    assert concurrency.peak == {"orders": 1}


def test_a_reservation_of_zero_turns_a_function_off() -> None:
    """Every invoke is throttled, for the reservation."""
    concurrency = Concurrency(Limits())
    concurrency.reserve("orders", 0)
    assert concurrency.is_disabled("orders")
    assert concurrency.admit("orders", now=0) is ThrottleReason.RESERVED_CONCURRENCY
    concurrency.reserve("orders", None)
    assert not concurrency.is_disabled("orders")
    assert admitted(concurrency, "orders", 1) == 1


def test_an_account_of_ten_admits_ten() -> None:
    """The quota of many new accounts."""
    assert admitted(Concurrency(Limits(account_concurrency=10)), "orders", 11) == 10


def test_a_function_adds_a_thousand_environments_every_ten_seconds() -> None:
    """1,000 at once, then 100 each second; functions scale independently; unused capacity does not accumulate."""
    concurrency = Concurrency(Limits(account_concurrency=100_000))
    assert admitted(concurrency, "orders", 1500) == 1000
    assert concurrency.admit("orders", now=0) is ThrottleReason.RATE
    assert admitted(concurrency, "invoices", 1500) == 1000
    assert admitted(concurrency, "orders", 1500, now=1.0) == 100
    assert admitted(concurrency, "orders", 1500, now=10.0) == 900
    assert admitted(concurrency, "orders", 1500, now=1000.0) == 1000


def test_a_warm_environment_is_not_subject_to_the_scaling_rate() -> None:
    """Only a cold start takes from the scaling rate: the environments of earlier invokes are used again."""
    concurrency = Concurrency(Limits(account_concurrency=100_000, scaling_burst=50, scaling_per_second=0))
    for _ in range(3):
        assert admitted(concurrency, "orders", 60) == 50
        for _ in range(50):
            concurrency.release("orders")
    assert concurrency.environments["orders"] == 50


def test_environments_are_used_again_before_new_ones_start() -> None:
    """Ten requests of the developer guide: 1 to 5 start A to E, 6 to 8 find A to C, 9 starts F, 10 finds D."""
    concurrency = Concurrency(Limits())
    assert admitted(concurrency, "orders", 5) == 5
    assert concurrency.environments["orders"] == 5
    for _ in range(3):
        concurrency.release("orders")
        assert admitted(concurrency, "orders", 1) == 1
    assert concurrency.environments["orders"] == 5
    assert admitted(concurrency, "orders", 1) == 1
    assert concurrency.environments["orders"] == 6
    concurrency.release("orders")
    assert admitted(concurrency, "orders", 1) == 1
    assert concurrency.environments["orders"] == 6


def test_an_environment_that_ended_is_started_anew() -> None:
    """After a timeout or a crash the next invoke is a cold start, and takes from the scaling rate."""
    concurrency = Concurrency(Limits(scaling_burst=1, scaling_per_second=0))
    assert admitted(concurrency, "orders", 1) == 1
    concurrency.release("orders")
    concurrency.environment_ended("orders")
    assert concurrency.admit("orders", now=1) is ThrottleReason.RATE


def test_invokes_per_second_are_ten_times_the_concurrency() -> None:
    """20,000 requests per second of 50 ms need 1,000 of concurrency, but half of them are throttled for their rate."""
    concurrency = Concurrency(Limits())
    served = 0
    for millisecond in range(1000, 3000):
        for _ in range(20):
            if concurrency.admit("orders", now=millisecond / 1000) is None:
                served += millisecond >= 2000
                concurrency.release("orders")
    assert served == pytest.approx(10_000, rel=0.01)


def test_the_rate_of_a_reserved_function_has_its_own_reason() -> None:
    """Reserved concurrency 2 allows 20 invokes a second, however short they are."""
    concurrency = Concurrency(Limits())
    concurrency.reserve("orders", 2)
    reasons = []
    for _ in range(21):
        reasons.append(concurrency.admit("orders", now=5.0))
        concurrency.release("orders")
    assert reasons == [None] * 20 + [ThrottleReason.RESERVED_RATE]


def test_a_throttled_invoke_uses_nothing_up() -> None:
    """Refusals, however many, leave concurrency and rates as they were."""
    concurrency = Concurrency(Limits(account_concurrency=1))
    assert admitted(concurrency, "orders", 500) == 1
    assert concurrency.running == {"orders": 1}
    concurrency.release("orders")
    assert admitted(concurrency, "orders", 1) == 1


def test_a_bucket_never_holds_more_than_its_capacity() -> None:
    """However long it was left alone."""
    bucket = TokenBucket(2, 1)
    taken = 0
    for now in (0.0, 1000.0, 1000.0, 1000.0, 1000.5, 1001.0):
        if bucket.has_one(now):
            bucket.take()
            taken += 1
    assert taken == 4
