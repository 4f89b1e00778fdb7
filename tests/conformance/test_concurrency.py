"""Lambda's concurrency rules against the numbers of AWS's documentation."""

from dataclasses import replace

import pytest

from testbed.semantics.concurrency import Concurrency, Limits, Served, ThrottleReason
from testbed.semantics.profiles import legacy
from testbed.semantics.token_bucket import TokenBucket

QUOTA = 1000
"""The default quota of the examples."""


def admitted(concurrency: Concurrency, function: str, count: int, *, version: str = "$LATEST", now: float = 0.0) -> int:
    """How many of ``count`` invokes at once are admitted."""
    results = [concurrency.admit(function, version, now=now) for _ in range(count)]
    return sum(isinstance(result, Served) for result in results)


def steady(limits: Limits, rate: int, milliseconds: int, *, function: str = "orders") -> tuple[int, float]:
    """The concurrency that a steady rate of invokes comes to, and the share of them that is served in a later second.

    Args:
        limits: The account's.
        rate: Invokes per second.
        milliseconds: How long each takes.
        function: Its name.
    """
    concurrency = Concurrency(limits)
    ends: list[int] = []
    served = sent = 0
    for tick in range(4000):  # milliseconds; what is warmed up and counted begins with the last second
        while ends and ends[0] <= tick:
            ends.pop(0)
            concurrency.release(function)
        due = rate * (tick + 1) // 1000 - rate * tick // 1000
        for _ in range(due):
            admission = concurrency.admit(function, now=tick / 1000)
            if isinstance(admission, Served):
                ends.append(tick + milliseconds)
            sent += tick >= 3000
            served += tick >= 3000 and isinstance(admission, Served)
    return concurrency.running[function], served / sent


@pytest.mark.rule("concurrency.little", "concurrency.request-rate", "case.little")
@pytest.mark.parametrize(
    ("rate", "milliseconds", "concurrency", "share"),
    [
        (100, 500, 50, 1.0),
        (200, 250, 50, 1.0),
        (5000, 200, 1000, 1.0),
        (20_000, 50, 500, 0.5),
    ],
)
def test_concurrency_is_rate_times_duration_up_to_ten_requests_per_second_for_each(
    rate: int, milliseconds: int, concurrency: int, share: float
) -> None:
    """The developer guide's examples with the default quota; of 20,000 x 50 ms, which need 1,000, half are refused."""
    running, served = steady(Limits(account_concurrency=QUOTA), rate, milliseconds)
    assert running == pytest.approx(concurrency, abs=concurrency * 0.02)
    assert served == pytest.approx(share, abs=0.01)


@pytest.mark.rule("concurrency.little", "concurrency.request-rate", "case.little")
@pytest.mark.parametrize(("quota", "share"), [(1000, 1 / 3), (3000, 1.0)])
def test_thirty_thousand_short_requests_need_a_quota_for_their_rate(quota: int, share: float) -> None:
    """30,000 a second of 20 ms are 600 at once, and yet need a quota of 3,000."""
    running, served = steady(Limits(account_concurrency=quota), 30_000, 20)
    assert served == pytest.approx(share, abs=0.01)
    assert running == pytest.approx(600 * share, abs=15)


@pytest.mark.rule("concurrency.reserved", "concurrency.unreserved-pool", "case.unreserved")
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


@pytest.mark.rule("concurrency.unreserved-floor")
@pytest.mark.parametrize(("quota", "floor"), [(1000, 100), (50, 50), (10, 10)])
def test_reservations_leave_a_hundred_or_all_of_a_small_account(quota: int, floor: int) -> None:
    """The minimum that refusals name is 100, and the whole quota in accounts that have less."""
    assert Limits(account_concurrency=quota).minimum_unreserved == floor


@pytest.mark.rule("versions.reserved-over-all")
def test_reserved_concurrency_is_shared_by_all_versions() -> None:
    """What version 1 uses, version 2 does not have; their environments are their own."""
    concurrency = Concurrency(Limits())
    concurrency.reserve("orders", 3)
    assert admitted(concurrency, "orders", 2, version="1") == 2
    assert admitted(concurrency, "orders", 2, version="2") == 1
    concurrency.release("orders", "1")
    assert admitted(concurrency, "orders", 1, version="2") == 1
    assert concurrency.environments == {("orders", "1"): 2, ("orders", "2"): 2}


