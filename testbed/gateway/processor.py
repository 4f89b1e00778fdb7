"""What the system tells of the processor time that the data plane gets."""

from pathlib import Path
from typing import Final

_KERNEL: Final = Path("/proc/self/schedstat")


def processor_seconds() -> tuple[float, float]:
    """For how long the main thread of this process has run, and waited to run, in seconds.

    It is what Linux counts for each thread (Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat"); two
    zeros on another system.
    """
    try:
        ran, waited, _ = _KERNEL.read_text(encoding="ascii").split()
    except OSError:
        return 0.0, 0.0
    return int(ran) / 1e9, int(waited) / 1e9
