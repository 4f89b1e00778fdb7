"""What Linux tells of the processor time of a process."""

import time
from pathlib import Path

import pytest

from testbed.gateway import processor
from testbed.gateway.processor import processor_seconds


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
    monkeypatch.setattr(processor, "_KERNEL", told)
    assert processor_seconds() == (0.0, 0.0)
    told.write_text("1500000000 250000000 7\n")
    assert processor_seconds() == (1.5, 0.25)
