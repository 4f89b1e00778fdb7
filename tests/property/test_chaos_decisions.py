"""Decisions do not depend on the order of calls, nor on how many run at a time."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.chaos.call import Call, Decision
from testbed.chaos.catalogue import faults_from_json, to_json
from testbed.chaos.fault import Fault
from testbed.chaos.faults.poison import Poison
from testbed.chaos.faults.poison_kinds import KINDS
from testbed.chaos.faults.slow_postgres import SlowPostgres
from testbed.chaos.faults.throttle import Throttle
from testbed.chaos.schedule import Schedule

services = st.sampled_from(["sqs", "lambda"])
operations = st.sampled_from(["Send", "Receive"])
seconds = st.integers(0, 50)
windows = st.none() | st.tuples(seconds, seconds).map(lambda pair: (float(min(pair)), float(max(pair) + 1)))
throttles = st.builds(
    Throttle,
    service=services,
    operations=st.lists(operations, max_size=2).map(tuple),
    probability=st.floats(0.01, 1),
    during=windows,
)
slow = st.builds(SlowPostgres, latency_ms=st.floats(10, 500), jitter_ms=st.floats(0, 10), during=windows)
poison = st.builds(
    Poison, kinds=st.lists(st.sampled_from(list(KINDS)), min_size=1, unique=True).map(tuple), every=st.integers(1, 500)
)
fault_lists = st.lists(throttles | slow | poison, max_size=5)
calls = st.builds(
    Call,
    service=services | st.sampled_from(["postgres", "sns"]),
    operation=operations,
    resource=st.just("orders"),
    caller=st.just("client"),
    identity=st.text(max_size=8),
    attempt=st.integers(1, 5),
    at=st.floats(0, 60),
)
call_lists = st.lists(calls, min_size=5, max_size=40)


def decided(faults: Sequence[Fault], seed: int, order: Sequence[Call]) -> dict[Call, Decision | None]:
    """Each call with its decision, made in the given order by a schedule of its own."""
    schedule = Schedule(faults, seed)
    return {call: schedule.decide(call) for call in order}


@given(fault_lists, st.integers(), call_lists, st.randoms(use_true_random=False))
def test_any_order_of_the_calls_gets_the_same_decisions(
    faults: list[Fault], seed: int, order: list[Call], random: object
) -> None:
    """What hits a call is a matter of that call, not of those before it."""
    shuffled = list(order)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decided(faults, seed, shuffled) == decided(faults, seed, order)


async def decided_by(tasks: int, faults: Sequence[Fault], seed: int, order: Sequence[Call]) -> tuple[object, object]:
    """Decisions and counts where so many tasks share the calls, and each call waits its turn of the loop."""
    schedule, found, left = Schedule(faults, seed), {}, list(enumerate(order))

    async def work() -> None:
        while left:
            index, call = left.pop()
            for _ in range(hash((index, tasks)) % 3):
                await asyncio.sleep(0)
            found[index] = schedule.decide(call)

    await asyncio.gather(*(work() for _ in range(tasks)))
    return found, schedule.fired


@settings(max_examples=50)
@given(fault_lists, st.integers(), call_lists)
def test_one_task_and_sixty_four_get_the_same_decisions(faults: list[Fault], seed: int, order: list[Call]) -> None:
    """Concurrency changes when calls are decided, not what is decided, nor how often each fault fired."""
    alone = asyncio.run(decided_by(1, faults, seed, order))
    assert asyncio.run(decided_by(64, faults, seed, order)) == alone


@given(fault_lists)
def test_any_list_of_faults_survives_json(faults: list[Fault]) -> None:
    """A replay gets from the manifest exactly the faults of the run."""
    assert faults_from_json(to_json(faults)) == faults


@given(poison, st.integers(), st.integers(0, 5_000))
def test_poison_takes_its_exact_share_in_equal_kinds(fault: Poison, seed: int, orders: int) -> None:
    """round(orders / every) different orders of the plan, and no kind gets two more than another."""
    kinds = fault.plan(seed, orders).kinds
    assert len(kinds) == round(orders / fault.every)
    assert all(0 <= index < orders for index in kinds)
    shares = [list(kinds.values()).count(kind) for kind in fault.kinds]
    assert max(shares) - min(shares) <= 1
