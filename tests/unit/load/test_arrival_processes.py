"""Plans of arrivals: what each process plans, and that a plan never changes."""

import hashlib
import json

import pytest

from testbed.errors import UsageError
from testbed.load.arrivals import Arrivals, Constant, Poisson, Ramp, Spike

SALE = Spike(base_rate=20, factor=10, before=5, during=3, after=4)


def test_constant_arrivals_are_evenly_spaced_from_the_start() -> None:
    """Ten per second for half a second: five, the first one at once, none at the end."""
    assert Constant(10, 0.5).plan(1) == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_a_ramp_plans_the_area_under_its_rate() -> None:
    """From 0 to 4 per second in 2 s: the k-th arrival is due when t squared is k."""
    assert Ramp(0, 4, 2).plan(1) == [0.0, 1.0, round(2**0.5, 6), round(3**0.5, 6)]


def test_a_ramp_down_mirrors_a_ramp_up() -> None:
    """From 4 to 0 per second the gaps grow; the last arrivals are not cut off."""
    assert Ramp(4, 0, 2).plan(1) == [0.0, round(2 - 3**0.5, 6), round(2 - 2**0.5, 6), 1.0]


def test_a_level_ramp_is_constant() -> None:
    """Equal rates at both ends plan what the constant process plans."""
    assert Ramp(10, 10, 2).plan(1) == Constant(10, 2).plan(1)


@pytest.mark.parametrize("silence", [Constant(0, 5), Poisson(0, 5), Ramp(0, 0, 5), Constant(9, 0), Ramp(1, 9, 0)])
def test_no_rate_or_no_time_plans_nothing(silence: Arrivals) -> None:
    """Silence is a stage like any other."""
    assert silence.plan(1) == []


def test_stages_follow_each_other() -> None:
    """The second part starts where the first one ends."""
    traffic = Constant(2, 1) + Constant(4, 0.5) + Constant(1, 1)
    assert traffic.plan(1) == [0.0, 0.5, 1.0, 1.25, 1.5]
    assert traffic.duration == 2.5


def test_a_spike_multiplies_the_rate_while_it_lasts() -> None:
    """About 100 arrivals before, 600 during, 80 after: far more during the spike than in both others together."""
    times = SALE.plan(42)
    during = [time for time in times if 5 <= time < 8]
    assert 500 < len(during) < 700
    assert 130 < len(times) - len(during) < 230


@pytest.mark.parametrize(
    ("t", "stage"), [(-1, "quiet start"), (4.99, "quiet start"), (5, "spike"), (8, "tail"), (99, "tail")]
)
def test_each_moment_belongs_to_a_stage(t: float, stage: str) -> None:
    """A stage begins with its first moment; the outer ones extend to both sides."""
    assert SALE.stage_at(t) == stage


def test_a_stage_has_a_window_for_faults() -> None:
    """Faults are bound to a stage by its name, not by numbers that drift apart."""
    assert SALE.window("spike") == (5, 8)
    with pytest.raises(UsageError, match="no stage 'burst'"):
        SALE.window("burst")


def test_the_seed_decides_and_nothing_else() -> None:
    """Equal seeds, equal plans; other seeds, other plans; the stages of one plan differ as well."""
    assert SALE.plan(1) == SALE.plan(1) != SALE.plan(2)
    twice = (Poisson(50, 2) + Poisson(50, 2)).plan(1)
    assert [t for t in twice if t < 2] != [round(t - 2, 6) for t in twice if t >= 2]


def test_a_plan_is_the_same_on_every_python_version() -> None:
    """The digest was taken with Python 3.11; a changed generator of randomness would break every replay."""
    times = (SALE + Ramp(20, 0, 3)).plan(42)
    assert hashlib.sha256(json.dumps(times).encode()).hexdigest()[:16] == "a97aba2279f9532f"


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("process", [Constant, Poisson])
def test_impossible_numbers_are_refused(process: type[Constant | Poisson], bad: float) -> None:
    """A negative, endless or missing rate or time is a mistake of the scenario."""
    for rate, seconds in ((bad, 1.0), (1.0, bad)):
        with pytest.raises(UsageError, match=r"can't be planned"):
            process(rate, seconds)
