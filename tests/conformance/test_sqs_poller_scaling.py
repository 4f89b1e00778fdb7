"""AWS Lambda developer guide, "Configuring scaling behavior for SQS event source mappings"."""

import pytest

from testbed.semantics.profiles import aws
from testbed.semantics.sqs_mapping import PollerScaling


def _observed(scaling: PollerScaling, *, seconds: float, start: float = 0.0, backlog: bool = True) -> int:
    steps = int(seconds * 10)
    for step in range(1, steps + 1):
        scaling.observe(start + step / 10, backlog=backlog)
    return scaling.pollers


@pytest.mark.rule("sqs-mapping.ramp")
def test_a_mapping_starts_with_five_concurrent_batches() -> None:
    """Developer guide: Lambda begins with five batches at a time."""
    assert PollerScaling(aws.sqs, 0.0).pollers == 5


@pytest.mark.rule("sqs-mapping.ramp")
def test_three_hundred_are_added_per_minute() -> None:
    """Developer guide: while messages are available, up to 300 more concurrent invokes per minute."""
    assert _observed(PollerScaling(aws.sqs, 0.0), seconds=60) == pytest.approx(305, abs=1)


@pytest.mark.rule("sqs-mapping.ramp")
def test_a_mapping_reaches_1250_after_a_little_more_than_four_minutes() -> None:
    """AWS Compute blog, faster polling scale-up: (1,250 - 5) / 300 are 4.15 minutes; the maximum is 1,250."""
    scaling = PollerScaling(aws.sqs, 0.0)
    assert _observed(scaling, seconds=248) < 1250
    assert _observed(scaling, seconds=2, start=248) == 1250
    assert _observed(scaling, seconds=60, start=250) == 1250


def test_maximum_concurrency_is_the_cap() -> None:
    """AWS Compute blog, maximum concurrency: the mapping never invokes more than that at a time, from the start."""
    assert PollerScaling(aws.sqs, 0.0, maximum_concurrency=2).pollers == 2
    scaling = PollerScaling(aws.sqs, 0.0, maximum_concurrency=10)
    assert scaling.pollers == 5
    assert _observed(scaling, seconds=30) == 10
    scaling.limit(4)
    assert scaling.pollers == 4
    scaling.limit(None)
    assert _observed(scaling, seconds=60, start=30) > 250


def test_without_a_backlog_it_goes_back_to_five() -> None:
    """Developer guide: Lambda scales in again when the queue is quiet. How fast is not published."""
    scaling = PollerScaling(aws.sqs, 0.0)
    _observed(scaling, seconds=60)
    assert _observed(scaling, seconds=120, start=60, backlog=False) == 5


def test_failures_reduce_the_concurrency_gradually_and_it_recovers() -> None:
    """Developer guide, back-off strategy: errors and throttles reduce the concurrency. How far is not published."""
    scaling = PollerScaling(aws.sqs, 0.0)
    assert scaling.back_off() == 4
    for _ in range(100):
        scaling.back_off()
    assert scaling.pollers == aws.sqs.minimum_pollers
    assert _observed(scaling, seconds=5, backlog=False) == 5
