"""The slow database's delays."""

import pytest

from testbed.chaos.call import Call
from testbed.chaos.faults.slow_postgres import SlowPostgres
from testbed.errors import UsageError


def call(identity: str, attempt: int = 1) -> Call:
    return Call("postgres", "Query", "shop", "client", identity, attempt, 0)


def delay_of(fault: SlowPostgres, identity: str, attempt: int = 1, seed: int = 1) -> float:
    injection = fault.inject(call(identity, attempt), seed)
    assert injection.answer is None
    return injection.delay


def test_delays_every_query_by_the_latency_in_seconds() -> None:
    """Without jitter the delay is the latency, to the millisecond."""
    assert delay_of(SlowPostgres(latency_ms=80), "a") == 0.08


def test_jitter_spreads_both_ways_and_never_further() -> None:
    """Over many queries the delays fill latency - jitter to latency + jitter, and their mean is the latency."""
    delays = [delay_of(SlowPostgres(latency_ms=80, jitter_ms=30), str(index)) for index in range(5_000)]
    assert 0.05 <= min(delays) < 0.051
    assert 0.109 < max(delays) < 0.11
    assert sum(delays) / len(delays) == pytest.approx(0.08, abs=0.001)


def test_jitter_is_that_of_the_query_its_attempt_and_the_seed() -> None:
    """The same query in the same attempt of the same seed waits as long; any other waits differently."""
    fault = SlowPostgres(latency_ms=80, jitter_ms=30)
    waits = [delay_of(fault, "a"), delay_of(fault, "b"), delay_of(fault, "a", 2), delay_of(fault, "a", seed=2)]
    assert delay_of(fault, "a") == waits[0]
    assert len(set(waits)) == 4


@pytest.mark.parametrize(("latency", "jitter"), [(0, 0), (-5, 0), (10, 11), (10, -1)])
def test_refuses_latencies_that_cannot_be(latency: float, jitter: float) -> None:
    """No latency at all never fires; a jitter above the latency would need time to run backwards."""
    with pytest.raises(UsageError, match="latency"):
        SlowPostgres(latency_ms=latency, jitter_ms=jitter)
