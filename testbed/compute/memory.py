"""Memory as a limit: environments that have more than their function's MemorySize are killed, as on AWS.

A limit of the kernel would need a control group, and that root. RLIMIT_AS and RLIMIT_DATA count address space, of which
threads and allocators reserve much that they never use. So the resident memory of those environments that are busy is
read at short intervals. What an environment shares with the fork server counts in full, as the same libraries would on
AWS; what it starts as processes of its own does not count.
"""

import asyncio
import contextlib
import os
from typing import Final, Protocol

_INTERVAL_SECONDS: Final = 0.02
_LOOK_SECONDS: Final = 7e-6
_SHARE: Final = 0.05
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Watched(Protocol):
    """An environment as the watch sees it.

    Attributes:
        memory_bytes: The most that it may have.
    """

    memory_bytes: int

    @property
    def pid(self) -> int | None:
        """Of its process; None where there is none."""
        ...

    def runs_out_of_memory(self, used: int) -> None:
        """It has ``used`` bytes, more than it may have: kill it."""
        ...


class MemoryWatch:
    """Looks at busy environments fifty times a second, and more rarely where more than 140 are busy.

    A look costs 7 microseconds, so the watch takes a twentieth of a core at most, and nothing while none is busy.
    """

    def __init__(self) -> None:
        self._busy: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, environment: Watched) -> None:
        """``environment`` is busy from now on."""
        self._busy.add(environment)
        if self._timer is None:
            self._look_later()

    def discard(self, environment: Watched) -> None:
        """``environment`` is idle, or has ended."""
        self._busy.discard(environment)

    def _look(self) -> None:
        self._timer = None
        for environment in list(self._busy):
            if environment.pid is not None and (used := resident_bytes(environment.pid)) > environment.memory_bytes:
                self._busy.discard(environment)
                environment.runs_out_of_memory(used)
        if self._busy:
            self._look_later()

    def _look_later(self) -> None:
        seconds = max(_INTERVAL_SECONDS, len(self._busy) * _LOOK_SECONDS / _SHARE)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)


def resident_bytes(pid: int) -> int:
    """The memory that ``pid`` has now; 0 where it is gone."""
    with contextlib.suppress(OSError):
        descriptor = os.open(f"/proc/{pid}/statm", os.O_RDONLY)
        try:
            return int(os.read(descriptor, 128).split()[1]) * _PAGE_BYTES
        finally:
            os.close(descriptor)
    return 0
