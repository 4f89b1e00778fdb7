"""The record that an on-failure destination (SQS or SNS) gets of records that a stream mapping discarded.

Metadata only: whoever wants the records has to read them from the stream before they expire. Shape: AWS Lambda
developer guide, "Configuring error handling controls for Kinesis event sources", example invocation record.

Not published by AWS: the ``condition`` of records that grew too old (``RecordAgeExceeded`` here, as other emulators
have it), and what the record says of a batch that never reached the function (no ``responseContext`` here).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from testbed.semantics.stream_batch import Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class LastResponse:
    """The last answer of the function to the discarded records.

    Attributes:
        request_id: Request id of that invoke.
        status: HTTP status of that invoke; 200 for function errors.
        executed_version: The version that ran.
        function_error: ``"Unhandled"``, or None where a valid partial batch response named the failures.
    """

    request_id: str
    status: int
    executed_version: str
    function_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KinesisBatchInfo:
    """Which records were discarded.

    Attributes:
        stream_arn: ARN of the stream.
        shard_id: The shard.
        start_sequence_number: Sequence number of the first record.
        end_sequence_number: Sequence number of the last record.
        first_arrival: When the first record arrived, in seconds since the epoch.
        last_arrival: When the last record arrived, in seconds since the epoch.
        batch_size: Number of records.
    """

    stream_arn: str
    shard_id: str
    start_sequence_number: str
    end_sequence_number: str
    first_arrival: float
    last_arrival: float
    batch_size: int

    def document(self) -> dict[str, Any]:
        """The object as AWS writes it."""
        return {
            "shardId": self.shard_id,
            "startSequenceNumber": self.start_sequence_number,
            "endSequenceNumber": self.end_sequence_number,
            "approximateArrivalOfFirstRecord": _timestamp(self.first_arrival),
            "approximateArrivalOfLastRecord": _timestamp(self.last_arrival),
            "batchSize": self.batch_size,
            "streamArn": self.stream_arn,
        }


def on_failure_record(
    *,
    function_arn: str,
    condition: Condition,
    invokes: int,
    last: LastResponse | None,
    batch: KinesisBatchInfo,
    now: float,
) -> dict[str, Any]:
    """The document for the destination; ``now`` in seconds since the epoch."""
    record: dict[str, Any] = {
        "requestContext": {
            "requestId": last.request_id if last else "",
            "functionArn": function_arn,
            "condition": condition,
            "approximateInvokeCount": invokes,
        }
    }
    if last is not None:
        record["responseContext"] = {"statusCode": last.status, "executedVersion": last.executed_version}
        if last.function_error is not None:
            record["responseContext"]["functionError"] = last.function_error
    return record | {
        "version": "1.0",
        "timestamp": _timestamp(now),
        "KinesisBatchInfo": batch.document(),
    }


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
