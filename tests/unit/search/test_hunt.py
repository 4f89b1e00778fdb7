"""The search, with a stand-in for the testbed that breaks under known faults."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed import Latency, MappingOff, Throttle, strategies
from testbed.chaos.fault import Fault
from testbed.ledger.verdict import Claim, Verdict
from testbed.search.hunt import Candidate, Find, Hunt, Outcome
from testbed.search.session import candidates

SURFACE = strategies.Surface(
    calls=[("lambda", "Invoke", "front"), ("lambda", "Invoke", "store"), ("sqs", "SendMessage", "orders")],
    consumers=["store"],
)
KINDS = (Throttle, Latency, MappingOff)
GOOD = Outcome(Verdict.VALID)
LOST = Outcome(Verdict.INVALID, (Claim(claim="no order is lost", holds=False, observed="1 of 20"),))
BLIND = Outcome(Verdict.UNKNOWN, (Claim("everything could be seen", None, "the fault never fired"),))
SMALLEST = Throttle(
    name="Throttle-sqs-SendMessage-orders",
    service="sqs",
    operations=("SendMessage",),
    resources=("orders",),
    probability=0.5,
    during=(0.0, 0.25),
)


class Testbed:
    """Loses orders while SQS throttles half of the calls or more; a rare throttle does not fire."""

    __test__ = False

    def __init__(self, break_by: Callable[[Candidate], bool] | None = None) -> None:
        self.tried: list[Candidate] = []
        self._breaks = break_by or (lambda candidate: any(map(loses_orders, candidate.faults)))

    def attempt(self, candidate: Candidate) -> Outcome:
        self.tried.append(candidate)
        if any(isinstance(fault, Throttle) and fault.probability == 0.1 for fault in candidate.faults):
            return BLIND
        return LOST if self._breaks(candidate) else GOOD


def loses_orders(fault: Fault) -> bool:
    return isinstance(fault, Throttle) and fault.service == "sqs" and fault.probability >= 0.5


@pytest.fixture
def hunt(tmp_path: Path) -> Callable[..., Hunt]:
    """Makes a search whose finds are kept in the test's folder."""

    def made(bed: Testbed, **options: Any) -> Hunt:
        defaults: dict[str, Any] = {"runs": 40, "seed": 1, "database": tmp_path / "kept", "key": "scenario"}
        return Hunt(attempt=bed.attempt, **(defaults | options))

    return made


def look(search: Hunt) -> Find | None:
    return search.look(candidates(SURFACE, 4.0, 1.0, KINDS))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_planted_bug_is_found_and_shrunk_to_what_it_needs(hunt: Callable[..., Hunt], seed: int) -> None:
    """One fault, as rare as will do, for a quarter of a quarter of the traffic."""
    found = look(hunt(Testbed(), seed=seed))
    assert found is not None
    assert found.outcome == LOST
    [fault] = found.candidate.faults
    assert fault == SMALLEST
    assert found.candidate.scale == 0.25


def test_each_find_is_smaller_and_was_seen_twice(hunt: Callable[..., Hunt]) -> None:
    """What is told on the way is what an interrupted search has to show."""
    told: list[Find] = []
    bed = Testbed()
    found = look(hunt(bed, found=told.append))
    assert told[-1] == found
    assert len(told) > 1
    for each in told:
        assert bed.tried.count(each.candidate) == 2


def test_nothing_is_found_where_nothing_breaks(hunt: Callable[..., Hunt]) -> None:
    """As many schedules as were asked for; those that ended unknown are counted apart."""
    bed = Testbed(lambda _: False)
    search = hunt(bed, runs=15)
    assert look(search) is None
    schedules = [candidate for candidate in bed.tried if candidate.faults]
    assert len(schedules) == search.tries <= 15
    assert len({candidate.key for candidate in schedules}) == len(schedules)
    assert search.unknown == sum(bed.attempt(candidate) == BLIND for candidate in schedules)
    assert search.good == len(schedules) - search.unknown > 0


def test_what_ends_unknown_is_no_find(hunt: Callable[..., Hunt]) -> None:
    """However often."""
    search = hunt(Testbed())
    search.attempt = lambda candidate: BLIND if candidate.faults else GOOD
    assert look(search) is None
    assert (search.good, search.unknown) == (0, 40)


def test_what_breaks_once_and_not_again_is_no_find(hunt: Callable[..., Hunt]) -> None:
    """It is kept apart, and told."""
    bed = Testbed()
    bed._breaks = lambda candidate: any(map(loses_orders, candidate.faults)) and bed.tried.count(candidate) == 1
    search = hunt(bed)
    assert look(search) is None
    assert search.flaky
    assert all(any(map(loses_orders, each.candidate.faults)) for each in search.flaky)


def test_the_next_search_starts_with_what_was_found(hunt: Callable[..., Hunt]) -> None:
    """With another seed, and a single run."""
    found = look(hunt(Testbed()))
    assert found is not None
    bed = Testbed()
    again = look(hunt(bed, seed=99, runs=1))
    assert again is not None
    assert again.candidate == found.candidate
    assert next(candidate for candidate in bed.tried if candidate.faults) == found.candidate


def test_another_scenario_starts_from_nothing(hunt: Callable[..., Hunt]) -> None:
    """Its key is another one."""
    found = look(hunt(Testbed()))
    bed = Testbed()
    look(hunt(bed, seed=99, key="another"))
    assert found is not None
    assert next(candidate for candidate in bed.tried if candidate.faults) != found.candidate


def test_traffic_that_breaks_by_itself_says_nothing_of_faults(hunt: Callable[..., Hunt]) -> None:
    """Schedules with it are left out."""
    bed = Testbed(lambda candidate: candidate.scale < 1)
    search = hunt(bed)
    assert look(search) is None
    assert {candidate.scale for candidate in bed.tried if candidate.faults} == {1.0}


def test_the_same_seed_tries_the_same(hunt: Callable[..., Hunt]) -> None:
    """In the same order."""
    first, second = Testbed(lambda _: False), Testbed(lambda _: False)
    look(hunt(first))
    look(hunt(second))
    assert first.tried == second.tried


def test_the_way_to_the_smallest_is_not_endless(hunt: Callable[..., Hunt]) -> None:
    """After so many tries the smallest so far is what there is, and it is said that there may be a smaller one."""
    search = hunt(Testbed(lambda candidate: bool(candidate.faults)), runs=1, seed=4)
    search.attempt = lambda candidate: LOST if candidate.faults else GOOD
    found = look(search)
    assert found is not None
    assert search.tries <= found.tries[0] + search.patience + 2
