"""AWS Lambda developer guide, "Batching behavior"."""

import pytest

from testbed.semantics.sqs_mapping import Batching, effective_visibility_timeout

SIX_MB = 6 * 1024 * 1024


def _filled(batching: Batching, records: int, size: int = 100, at: float = 0.0) -> Batching:
    for _ in range(records):
        batching.add(size, at)
    return batching


@pytest.mark.rule("sqs-mapping.batching")
def test_a_full_batch_goes_at_once() -> None:
    """Batching behavior: the batch size is reached."""
    batching = _filled(Batching(3, 60, SIX_MB), 3)
    assert batching.seconds_left(0) == 0
    assert not batching.fits(1)


@pytest.mark.rule("sqs-mapping.batching")
def test_the_window_starts_with_the_first_record() -> None:
    """Batching behavior: the batching window reaches its maximum value."""
    batching = Batching(100, 60, SIX_MB)
    batching.add(10, 5)
    batching.add(10, 50)
    assert batching.seconds_left(50) == 15
    assert batching.seconds_left(65) == 0


def test_without_a_window_nothing_is_waited_for() -> None:
    """Batching behavior: the default window of 0 invokes as soon as there are records."""
    assert _filled(Batching(10, 0, SIX_MB), 1).seconds_left(0) == 0


@pytest.mark.rule("sqs-mapping.batch-bytes")
def test_a_batch_is_six_megabytes_at_most() -> None:
    """Batching behavior: the payload size, metadata included, reaches 6 MB, which cannot be changed."""
    batching = _filled(Batching(10_000, 60, SIX_MB), 5, size=1024 * 1024)
    assert batching.fits(1024 * 1024)
    assert not batching.fits(1024 * 1024 + 1)
    batching.add(1024 * 1024, 0)
    assert batching.seconds_left(0) == 0


def test_one_record_always_fits_into_an_empty_batch() -> None:
    """A record can't be split: a batch of one is never refused, whatever its size."""
    assert Batching(1, 0, 10).fits(1000)


@pytest.mark.rule("sqs-mapping.effective-visibility")
def test_window_and_function_timeout_extend_the_visibility_timeout() -> None:
    """Developer guide (2022), SQS: above the queue's timeout, the mapping uses window + function timeout + 30 s."""
    assert effective_visibility_timeout(30, window=20, function_timeout=15) == 65
    assert effective_visibility_timeout(30, window=10, function_timeout=20) == 30
