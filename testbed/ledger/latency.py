"""Latency as the customers saw it: from the planned time, so that a stalled service can't hide its queue."""

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


def latency_ms(attempts: Iterable[Attempt]) -> Latency:
    """The latency of the acknowledged attempts, ``finished - planned``.

    A percentile is the nearest rank: the smallest observed value that at least this share of all values does not
    exceed. It is always a value that was observed, never one interpolated between two.
    """
    values = sorted(
        (attempt.finished - attempt.planned) * 1000
        for attempt in attempts
        if attempt.outcome is Outcome.ACKNOWLEDGED and attempt.finished is not None
    )
    if not values:
        return Latency()
    p50, p95, p99, p999, highest = (_nearest_rank(values, mille) for mille in (500, 950, 990, 999, 1000))
    return Latency(p50=p50, p95=p95, p99=p99, p999=p999, max=highest)


def _nearest_rank(values: list[float], per_mille: int) -> float:
    rank = -(-len(values) * per_mille // 1000)  # rounded up in whole numbers: floats would miss exact ranks
    return round(values[rank - 1], 3)