def test_a_release_makes_room_for_one() -> None:
    """What ended can be replaced by exactly one."""
    concurrency = Concurrency(Limits())
    concurrency.reserve("orders", 1)
    assert admitted(concurrency, "orders", 3) == 1
    concurrency.release("orders")
    assert admitted(concurrency, "orders", 3) == 1
    assert concurrency.peak == {"orders": 1}


@pytest.mark.rule("concurrency.reserved-zero")
def test_a_reservation_of_zero_turns_a_function_off() -> None:
    """Every invoke is throttled, for the reservation."""
    concurrency = Concurrency(Limits())
    concurrency.reserve("orders", 0)
    assert concurrency.is_disabled("orders")
    assert concurrency.admit("orders", now=0) is ThrottleReason.RESERVED_CONCURRENCY
    concurrency.reserve("orders", None)
    assert not concurrency.is_disabled("orders")
    assert admitted(concurrency, "orders", 1) == 1


@pytest.mark.rule("concurrency.account")
@pytest.mark.parametrize("quota", [10, 50, 1000])
def test_an_account_admits_its_quota(quota: int) -> None:
    """The default, and the quotas of many new accounts; the functions share it."""
    concurrency = Concurrency(Limits(account_concurrency=quota))
    assert admitted(concurrency, "orders", 4) == 4
    assert admitted(concurrency, "invoices", quota) == quota - 4
    assert concurrency.admit("orders", now=0) is ThrottleReason.ACCOUNT_CONCURRENCY


@pytest.mark.rule("concurrency.scaling-rate", "concurrency.scaling-no-accumulation")
def test_a_function_adds_a_thousand_environments_every_ten_seconds() -> None:
    """1,000 at once, then 100 each second; functions scale independently; unused capacity does not accumulate."""
    concurrency = Concurrency(Limits(account_concurrency=100_000))
    assert admitted(concurrency, "orders", 1500) == 1000
    assert concurrency.admit("orders", now=0) is ThrottleReason.RATE
    assert admitted(concurrency, "invoices", 1500) == 1000
    assert admitted(concurrency, "orders", 1500, now=1.0) == 100
    assert admitted(concurrency, "orders", 1500, now=10.0) == 900
    assert admitted(concurrency, "orders", 1500, now=1000.0) == 1000


@pytest.mark.rule("concurrency.ramp")
@pytest.mark.parametrize(("wanted", "seconds"), [(200, 0), (1000, 0), (3000, 20), (10_000, 90)])
def test_the_ramp_to_a_concurrency_from_zero(wanted: int, seconds: int) -> None:
    """1,000 per started ten seconds: 3,000 stand within 30 s, 10,000 within 100 s."""
    concurrency = Concurrency(Limits(account_concurrency=100_000))
    second = 0
    while admitted(concurrency, "orders", wanted - concurrency.running["orders"], now=float(second)) or not second:
        if concurrency.running["orders"] == wanted:
            break
        second += 1
    assert second == seconds


@pytest.mark.rule("concurrency.cold-starts-only")
def test_a_warm_environment_is_not_subject_to_the_scaling_rate() -> None:
    """Only a cold start takes from the scaling rate: the environments of earlier invokes are used again."""
    concurrency = Concurrency(Limits(account_concurrency=100_000, scaling_burst=50, scaling_per_second=0))
    for _ in range(3):
        assert admitted(concurrency, "orders", 60) == 50
        for _ in range(50):
            concurrency.release("orders")
    assert concurrency.environments["orders", "$LATEST"] == 50


@pytest.mark.rule("concurrency.reuse", "case.ten-requests")
def test_environments_are_used_again_before_new_ones_start() -> None:
    """Ten requests of the developer guide: 1 to 5 start A to E, 6 to 8 find A to C, 9 starts F, 10 finds D."""
    concurrency = Concurrency(Limits())

    def environments() -> int:
        return concurrency.environments["orders", "$LATEST"]

    assert admitted(concurrency, "orders", 5) == 5
    assert environments() == 5
    for _ in range(3):
        concurrency.release("orders")
        assert admitted(concurrency, "orders", 1) == 1
    assert environments() == 5
    assert admitted(concurrency, "orders", 1) == 1
    assert environments() == 6
    concurrency.release("orders")
    assert admitted(concurrency, "orders", 1) == 1
    assert environments() == 6


