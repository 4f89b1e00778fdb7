"""Arrival processes of the open model: when requests are due, whatever becomes of the ones before.

A plan depends on the seed and on nothing else. Randomness comes from `random.Random.random`, seeded with a string:
the sequence that Python promises to keep (its documentation of `random`, "Notes on Reproducibility"). Planned times
are rounded to microseconds, so that the last bit of a machine's logarithm doesn't matter either.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, takewhile
from random import Random

from testbed.errors import UsageError


class Arrivals(ABC):
    """Traffic as a row of stages; ``a + b`` is ``b`` after ``a``."""

    @property
    @abstractmethod
    def stages(self) -> "tuple[Stage, ...]":
        """The stages in order."""

    def __add__(self, other: "Arrivals") -> "Arrivals":
        return _Joined(self.stages + other.stages)

    @property
    def duration(self) -> float:
        """Seconds from the start of the traffic to the end of the last stage."""
        return sum(stage.seconds for stage in self.stages)

    def plan(self, seed: int) -> list[float]:
        """The planned times, ascending, in seconds after the start of the traffic, rounded to microseconds."""
        return [
            round(start + time, 6)
            for index, (start, stage) in enumerate(self._placed())
            for time in stage.times(Random(f"arrivals/{seed}/{index}"))  # noqa: S311 - must be repeatable
        ]

    def stage_at(self, t: float) -> str:
        """Name of the stage at second ``t``; the first one's before the start, the last one's after the end."""
        name = self.stages[0].name
        for start, stage in self._placed():
            if start <= t:
                name = stage.name
        return name

    def window(self, name: str) -> tuple[float, float]:
        """Start and end, in seconds, of the first stage of this name: what ``during`` of a fault wants.

        Raises:
            UsageError: There is no such stage.
        """
        for start, stage in self._placed():
            if stage.name == name:
                return start, start + stage.seconds
        known = ", ".join(repr(stage.name) for stage in self.stages)
        raise UsageError(f"the traffic has no stage {name!r}", f"its stages are {known}")

    def _placed(self) -> "Iterator[tuple[float, Stage]]":
        start = 0.0
        for stage in self.stages:
            yield start, stage
            start += stage.seconds


class Stage(Arrivals):
    """One arrival process for some seconds.

    Attributes:
        seconds: How long it takes.
        name: What the report calls it.
    """

    seconds: float
    name: str

    @property
    def stages(self) -> "tuple[Stage, ...]":
        """Itself."""
        return (self,)

    @abstractmethod
    def times(self, rng: Random) -> Iterator[float]:
        """Arrivals in ascending order, in seconds after the start of the stage, none after its end."""


@dataclass(frozen=True)
class _Joined(Arrivals):
    parts: tuple[Stage, ...]

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.parts


@dataclass(frozen=True)
class Constant(Stage):
    """Evenly spaced arrivals: ``rate`` per second for ``seconds``, the first one at once."""

    rate: float
    seconds: float
    name: str = "constant"

    def __post_init__(self) -> None:
        _check(self, self.rate, self.seconds)

    def times(self, rng: Random) -> Iterator[float]:  # noqa: ARG002 - nothing is random here
        """See `Stage.times`."""
        if self.rate == 0:
            return iter(())
        return takewhile(lambda time: time < self.seconds, (k / self.rate for k in count()))


@dataclass(frozen=True)
class Poisson(Stage):
    """Independent customers: exponential gaps, on average ``rate`` arrivals per second for ``seconds``."""

    rate: float
    seconds: float
    name: str = "poisson"

    def __post_init__(self) -> None:
        _check(self, self.rate, self.seconds)

    def times(self, rng: Random) -> Iterator[float]:
        """See `Stage.times`."""
        if self.rate == 0:
            return
        time = -math.log(1 - rng.random()) / self.rate
        while time < self.seconds:
            yield time
            time -= math.log(1 - rng.random()) / self.rate


@dataclass(frozen=True)
class Ramp(Stage):
    """Arrivals whose rate changes linearly from ``from_rate`` to ``to_rate`` per second within ``seconds``.

    They are as regular as those of `Constant`: the k-th is due when the area under the rate has grown to k.
    """

    from_rate: float
    to_rate: float
    seconds: float
    name: str = "ramp"

    def __post_init__(self) -> None:
        _check(self, self.from_rate, self.to_rate, self.seconds)

    def times(self, rng: Random) -> Iterator[float]:  # noqa: ARG002 - nothing is random here
        """See `Stage.times`."""
        total = (self.from_rate + self.to_rate) / 2 * self.seconds
        return (self._time_of(k) for k in takewhile(lambda k: k < total, count()))

    def _time_of(self, k: int) -> float:
        """Solves from_rate * t + slope * t**2 / 2 = k, in the form that neither cancels nor divides by the slope."""
        if k == 0:
            return 0.0
        slope = (self.to_rate - self.from_rate) / self.seconds
        rate_then = math.sqrt(max(0.0, self.from_rate**2 + 2 * slope * k))
        return min(self.seconds, 2 * k / (self.from_rate + rate_then))


@dataclass(frozen=True)
class Spike(Arrivals):
    """A sale: a quiet start, a spike of ``factor`` times the ``base_rate``, a tail, all of them Poisson.

    Attributes:
        base_rate: Arrivals per second before and after the spike.
        factor: How many times that during it.
        before: Seconds of stage ``"quiet start"``.
        during: Seconds of stage ``"spike"``.
        after: Seconds of stage ``"tail"``.
    """

    base_rate: float
    factor: float
    before: float
    during: float
    after: float

    def __post_init__(self) -> None:
        _check(self, self.base_rate, self.factor, self.before, self.during, self.after)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The three stages."""
        return (
            Poisson(self.base_rate, self.before, "quiet start"),
            Poisson(self.base_rate * self.factor, self.during, "spike"),
            Poisson(self.base_rate, self.after, "tail"),
        )


def _check(arrivals: Arrivals, *numbers: float) -> None:
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise UsageError(f"{arrivals} can't be planned", "rates and seconds are finite and not negative")
