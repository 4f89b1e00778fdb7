"""AWS Lambda developer guide, "Configuring error handling controls for Kinesis event sources"."""

from dataclasses import replace

from testbed.semantics.on_failure import KINESIS_BATCH_INFO, LastResponse, on_failure_record

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


def test_records_that_were_never_tried_have_no_response() -> None:
    """Not published: a batch that grew too old before any invoke has no responseContext."""
    record = on_failure_record(
        function_arn="arn", condition="RecordAgeExceeded", invokes=0, last=None, batch=BATCH, now=0.0
    )
    assert "responseContext" not in record
    assert record["requestContext"]["condition"] == "RecordAgeExceeded"
