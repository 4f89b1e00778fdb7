"""AWS Lambda developer guide, "Implementing stateful Kinesis Data Streams processing in Lambda"."""

import json

import pytest

from testbed.semantics.profiles import aws
from testbed.semantics.tumbling_window import TumblingWindow

FIVE_PAST_FIVE = 1596128700.0  # 2020-07-30T17:05:00Z


def _window(seconds: float = 300) -> TumblingWindow:
    return TumblingWindow(seconds=seconds, idle=aws.stream.window_idle, state_bytes=aws.stream.window_state_bytes)


@pytest.mark.rule("stream.tumbling-window")
def test_the_event_has_the_members_of_the_example() -> None:
    """The guide's example: five minutes from 17:00 to 17:05, with state, shard and source."""
    window = _window()
    window.open(FIVE_PAST_FIVE - 1)
    window.answered(b'{"state": {"1": 282, "2": 715}}')
    assert window.members(shard_id="shardId-000000000006", source_arn="arn", final=False) == {
        "window": {"start": "2020-07-30T17:00:00Z", "end": "2020-07-30T17:05:00Z"},
        "state": {"1": 282, "2": 715},
        "shardId": "shardId-000000000006",
        "eventSourceARN": "arn",
        "isFinalInvokeForWindow": False,
        "isWindowTerminatedEarly": False,
    }


@pytest.mark.rule("stream.tumbling-window")
def test_records_belong_to_the_window_of_their_arrival() -> None:
    """Windows do not overlap: the end of one is the start of the next."""
    window = _window()
    window.open(FIVE_PAST_FIVE - 1)
    assert window.takes(FIVE_PAST_FIVE - 0.001)
    assert not window.takes(FIVE_PAST_FIVE)


@pytest.mark.rule("stream.tumbling-window")
def test_a_window_waits_two_minutes_for_records() -> None:
    """Where nothing comes any more, a window is over two minutes after its end."""
    window = _window()
    window.open(FIVE_PAST_FIVE - 1)
    assert window.seconds_left(FIVE_PAST_FIVE) == 120
    assert window.seconds_left(FIVE_PAST_FIVE + 121) == 0


@pytest.mark.rule("stream.tumbling-window")
@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b"{}", b'{"state": null}', b"\xff"])
def test_an_answer_without_state_is_a_failure(payload: bytes) -> None:
    """The function must return a state property, else the invocation failed; the state before it is kept."""
    window = _window()
    window.open(0.0)
    assert window.answered(b'{"state": {"n": 1}}')
    assert not window.answered(payload)
    assert window.state == {"n": 1}


@pytest.mark.rule("stream.tumbling-state")
def test_a_state_of_more_than_a_megabyte_ends_the_window() -> None:
    """1 MB is the largest state; the window after it starts with a fresh one."""
    window = _window()
    window.open(0.0)
    largest = "x" * (1024 * 1024 - 2)
    window.answered(json.dumps({"state": largest}).encode())
    assert not window.terminated_early
    window.answered(json.dumps({"state": largest + "x"}).encode())
    assert window.terminated_early
    assert (window.takes(1.0), window.seconds_left(1.0)) == (False, 0.0)
    window.close()
    window.open(1.0)
    assert (window.state, window.terminated_early, window.takes(1.0)) == ({}, False, True)
