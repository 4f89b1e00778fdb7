"""What holds for every arrival process, every rate and every seed."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from testbed.load.arrivals import Arrivals, Constant, Poisson, Ramp, Spike

ROUNDING = 1e-6
seeds = st.integers()
rates = st.floats(0, 200)
seconds = st.floats(0, 5)
stages = st.one_of(
    st.builds(Constant, rates, seconds), st.builds(Poisson, rates, seconds), st.builds(Ramp, rates, rates, seconds)
)
short = st.floats(0, 3)
traffic = st.one_of(
    stages,
    st.builds(Spike, st.floats(0, 30), st.floats(0, 5), short, short, short),
    st.lists(stages, min_size=2, max_size=4).map(lambda parts: sum(parts[1:], parts[0])),
)


@given(traffic, seeds)
def test_a_plan_is_ascending_and_within_its_duration(arrivals: Arrivals, seed: int) -> None:
    """No request before the start, none after the end, none out of order; and the plan can be repeated."""
    times = arrivals.plan(seed)
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert all(0 <= time <= arrivals.duration + ROUNDING for time in times)
    assert times == arrivals.plan(seed)


@given(rates, seconds)
def test_constant_arrivals_keep_their_rate(rate: float, duration: float) -> None:
    """The number is the area under the rate, rounded up."""
    assert abs(len(Constant(rate, duration).plan(0)) - rate * duration) <= 1


@given(rates, rates, seconds)
def test_a_ramp_never_leaves_its_rate(from_rate: float, to_rate: float, duration: float) -> None:
    """Up to each arrival the number is the area under the rate until then."""
    times = Ramp(from_rate, to_rate, duration).plan(0)
    assert abs(len(times) - (from_rate + to_rate) / 2 * duration) <= 1
    for k, t in enumerate(times):
        share = t / duration
        area = duration * (from_rate * share + (to_rate - from_rate) * share**2 / 2)
        assert math.isclose(area, k, abs_tol=200 * ROUNDING)


@given(st.floats(1, 200), st.floats(0.5, 5), seeds)
def test_poisson_arrivals_keep_their_rate_on_average(rate: float, duration: float, seed: int) -> None:
    """The number stays within ten standard deviations of its mean, which a right process never leaves."""
    mean = rate * duration
    assert abs(len(Poisson(rate, duration).plan(seed)) - mean) <= 10 * math.sqrt(mean) + 10


@given(traffic, seeds)
def test_joined_parts_plan_as_they_would_alone(arrivals: Arrivals, seed: int) -> None:
    """What follows a part does not change what the part plans."""
    joined = arrivals + Constant(5, 1)
    assert joined.plan(seed)[: len(arrivals.plan(seed))] == arrivals.plan(seed)


@given(traffic, st.floats(0, 1))
def test_every_moment_lies_in_the_window_of_its_stage(arrivals: Arrivals, share: float) -> None:
    """The stage at a moment is one whose window holds it."""
    t = share * arrivals.duration
    starts = [0.0]
    for stage in arrivals.stages:
        starts.append(starts[-1] + stage.seconds)
    holding = [s.name for s, (start, end) in zip(arrivals.stages, pairwise(starts), strict=True) if start <= t <= end]
    assert arrivals.stage_at(t) in holding
