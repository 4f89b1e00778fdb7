"""AWS Lambda developer guide, "Implementing partial batch responses" (SQS) and its page for Kinesis."""

import json
from typing import Any

import pytest

from testbed.semantics.partial_batch import Failed, Success, WholeBatchFailed, interpret, lowest_failed

IDS = [f"id-{i}" for i in range(1, 4)]


def _failures(*identifiers: Any) -> bytes:
    return json.dumps({"batchItemFailures": [{"itemIdentifier": i} for i in identifiers]}).encode()


@pytest.mark.rule("sqs-mapping.partial-success")
@pytest.mark.parametrize(
    "answer",
    [
        b'{"batchItemFailures": []}',
        b'{"batchItemFailures": null}',
        b"{}",
        b"null",
    ],
)
def test_complete_success(answer: bytes) -> None:
    """Developer guide, success and failure conditions: an empty or null list, an empty or null EventResponse."""
    assert interpret(answer, IDS) == Success()


@pytest.mark.rule("sqs-mapping.partial-failure")
@pytest.mark.parametrize(
    "answer",
    [
        b'{"batchItemFailures": [',
        _failures(""),
        _failures(None),
        b'{"batchItemFailures": [{"itemidentifier": "id-1"}]}',
    ],
)
def test_complete_failure(answer: bytes) -> None:
    """Developer guide, success and failure conditions: invalid JSON; an identifier that is empty, null or misnamed."""
    assert isinstance(interpret(answer, IDS), WholeBatchFailed)


@pytest.mark.rule("sqs-mapping.partial-failure")
def test_an_identifier_that_is_not_in_the_batch_fails_the_whole_batch() -> None:
    """Developer guide, SQS: a message id that does not exist in the batch makes the whole batch a failure."""
    assert isinstance(interpret(_failures("id-1", "id-9"), IDS), WholeBatchFailed)


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b'"done"', b"7", b"\xff", b'{"batchItemFailures": "id-1"}', b'{"batchItemFailures": ["id-1"]}'],
)
def test_what_aws_does_not_publish_is_never_a_success(answer: bytes) -> None:
    """Unpublished shapes fail the batch: the side on which no message is lost."""
    assert isinstance(interpret(answer, IDS), WholeBatchFailed)


@pytest.mark.rule("sqs-mapping.partial-success")
def test_the_listed_messages_failed() -> None:
    """Developer guide: only the messages listed in batchItemFailures become visible again; naming one twice is once."""
    assert interpret(_failures("id-2", "id-3", "id-2"), IDS) == Failed(frozenset({"id-2", "id-3"}))


@pytest.mark.rule("case.stream-partial")
def test_a_stream_is_retried_from_the_lowest_sequence_number() -> None:
    """Developer guide, Kinesis: the lowest returned sequence number is the checkpoint. Of 1 to 9, 5 failed: 5 to 9."""
    numbers = [str(n) for n in (90, 95, 100, 105)]
    assert lowest_failed(Failed(frozenset({"105", "100", "95"})), numbers) == 1
    nine = [str(n) for n in range(1, 10)]
    assert nine[lowest_failed(Failed(frozenset({"5"})), nine) :] == ["5", "6", "7", "8", "9"]
