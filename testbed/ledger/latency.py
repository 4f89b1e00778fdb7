"""Latency as the customers saw it: from the planned time, so that a stalled service can't hide its queue."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from testbed.ledger.history import Attempt, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Percentiles in milliseconds; 0 where nothing was acknowledged."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    max: float = 0.0


class Latencies:
    """The latencies of the acknowledged attempts of one architecture, eight bytes each; see `latency_ms`.

    Args:
        attempts: The first to `add`.
    """

    def __init__(self, attempts: Iterable[Attempt] = ()) -> None:
        self._values = array("d")
        for attempt in attempts:
            self.add(attempt)

    def add(self, attempt: Attempt) -> None:
        """Take in the next attempt; it may come in any order."""
        if attempt.outcome is Outcome.ACKNOWLEDGED and attempt.finished is not None:
            self._values.append((attempt.finished - attempt.planned) * 1000)

    def percentiles(self) -> Latency:
        """The percentiles of what was added so far."""
        if not self._values:
            return Latency()
        values = sorted(self._values)
        p50, p95, p99, p999, highest = (_nearest_rank(values, mille) for mille in (500, 950, 990, 999, 1000))
        return Latency(p50=p50, p95=p95, p99=p99, p999=p999, max=highest)


def latency_ms(attempts: Iterable[Attempt]) -> Latency:
    """The latency of the acknowledged attempts, ``finished - planned``.

    A percentile is the nearest rank: the smallest observed value that at least this share of all values does not
    exceed. It is always a value that was observed, never one interpolated between two.
    """
    return Latencies(attempts).percentiles()


def _nearest_rank(values: list[float], per_mille: int) -> float:
    rank = -(-len(values) * per_mille // 1000)  # rounded up in whole numbers: floats would miss exact ranks
    return round(values[rank - 1], 3)
