"""How an event source mapping reads the answer of a function with ``ReportBatchItemFailures``.

Source: AWS Lambda developer guide, "Implementing partial batch responses" (SQS) and "Configuring partial batch
response with Kinesis Data Streams and Lambda": which answers are a complete success, which a complete failure, and
that a stream is retried from the lowest sequence number returned.

AWS does not publish some corners. Here they fall on the side that loses no message: an answer that is valid JSON but
no object, a ``batchItemFailures`` that is no list, an empty answer, and, for streams, an identifier that is not in
the batch are complete failures. An object without ``batchItemFailures`` is the documented empty EventResponse.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Success:
    """Every record of the batch was processed."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Some records failed.

    Attributes:
        ids: Their message ids or sequence numbers; never empty.
    """

    ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class WholeBatchFailed:
    """The answer cannot be trusted, so no record counts as processed.

    Attributes:
        reason: What is wrong with the answer, in words.
    """

    reason: str


Outcome = Success | Failed | WholeBatchFailed


def interpret(payload: bytes, ids: Collection[str]) -> Outcome:
    """Read ``payload``, the answer of the function to a batch of the records ``ids``."""
    try:
        answer = json.loads(payload)
    except ValueError:  # json's and Unicode's decoding errors alike
        return WholeBatchFailed("the answer is not valid JSON")
    if answer is None:
        return Success()
    if not isinstance(answer, dict):
        return WholeBatchFailed(f"the answer is a JSON {type(answer).__name__}, not an object")
    failures = answer.get("batchItemFailures")
    if failures is None:
        return Success()
    if not isinstance(failures, list):
        return WholeBatchFailed("batchItemFailures is not a list")
    return _interpret_failures(failures, frozenset(ids))


def lowest_failed(failed: Failed, sequence_numbers: Sequence[str]) -> int:
    """Index of the first record to retry: the failed one with the lowest sequence number (the checkpoint)."""
    lowest = min(int(number) for number in failed.ids)
    return next(i for i, number in enumerate(sequence_numbers) if int(number) == lowest)


def _interpret_failures(failures: list[Any], ids: frozenset[str]) -> Outcome:
    named = set()
    for failure in failures:
        identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
        if not isinstance(identifier, str):
            return WholeBatchFailed("a batch item failure has no itemIdentifier, or one that is no text")
        if identifier not in ids:
            return WholeBatchFailed(f"itemIdentifier {identifier!r} is not in the batch")
        named.add(identifier)
    return Failed(frozenset(named)) if named else Success()
