"""The record that an on-failure destination gets of records that a stream mapping discarded.

SQS and SNS get metadata only: whoever wants the records has to read them from the stream before they expire. S3 gets
the event as well. Shapes: AWS Lambda developer guide, "Configuring error handling controls for Kinesis event sources"
and the same for DynamoDB, example invocation records; that of the time stamps as messages of real streams have them.

Not published by AWS: the ``condition`` of records that grew too old (``RecordAgeExceeded`` here, as other emulators
have it), and what the record says of a batch that never reached the function (no ``responseContext`` here).
"""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

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
class StreamBatchInfo:
    """Which records were discarded.

    Attributes:
        name: What the record calls this member.
        timespec: How exactly the service tells arrivals: ``"milliseconds"`` or ``"seconds"``.
        stream_arn: ARN of the stream.
        shard_id: The shard.
        start_sequence_number: Sequence number of the first record.
        end_sequence_number: Sequence number of the last record.
        first_arrival: When the first record arrived, in seconds since the epoch.
        last_arrival: When the last record arrived, in seconds since the epoch.
        batch_size: Number of records.
    """

    name: str
    timespec: str
    stream_arn: str = ""
    shard_id: str = ""
    start_sequence_number: str = ""
    end_sequence_number: str = ""
    first_arrival: float = 0.0
    last_arrival: float = 0.0
    batch_size: int = 0

    def document(self) -> dict[str, Any]:
        """The object as AWS writes it."""
        return {
            "shardId": self.shard_id,
            "startSequenceNumber": self.start_sequence_number,
            "endSequenceNumber": self.end_sequence_number,
            "approximateArrivalOfFirstRecord": _timestamp(self.first_arrival, self.timespec),
            "approximateArrivalOfLastRecord": _timestamp(self.last_arrival, self.timespec),
            "batchSize": self.batch_size,
            "streamArn": self.stream_arn,
        }


KINESIS_BATCH_INFO: Final = StreamBatchInfo(name="KinesisBatchInfo", timespec="milliseconds")
DYNAMODB_BATCH_INFO: Final = StreamBatchInfo(name="DDBStreamBatchInfo", timespec="seconds")


def on_failure_record(
    *,
    function_arn: str,
    condition: Condition,
    invokes: int,
    last: LastResponse | None,
    batch: StreamBatchInfo,
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
        batch.name: batch.document(),
    }


def s3_key(*, mapping: str, shard_id: str, now: float, batch: str) -> str:
    """Name of the object that a record becomes in a bucket.

    AWS ends it with a random UUID; here it follows from the batch, so that the same one has it in every run.

    Args:
        mapping: UUID of the mapping.
        shard_id: The shard.
        now: Seconds since the epoch.
        batch: What tells this batch from others of the shard.
    """
    unique = uuid.UUID(bytes=hashlib.blake2b(batch.encode(), digest_size=16).digest(), version=4)
    return f"aws/lambda/{mapping}/{shard_id}/{datetime.fromtimestamp(now, UTC):%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{unique}"


def _timestamp(seconds: float, timespec: str = "milliseconds") -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
