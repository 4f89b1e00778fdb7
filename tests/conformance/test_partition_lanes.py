"""AWS Lambda developer guide, concurrency of stream mappings: the order of a key, and the checkpoint of a shard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.semantics.partition_lanes import ShardProgress, lane_of


@pytest.mark.rule("stream.parallelization")
@given(key=st.text(), lanes=st.integers(1, 10))
def test_a_key_has_one_lane(key: str, lanes: int) -> None:
    """All records of a key go to the same lane, whenever they come."""
    assert lane_of(key, lanes) == lane_of(key, lanes) in range(lanes)


@pytest.mark.rule("stream.parallelization")
@pytest.mark.parametrize("lanes", [2, 4, 10])
def test_keys_fill_all_lanes(lanes: int) -> None:
    """Many keys are spread evenly: no lane has half as many or twice as many as its share."""
    counts = [0] * lanes
    for key in range(1000 * lanes):
        counts[lane_of(f"key {key}", lanes)] += 1
    assert 800 < min(counts) <= max(counts) < 1200


@pytest.mark.rule("stream.checkpoint")
@given(order=st.permutations(range(8)))
def test_the_checkpoint_is_before_the_lowest_record_that_is_not_done(order: list[int]) -> None:
    """In whatever order records are done, nothing that is not done is ever behind the checkpoint."""
    progress = ShardProgress()
    progress.read(map(str, range(8)))
    for count, number in enumerate(order, start=1):
        progress.finish([str(number)])
        lowest = min(set(range(8)) - set(order[:count]), default=8)
        assert progress.checkpoint == (str(lowest - 1) if lowest else None)
        assert (progress.done, progress.behind) == (count, 8 - count)
