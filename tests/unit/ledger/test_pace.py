"""When a machine is too slow for a test, and what Linux tells of that."""

import time
from pathlib import Path

import pytest

from testbed.ledger import pace as pace_module
from testbed.ledger.pace import Pace, processor_seconds


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


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="only Linux tells")
def test_linux_tells_how_long_a_thread_has_run() -> None:
    """In seconds."""
    ran, _ = processor_seconds()
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass
    assert 0.04 < processor_seconds()[0] - ran < 5


def test_both_figures_are_taken_and_none_where_the_system_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In nanoseconds there, and with a count of time slices behind them."""
    told = tmp_path / "schedstat"
    monkeypatch.setattr(pace_module, "_KERNEL", told)
    assert processor_seconds() == (0.0, 0.0)
    told.write_text("1500000000 250000000 7\n")
    assert processor_seconds() == (1.5, 0.25)
