"""When a machine is too slow for a test."""

import pytest

from testbed.ledger.pace import Pace


@pytest.mark.parametrize(
    "pace",
    [Pace(), Pace(late=2.0, stalled=2.0, ran=3.0, waited=17.0), Pace(ran=1.0)],
)
def test_a_machine_that_keeps_up_is_fast_enough(pace: Pace) -> None:
    """Up to the limits; where nothing was measured, nothing is said."""
    assert pace.too_slow() == ""


@pytest.mark.parametrize(
    ("pace", "reason"),
    [
        (Pace(ran=1, waited=6), "the data plane waited for a processor 86% of the time that it had work"),
        (Pace(stalled=2.04), "the data plane stood still for 2.0 s"),
        (Pace(late=2.1), "orders left up to 2.1 s late"),
        (Pace(late=9, stalled=8), "the data plane stood still for 8.0 s, orders left up to 9.0 s late"),
    ],
)
def test_a_machine_that_does_not_is_too_slow(pace: Pace, reason: str) -> None:
    """Each measure for itself, named with what was seen."""
    assert pace.too_slow() == reason
