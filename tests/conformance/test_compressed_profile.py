"""The design's rule for `compress`: every wait on AWS's side is divided, what the user configures is not."""

import pytest

from testbed.semantics.backoff import Backoff
from testbed.semantics.profiles import aws


def test_compress_divides_the_waits_of_aws() -> None:
    """The ramp per minute becomes one per 6 s with k = 10; counts and sizes stay."""
    fast = aws.compress(10)
    assert fast.sqs.added_per_minute == 3000
    assert (fast.sqs.starting_pollers, fast.sqs.maximum_pollers) == (5, 1250)
    assert fast.stream.poll_interval == 0.1
    assert fast.stream.error_retry.delay(1) == aws.stream.error_retry.delay(1) / 10
    assert aws.compress(1) == aws


def test_compress_refuses_what_it_cannot_divide_by() -> None:
    """Zero and negative numbers are no compression."""
    with pytest.raises(ValueError, match="above 0"):
        aws.compress(0)


def test_a_backoff_doubles_to_its_cap_and_jitters_down_to_half() -> None:
    """The named parameters do what their docstring says, however many failures there are."""
    backoff = Backoff(base=1, cap=10)
    assert [backoff.delay(n) for n in (1, 2, 3, 4, 5, 10_000)] == [1, 2, 4, 8, 10, 10]
    assert backoff.delay(3, spread=0.0) == 2
