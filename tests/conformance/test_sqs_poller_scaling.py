"""AWS Lambda developer guide, "Configuring scaling behavior for SQS event source mappings"."""

from dataclasses import replace

import pytest

from testbed.semantics.profiles import aws, legacy
from testbed.semantics.sqs_mapping import PollerScaling, PollPace, ProvisionedPollers, SqsMappingProfile


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


@pytest.mark.rule("sqs-mapping.maximum-concurrency")
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


@pytest.mark.rule("sqs-mapping.scale-in")
def test_without_a_backlog_it_goes_back_to_five() -> None:
    """Developer guide: Lambda scales in again when the queue is quiet. How fast is not published."""
    scaling = PollerScaling(aws.sqs, 0.0)
    _observed(scaling, seconds=60)
    assert _observed(scaling, seconds=120, start=60, backlog=False) == 5


@pytest.mark.rule("sqs-mapping.back-off")
def test_failures_reduce_the_concurrency_gradually_and_it_recovers() -> None:
    """Developer guide, back-off strategy: errors and throttles reduce the concurrency. How far is not published."""
    scaling = PollerScaling(aws.sqs, 0.0)
    assert scaling.back_off() == 4
    for _ in range(100):
        scaling.back_off()
    assert scaling.pollers == aws.sqs.minimum_pollers
    assert _observed(scaling, seconds=5, backlog=False) == 5


@pytest.mark.rule("sqs-mapping.ramp", "case.poller-ramp")
@pytest.mark.parametrize(("mapping", "minutes"), [(legacy.sqs, 20.75), (aws.sqs, 4.15)])
def test_the_ramp_takes_as_long_as_the_blog_says(mapping: SqsMappingProfile, minutes: float) -> None:
    """Compute blog, November 2023: (1,250 - 5) / 60 = 20.75 minutes, and / 300 = 4.15. Its 1,250 holds for both."""
    scaling = PollerScaling(replace(mapping, maximum_pollers=1250), 0.0)
    assert _observed(scaling, seconds=minutes * 60 - 1) < 1250
    assert _observed(scaling, seconds=2, start=minutes * 60 - 1) == 1250


@pytest.mark.rule("sqs-mapping.ramp")
def test_the_legacy_maximum_is_a_thousand() -> None:
    """Developer guide of 2022: up to 1,000 batches at the same time."""
    assert _observed(PollerScaling(legacy.sqs, 0.0), seconds=1800) == 1000


@pytest.mark.rule("sqs-mapping.provisioned", "case.poller-ramp")
def test_provisioned_pollers_add_a_thousand_per_minute() -> None:
    """Developer guide, provisioned mode: ten invokes for each poller, up to 1,000 more per minute, 20 at least."""
    scaling = PollerScaling(aws.sqs, 0.0, provisioned=ProvisionedPollers())
    assert (scaling.pollers, scaling.event_pollers) == (20, 2)
    assert _observed(scaling, seconds=60) == pytest.approx(1020, abs=2)
    assert _observed(scaling, seconds=60, start=60) == 2000
    assert scaling.event_pollers == 200
    assert _observed(scaling, seconds=600, start=120, backlog=False) == 20


@pytest.mark.rule("sqs-mapping.provisioned")
def test_a_mapping_may_go_to_provisioned_mode_and_back() -> None:
    """Developer guide, provisioned mode: UpdateEventSourceMapping turns it on, and off with an empty configuration."""
    scaling = PollerScaling(aws.sqs, 0.0)
    scaling.limit(None, ProvisionedPollers(minimum=5, maximum=6))
    assert scaling.pollers == 50
    assert _observed(scaling, seconds=60) == 60
    scaling.limit(None)
    assert _observed(scaling, seconds=600, start=60, backlog=False) == 5


@pytest.mark.rule("sqs-mapping.provisioned-capacity")
def test_a_provisioned_poller_polls_ten_times_and_reads_a_megabyte_per_second() -> None:
    """Developer guide, provisioned mode: each event poller up to 10 polls per second and up to 1 MB per second."""
    polls = PollPace(aws.sqs, 2)
    assert sum(polls.poll(step / 100) == 0 for step in range(1000)) == pytest.approx(20 + 200, abs=1)
    size = 400 * 1024
    data, read = PollPace(aws.sqs, 2), 0
    for step in range(1000):
        if data.poll(step / 100) == 0:
            data.read(size)
            read += size
    assert read == pytest.approx((2 + 20) * 1024 * 1024, abs=2 * size)


@pytest.mark.rule("sqs-mapping.scale-in")
def test_an_idle_mapping_may_go_to_two_unless_maximum_concurrency_is_set() -> None:
    """Developer guide: can optimize to as few as 2, but not with maximum concurrency; when is a parameter."""
    frugal = replace(aws.sqs, idle_pollers=2)
    assert _observed(PollerScaling(frugal, 0.0), seconds=60, backlog=False) == 2
    assert _observed(PollerScaling(frugal, 0.0, maximum_concurrency=9), seconds=60, backlog=False) == 5
