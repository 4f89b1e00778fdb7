"""AWS Lambda developer guide, "Creating and configuring an SQS event source mapping", back-off strategy."""

from itertools import pairwise

import pytest

from testbed.semantics.profiles import aws
from testbed.semantics.sqs_mapping import ThrottleHold


def _tries(hold: ThrottleHold, now: float) -> list[float]:
    """Times of the invokes when every one is throttled at once."""
    times = [now]
    while (wait := hold.throttled(times[-1])) is not None:
        times.append(times[-1] + wait)
    return times


@pytest.mark.rule("sqs-mapping.throttle-hold")
@pytest.mark.parametrize("visibility_timeout", [6.0, 30.0, 300.0])
def test_a_throttled_batch_is_retried_until_its_messages_are_visible_again(visibility_timeout: float) -> None:
    """Back-off strategy: retried until the message's timestamp exceeds the visibility timeout, then dropped."""
    times = _tries(ThrottleHold(aws.sqs, 1000 + visibility_timeout), 1000)
    assert len(times) > 3
    assert times[-1] < 1000 + visibility_timeout
    assert times[-1] + aws.sqs.throttle_retry.cap >= 1000 + visibility_timeout


def test_the_waits_grow_up_to_a_cap() -> None:
    """Back-off strategy: Lambda gradually backs off its retries. The numbers are not published."""
    times = _tries(ThrottleHold(aws.sqs, 100), 0)
    waits = [round(later - earlier, 3) for earlier, later in pairwise(times)]
    assert waits[:6] == [0.5, 1, 2, 4, 8, 10]
    assert set(waits[6:]) == {10}
