"""Provisioned concurrency: when it is there, what it serves, what it takes from others."""

import pytest

from testbed.semantics.concurrency import Concurrency, Limits, Served, ThrottleReason
from testbed.semantics.profiles import aws
from testbed.semantics.provisioned import INIT_FAILURE, Allocation, ProvisionedProfile, Status

PROFILE = ProvisionedProfile(allocation_delay=60.0, allocation_per_minute=6000.0)


def concurrency_with(count: int, *, account: int = 1000) -> Concurrency:
    """An account in which version 1 of ``orders`` has ``count`` provisioned."""
    concurrency = Concurrency(Limits(account_concurrency=account))
    concurrency.provision("orders", "1", count)
    return concurrency


@pytest.mark.rule("provisioned.spillover", "case.spillover")
def test_ten_provisioned_spill_over_at_the_eleventh_at_once() -> None:
    """The developer guide's example: provisioned concurrency 10 serves ten at once, the next are on demand."""
    concurrency = concurrency_with(10)
    served = [concurrency.admit("orders", "1", now=0) for _ in range(12)]
    assert served == [Served.PROVISIONED] * 10 + [Served.SPILLOVER] * 2
    assert concurrency.environments == {("orders", "1"): 2}
    concurrency.release("orders", "1", Served.PROVISIONED)
    assert concurrency.admit("orders", "1", now=0) is Served.PROVISIONED


@pytest.mark.rule("provisioned.spillover", "case.spillover")
def test_ten_provisioned_spill_over_at_a_hundred_requests_a_second() -> None:
    """However short they are: the 101st of a second is on demand, though nine environments are idle."""
    concurrency = concurrency_with(10)
    served = []
    for _ in range(101):
        served.append(concurrency.admit("orders", "1", now=1.0))
        assert isinstance(served[-1], Served)
        concurrency.release("orders", "1", served[-1])
    assert served == [Served.PROVISIONED] * 100 + [Served.SPILLOVER]
    assert concurrency.admit("orders", "1", now=1.01) is Served.PROVISIONED


@pytest.mark.rule("provisioned.spillover")
def test_what_spills_over_needs_concurrency_of_its_own() -> None:
    """With the account used up, the invoke over the provisioned number is throttled."""
    concurrency = concurrency_with(2, account=3)
    served = [concurrency.admit("orders", "1", now=0) for _ in range(4)]
    assert served[2:] == [Served.SPILLOVER, ThrottleReason.ACCOUNT_CONCURRENCY]


@pytest.mark.rule("provisioned.counts-against")
def test_provisioned_concurrency_is_taken_from_the_account() -> None:
    """Of 1,000 with 400 provisioned, 600 are left for all that runs on demand; given back, they are there again."""
    concurrency = concurrency_with(400)
    on_demand = [concurrency.admit("invoices", now=0) for _ in range(601)]
    assert on_demand.count(Served.ON_DEMAND) == 600
    assert on_demand[600] is ThrottleReason.ACCOUNT_CONCURRENCY
    concurrency.provision("orders", "1", 0)
    assert concurrency.admit("invoices", now=0) is Served.ON_DEMAND


@pytest.mark.rule("provisioned.counts-against", "provisioned.equals-reserved")
def test_provisioned_concurrency_is_taken_from_the_functions_reservation() -> None:
    """Reserved 5, provisioned 3: two are left for other versions; with all five provisioned, they are throttled."""
    concurrency = concurrency_with(3)
    concurrency.reserve("orders", 5)
    latest = [concurrency.admit("orders", "$LATEST", now=0) for _ in range(3)]
    assert latest == [Served.ON_DEMAND] * 2 + [ThrottleReason.RESERVED_CONCURRENCY]
    assert [concurrency.admit("orders", "1", now=0) for _ in range(4)][2:] == [
        Served.PROVISIONED,
        ThrottleReason.RESERVED_CONCURRENCY,
    ]
    for _ in range(2):
        concurrency.release("orders")
    concurrency.provision("orders", "1", 5)
    assert concurrency.admit("orders", "$LATEST", now=1) is ThrottleReason.RESERVED_CONCURRENCY
    assert concurrency.admit("orders", "1", now=1) is Served.PROVISIONED
    assert [concurrency.admit("invoices", now=1) for _ in range(996)].count(Served.ON_DEMAND) == 995


@pytest.mark.rule("provisioned.no-scaling-rate")
def test_provisioned_environments_take_nothing_from_the_scaling_rate() -> None:
    """They are there already: only what spills over starts environments."""
    concurrency = Concurrency(Limits(scaling_burst=1, scaling_per_second=0))
    concurrency.provision("orders", "1", 2)
    served = [concurrency.admit("orders", "1", now=0) for _ in range(4)]
    assert served == [Served.PROVISIONED] * 2 + [Served.SPILLOVER, ThrottleReason.RATE]


@pytest.mark.rule("provisioned.allocation")
def test_environments_are_allocated_after_a_delay_at_six_thousand_a_minute() -> None:
    """The first after one to two minutes, each next one 10 ms later."""
    assert 60 <= aws.provisioned.allocation_delay <= 120
    allocation = Allocation(PROFILE, 500, now=1000.0)
    assert allocation.starts_at(0) == 1060.0
    assert allocation.starts_at(499) == pytest.approx(1064.99)
    assert Allocation(PROFILE.compress(10), 500, now=1000.0).starts_at(499) == pytest.approx(1006.499)


@pytest.mark.rule("provisioned.all-or-nothing")
def test_no_environment_is_usable_before_all_are_allocated() -> None:
    """IN_PROGRESS with none to use, until the last one makes it READY."""
    allocation = Allocation(PROFILE, 3, now=0.0)
    for allocated in (1, 2):
        allocation.came_up()
        assert (allocation.status, allocation.allocated, allocation.usable) == (Status.IN_PROGRESS, allocated, 0)
    allocation.came_up()
    assert (allocation.status, allocation.allocated, allocation.usable) == (Status.READY, 3, 3)


@pytest.mark.rule("provisioned.all-or-nothing")
def test_more_are_allocated_beside_those_that_are_there_and_fewer_at_once() -> None:
    """From 2 to 4: two stay usable meanwhile; then down to 1: READY without a wait."""
    allocation = Allocation(PROFILE, 2, now=0.0)
    allocation.came_up()
    allocation.came_up()
    allocation.request(4, now=100.0)
    assert (allocation.status, allocation.missing, allocation.usable) == (Status.IN_PROGRESS, 2, 2)
    assert allocation.starts_at(0) == 160.0
    allocation.came_up()
    allocation.came_up()
    assert (allocation.status, allocation.usable) == (Status.READY, 4)
    allocation.request(1, now=200.0)
    assert (allocation.status, allocation.missing, allocation.usable) == (Status.READY, 0, 1)


@pytest.mark.rule("provisioned.failed")
def test_a_failed_initialisation_fails_the_allocation() -> None:
    """FAILED with its reason and nothing to use; asked for again, it starts anew."""
    allocation = Allocation(PROFILE, 2, now=0.0)
    allocation.came_up()
    allocation.failed(INIT_FAILURE)
    assert (allocation.status, allocation.reason, allocation.allocated, allocation.usable) == (
        Status.FAILED,
        "FUNCTION_ERROR_INIT_FAILURE",
        0,
        0,
    )
    allocation.request(2, now=10.0)
    assert (allocation.status, allocation.missing) == (Status.IN_PROGRESS, 2)