def test_an_environment_that_ended_is_started_anew() -> None:
    """When an environment is gone for good the next invoke is a cold start, and takes from the scaling rate."""
    concurrency = Concurrency(Limits(scaling_burst=1, scaling_per_second=0))
    assert admitted(concurrency, "orders", 1) == 1
    concurrency.release("orders")
    concurrency.environment_ended("orders")
    assert concurrency.admit("orders", now=1) is ThrottleReason.RATE


@pytest.mark.rule("concurrency.legacy-burst", "case.legacy-burst")
@pytest.mark.parametrize(
    ("minutes", "served"),
    [(1, [3000]), (2, [3000, 3500]), (3, [3000, 3333, 3334]), (4, [2500, 2500, 2500, 2500])],
)
def test_the_burst_before_november_2023(minutes: int, served: list[int]) -> None:
    """Lambda Operator Guide: 10,000 requests over 1 to 4 minutes, account limit 10,000, burst 3,000, then 500 a minute.

    At once 7,000 are throttled; over two minutes 2,000 and then 1,500; over three 333 and then none; over four none.
    """
    concurrency = Concurrency(replace(legacy.concurrency, account_concurrency=10_000))
    found = []
    for minute in range(minutes):
        due = 10_000 * (minute + 1) // minutes - 10_000 * minute // minutes
        found.append(admitted(concurrency, "orders", due, now=minute * 60.0))
        for _ in range(found[-1]):
            concurrency.release("orders")
    assert found == served


@pytest.mark.rule("concurrency.legacy-burst")
def test_the_burst_was_one_for_the_whole_account() -> None:
    """What one function used of it, no other one had."""
    concurrency = Concurrency(replace(legacy.concurrency, account_concurrency=10_000))
    assert admitted(concurrency, "orders", 2000) == 2000
    assert admitted(concurrency, "invoices", 2000) == 1000
    assert concurrency.admit("invoices", now=0) is ThrottleReason.RATE


@pytest.mark.rule("concurrency.request-rate", "throttle.reasons")
def test_the_rate_of_a_reserved_function_has_its_own_reason() -> None:
    """Reserved concurrency 2 allows 20 invokes a second, however short they are."""
    concurrency = Concurrency(Limits())
    concurrency.reserve("orders", 2)
    reasons = []
    for _ in range(21):
        reasons.append(concurrency.admit("orders", now=5.0))
        concurrency.release("orders")
    assert reasons == [Served.ON_DEMAND] * 20 + [ThrottleReason.RESERVED_RATE]


@pytest.mark.rule("concurrency.request-rate")
def test_the_rate_of_the_account_counts_all_functions() -> None:
    """Account 200 allows 2,000 a second: those of a function with a reservation are among them."""
    concurrency = Concurrency(Limits(account_concurrency=200))
    concurrency.reserve("orders", 100)
    for function in ("orders", "invoices"):
        for _ in range(1000):
            assert concurrency.admit(function, now=5.0) is Served.ON_DEMAND
            concurrency.release(function)
    assert concurrency.admit("invoices", now=5.0) is ThrottleReason.RATE


def test_a_throttled_invoke_uses_nothing_up() -> None:
    """Refusals, however many, leave concurrency and rates as they were."""
    concurrency = Concurrency(Limits(account_concurrency=1))
    assert admitted(concurrency, "orders", 500) == 1
    assert concurrency.running == {"orders": 1}
    concurrency.release("orders")
    assert admitted(concurrency, "orders", 1) == 1


def test_after_a_restart_every_rate_is_whole_again() -> None:
    """One architecture under test leaves nothing to the next; what is reserved stays."""
    concurrency = Concurrency(Limits(account_concurrency=3, scaling_burst=2, scaling_per_second=0))
    concurrency.reserve("orders", 1)
    assert admitted(concurrency, "invoices", 3) == 2
    for _ in range(2):
        concurrency.release("invoices")
    concurrency.restart()
    assert (concurrency.environments, concurrency.peak_total) == ({("invoices", "$LATEST"): 0}, 0)
    assert admitted(concurrency, "invoices", 3) == 2
    assert admitted(concurrency, "orders", 3) == 1


def test_a_bucket_never_holds_more_than_its_capacity() -> None:
    """However long it was left alone."""
    bucket = TokenBucket(2, 1)
    taken = 0
    for now in (0.0, 1000.0, 1000.0, 1000.0, 1000.5, 1001.0):
        if bucket.has_one(now):
            bucket.take()
            taken += 1
    assert taken == 4
