"""AWS Lambda developer guide, "Configuring error handling controls for Kinesis event sources"."""

import re
from dataclasses import replace

import pytest

from testbed.semantics.on_failure import (
    DYNAMODB_BATCH_INFO,
    KINESIS_BATCH_INFO,
    LastResponse,
    on_failure_record,
    s3_key,
)

BATCH = replace(
    KINESIS_BATCH_INFO,
    stream_arn="arn:aws:kinesis:us-east-2:111122223333:stream/s",
    shard_id="shardId-000000000001",
    start_sequence_number="49601",
    end_sequence_number="49609",
    first_arrival=1573691884.835,
    last_arrival=1573691885.58,
    batch_size=500,
)
ERROR = LastResponse(request_id="r", status=200, executed_version="$LATEST", function_error="Unhandled")


@pytest.mark.rule("stream.destination-metadata")
def test_the_record_holds_metadata_only() -> None:
    """The example invocation record of the guide, member by member: no payload, times with milliseconds in UTC."""
    arn = "arn:aws:lambda:us-east-2:111122223333:function:f"
    record = on_failure_record(
        function_arn=arn,
        condition="RetryAttemptsExhausted",
        invokes=1,
        last=ERROR,
        batch=BATCH,
        now=1573691886.021,
    )
    assert record == {
        "requestContext": {
            "requestId": "r",
            "functionArn": arn,
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 1,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": "2019-11-14T00:38:06.021Z",
        "KinesisBatchInfo": {
            "shardId": "shardId-000000000001",
            "startSequenceNumber": "49601",
            "endSequenceNumber": "49609",
            "approximateArrivalOfFirstRecord": "2019-11-14T00:38:04.835Z",
            "approximateArrivalOfLastRecord": "2019-11-14T00:38:05.580Z",
            "batchSize": 500,
            "streamArn": "arn:aws:kinesis:us-east-2:111122223333:stream/s",
        },
    }


def test_a_reported_failure_is_no_function_error() -> None:
    """Not published: a batch that failed by its partial response carries no functionError."""
    last = LastResponse(request_id="r", status=200, executed_version="1", function_error=None)
    record = on_failure_record(
        function_arn="arn", condition="RetryAttemptsExhausted", invokes=1, last=last, batch=BATCH, now=0.0
    )
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "1"}


@pytest.mark.rule("stream.condition")
def test_records_that_were_never_tried_have_no_response() -> None:
    """Not published: a batch that grew too old before any invoke has no responseContext."""
    record = on_failure_record(
        function_arn="arn", condition="RecordAgeExceeded", invokes=0, last=None, batch=BATCH, now=0.0
    )
    assert "responseContext" not in record
    assert record["requestContext"]["condition"] == "RecordAgeExceeded"


@pytest.mark.rule("stream.destination-metadata")
def test_of_a_table_the_member_has_another_name_and_whole_seconds() -> None:
    """The example invocation record of the guide for DynamoDB."""
    batch = replace(DYNAMODB_BATCH_INFO, stream_arn="arn", shard_id="s", first_arrival=1573603999.0, batch_size=1)
    record = on_failure_record(
        function_arn="arn", condition="RetryAttemptsExhausted", invokes=1, last=ERROR, batch=batch, now=0.0
    )
    assert "KinesisBatchInfo" not in record
    assert record["DDBStreamBatchInfo"]["approximateArrivalOfFirstRecord"] == "2019-11-13T00:13:19Z"


@pytest.mark.rule("stream.destination-s3")
def test_the_key_of_an_object_is_that_of_aws() -> None:
    """aws/lambda/, mapping, shard, day, second and a UUID, which differs between batches."""
    keys = [s3_key(mapping="m", shard_id="s", now=1573691886.0, batch=batch) for batch in ("1", "1", "2")]
    assert keys[0] == keys[1] != keys[2]
    assert re.fullmatch(r"aws/lambda/m/s/2019/11/14/2019-11-14T00\.38\.06-[0-9a-f-]{36}", keys[0])
