"""Latency counts from the planned time, over what was acknowledged."""

from testbed.ledger.history import Attempt, Outcome
from testbed.ledger.latency import Latency, latency_ms


def attempt(latency: float, outcome: Outcome = Outcome.ACKNOWLEDGED) -> Attempt:
    """An attempt that was sent 1 s late."""
    return Attempt(
        architecture="sync", id="a", planned=2.0, sent=3.0, finished=2.0 + latency, outcome=outcome, trace="1-a"
    )


def test_percentiles_are_nearest_ranks() -> None:
    """Of 1 to 1000 ms the 99th percentile is the 990th value, exactly."""
    found = latency_ms([attempt(ms / 1000) for ms in range(1000, 0, -1)])
    assert found == Latency(p50=500, p95=950, p99=990, p999=999, max=1000)


def test_one_value_is_every_percentile() -> None:
    """The nearest rank of a single value is that value."""
    assert latency_ms([attempt(0.0123)]) == Latency(p50=12.3, p95=12.3, p99=12.3, p999=12.3, max=12.3)


def test_few_values_have_their_maximum_as_high_percentiles() -> None:
    """Of three values the median is the second, and p95 to p999 are the third: nothing is interpolated."""
    assert latency_ms([attempt(0.3), attempt(0.1), attempt(0.2)]) == Latency(
        p50=200, p95=300, p99=300, p999=300, max=300
    )


def test_only_acknowledged_attempts_count() -> None:
    """A fast refusal does not improve the latency."""
    refused = [attempt(0.001, outcome) for outcome in Outcome if outcome is not Outcome.ACKNOWLEDGED]
    assert latency_ms([*refused, attempt(0.5)]).p50 == 500
    assert latency_ms(refused) == Latency()
