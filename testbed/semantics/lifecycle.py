"""The life of an execution environment: its start, what a failure does to it, how long an idle one is kept, its bill.

Source: AWS Lambda developer guide, Understanding the Lambda execution environment lifecycle.
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True, slots=True)
class LifecycleProfile:
    """Numbers of execution environments.

    Attributes:
        init_seconds: How long an initialisation may take before it is done again as part of the first invoke (10).
        provisioned_init_seconds: The same for provisioned concurrency, unless the function's timeout is longer (130).
        idle_seconds: How long an idle environment is kept. AWS publishes no number; 5 to 60 minutes were seen.
    """

    init_seconds: float = 10.0
    provisioned_init_seconds: float = 130.0
    idle_seconds: float = 600.0

    def init_limit(self, timeout: float, *, provisioned: bool = False) -> float:
        """Seconds that the Init phase may take; ``timeout`` is the function's, in seconds."""
        return max(self.provisioned_init_seconds, timeout) if provisioned else self.init_seconds

    def compress(self, k: float) -> "LifecycleProfile":
        """The same with idle environments ended ``k`` times sooner; what a function needs to start is its own."""
        return replace(self, idle_seconds=self.idle_seconds / k)


class Resets(Generic[_Key]):
    """Environments that wait, without a process, for the invoke that initialises them again.

    After a timeout, a crash or a failed initialisation Lambda resets the environment. The next invoke that gets it does
    a *suppressed init*: one attempt, inside the function's timeout, counted as duration and not reported as Init
    Duration. As the environment was there before, no new one is started as far as scaling is concerned.
    """

    def __init__(self) -> None:
        self._since: defaultdict[_Key, deque[float]] = defaultdict(deque)

    def add(self, key: _Key, now: float) -> None:
        """An environment of ``key`` was reset at ``now``, in seconds of any clock that never goes back."""
        self._since[key].append(now)

    def take(self, key: _Key) -> bool:
        """Whether an invoke of ``key`` gets an environment that was reset, which is taken then: the latest one."""
        waiting = self._since.get(key)
        if not waiting:
            return False
        waiting.pop()
        return True

    def drop(self, condition: Callable[[_Key, float], bool]) -> list[_Key]:
        """Give up the environments for whose key and time of reset ``condition`` holds; one key for each of them."""
        dropped = []
        for key, waiting in list(self._since.items()):
            dropped += [key for since in waiting if condition(key, since)]
            self._since[key] = deque(since for since in waiting if not condition(key, since))
            if not self._since[key]:
                del self._since[key]
        return dropped


def init_report(seconds: float, phase: str, error_type: str | None) -> str:
    """The line that Lambda logs of an initialisation that failed.

    Args:
        seconds: How long it took.
        phase: ``"init"``, or ``"invoke"`` for one that was done as part of an invoke.
        error_type: Of the failure, such as ``"Runtime.ExitError"``; None for one that ran out of time.
    """
    status = "Status: timeout" if error_type is None else f"Status: error\tError Type: {error_type}"
    return f"INIT_REPORT Init Duration: {seconds * 1000:.2f} ms\tPhase: {phase}\t{status}\n"


def billed_milliseconds(duration: float, init: float | None) -> int:
    """Whole milliseconds that Lambda bills, initialisation included (AWS Compute blog, billing of INIT, August 2025).

    ``duration`` and ``init`` are in seconds.
    """
    return math.ceil(round((duration + (init or 0.0)) * 1000, 2))
