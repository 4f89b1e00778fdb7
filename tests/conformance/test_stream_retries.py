"""AWS Lambda developer guide, error handling and partial batch responses of Kinesis event source mappings."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.semantics.stream_batch import Attempt, Discard, StreamBatch, StreamRules


def _run(
    rules: StreamRules, records: int, first_failed: Callable[[Attempt], int | None], limit: int = 10_000
) -> list[Attempt | Discard]:
    """The steps of a batch whose attempts fail from the record that ``first_failed`` names."""
    batch = StreamBatch(rules, [0.0] * records)
    steps: list[Attempt | Discard] = []
    while len(steps) < limit and (step := batch.next(0.0)) is not None:
        steps.append(step)
        if isinstance(step, Discard):
            continue
        failed = first_failed(step)
        if failed is None:
            batch.succeeded()
        else:
            batch.failed(failed)
    return steps


def _attempts(steps: list[Attempt | Discard]) -> list[tuple[int, int]]:
    return [(step.start, step.stop) for step in steps if isinstance(step, Attempt)]


@pytest.mark.rule("stream.retries", "case.stream-retries")
@pytest.mark.parametrize("retries", [0, 1, 2, 5])
def test_x_retries_are_x_plus_one_attempts(retries: int) -> None:
    """MaximumRetryAttempts counts the retries, in addition to the first attempt."""
    rules = StreamRules(maximum_retry_attempts=retries)
    steps = _run(rules, 9, lambda attempt: attempt.start)
    assert steps == [Attempt(0, 9)] * (retries + 1) + [Discard(0, 9, "RetryAttemptsExhausted", retries + 1)]


@pytest.mark.rule("stream.retries", "stream.poison-blocks")
def test_minus_one_retries_for_ever() -> None:
    """The default of -1 retries until the record expires in the stream: the batch blocks its shard."""
    steps = _run(StreamRules(), 3, lambda attempt: attempt.start, limit=500)
    assert steps == [Attempt(0, 3)] * 500


@pytest.mark.rule("stream.partial-checkpoint", "case.stream-partial")
def test_a_partial_failure_keeps_what_came_before() -> None:
    """ReportBatchItemFailures: of nine records the fifth fails, so the records 5 to 9 are retried."""
    answers = iter([4, None])
    steps = _run(StreamRules(), 9, lambda _attempt: next(answers))
    assert steps == [Attempt(0, 9), Attempt(4, 9)]


@pytest.mark.rule("stream.bisect")
def test_bisect_splits_in_two_without_using_up_retries() -> None:
    """BisectBatchOnFunctionError: two smaller batches, tried in order; splitting does not consume the retries."""
    rules = StreamRules(maximum_retry_attempts=0, bisect=True)
    steps = _run(rules, 4, lambda attempt: attempt.start if attempt.start <= 2 < attempt.stop else None)
    assert _attempts(steps) == [(0, 4), (0, 2), (2, 4), (2, 3), (3, 4)]
    assert [step for step in steps if isinstance(step, Discard)] == [Discard(2, 3, "RetryAttemptsExhausted", 3)]


@pytest.mark.rule("stream.partial-bisect")
def test_bisect_with_a_partial_failure_splits_there() -> None:
    """Partial batch response, Kinesis: with bisect the batch is split at the returned sequence number."""
    answers = iter([4, None])
    rules = StreamRules(maximum_retry_attempts=0, bisect=True)
    assert _run(rules, 9, lambda _attempt: next(answers)) == [Attempt(0, 9), Attempt(4, 9)]


def test_a_first_record_that_fails_is_isolated() -> None:
    """Not published: where nothing can be split off before the failed record, the batch is halved."""
    rules = StreamRules(maximum_retry_attempts=1, bisect=True)
    steps = _run(rules, 8, lambda attempt: 0 if attempt.start == 0 else None)
    assert _attempts(steps) == [(0, 8), (0, 4), (0, 2), (0, 1), (0, 1), (1, 2), (2, 4), (4, 8)]
    assert Discard(0, 1, "RetryAttemptsExhausted", 5) in steps


@pytest.mark.rule("stream.throttles")
def test_throttles_are_no_attempts() -> None:
    """Throttles and service errors are retried and do not count toward MaximumRetryAttempts."""
    batch = StreamBatch(StreamRules(maximum_retry_attempts=0), [0.0])
    for throttles in range(1, 100):
        assert batch.next(0.0) == Attempt(0, 1)
        batch.throttled()
        assert batch.throttles == throttles
    batch.next(0.0)
    batch.succeeded()
    assert (batch.next(0.0), batch.throttles) == (None, 0)


@pytest.mark.rule("stream.record-age")
def test_records_older_than_the_maximum_age_are_discarded() -> None:
    """MaximumRecordAgeInSeconds: older records are discarded, retries left or not; younger ones are still tried."""
    batch = StreamBatch(StreamRules(maximum_record_age=60), [0.0, 10.0, 50.0])
    assert batch.next(60.0) == Attempt(0, 3)
    batch.throttled()
    assert batch.next(75.0) == Discard(0, 2, "RecordAgeExceeded", 0)
    assert batch.next(75.0) == Attempt(2, 3)
    assert batch.checkpoint == 2


@pytest.mark.rule("stream.bisect")
@given(
    records=st.integers(1, 64),
    poison=st.sets(st.integers(0, 63), max_size=6),
    retries=st.integers(0, 3),
    reports=st.booleans(),
)
def test_bisect_discards_exactly_the_poison(records: int, poison: set[int], retries: int, reports: bool) -> None:
    """However poison lies in a batch, each good record is processed once at least, and only poison is discarded."""

    def first_failed(attempt: Attempt) -> int | None:
        bad = [i for i in sorted(poison) if attempt.start <= i < attempt.stop]
        if not bad:
            return None
        return bad[0] if reports else attempt.start

    steps = _run(StreamRules(maximum_retry_attempts=retries, bisect=True), records, first_failed)
    discarded = [(step.start, step.stop) for step in steps if isinstance(step, Discard)]
    assert discarded == [(i, i + 1) for i in sorted(poison) if i < records]
    processed: set[int] = set()
    for step in steps:
        if isinstance(step, Attempt):
            failed = first_failed(step)
            processed |= set(range(step.start, step.stop if failed is None else failed))
    assert processed == set(range(records)) - poison
