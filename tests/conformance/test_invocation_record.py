"""AWS Lambda developer guide, Capturing records of Lambda asynchronous invocations."""

import json
from typing import Any

import pytest

from testbed.semantics.invocation_record import (
    Response,
    dead_letter_attributes,
    detail_type,
    invocation_record,
    object_key,
)

ARN = "arn:aws:lambda:us-east-1:123456789012:function:my-function:$LATEST"
EXITED = "RequestId: e4b46cbf-b738-xmpl-8880-a18cdf61200e Process exited before completing request"
FAILED = Response(
    status=200,
    executed_version="$LATEST",
    function_error="Unhandled",
    payload=json.dumps({"errorMessage": EXITED}).encode(),
)
THROTTLED = Response(status=429, message="Rate Exceeded.")


def record_of(response: Response | None, condition: str = "RetriesExhausted", invokes: int = 3) -> dict[str, Any]:
    """A record of the example of the guide."""
    return invocation_record(
        request_id="e4b46cbf-b738-xmpl-8880-a18cdf61200e",
        function_arn=ARN,
        condition=condition,
        invokes=invokes,
        payload=b'{"ORDER_IDS": ["9e07af03"]}',
        response=response,
        now=1573755365.568,
    )


@pytest.mark.rule("async.destination-record")
def test_the_record_is_that_of_the_guide() -> None:
    """The example invocation record, member by member."""
    assert record_of(FAILED) == {
        "version": "1.0",
        "timestamp": "2019-11-14T18:16:05.568Z",
        "requestContext": {
            "requestId": "e4b46cbf-b738-xmpl-8880-a18cdf61200e",
            "functionArn": ARN,
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": {"ORDER_IDS": ["9e07af03"]},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": EXITED},
    }


@pytest.mark.rule("async.destination-record")
def test_the_record_of_a_success_has_no_error() -> None:
    """But what the function returned."""
    record = record_of(Response(status=200, executed_version="7", payload=b'"done"'), "Success", 1)
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "7"}
    assert record["responsePayload"] == "done"


@pytest.mark.rule("async.condition")
def test_a_record_of_an_event_that_never_ran_has_no_answer_of_the_function() -> None:
    """A throttle leaves its status, a reserved concurrency of 0 not even that."""
    assert record_of(THROTTLED)["responseContext"] == {"statusCode": 429}
    assert "responsePayload" not in record_of(THROTTLED)
    assert record_of(None).keys() == {"version", "timestamp", "requestContext", "requestPayload"}


@pytest.mark.rule("async.dead-letter-attributes")
@pytest.mark.parametrize(
    ("response", "code", "message"),
    [
        (FAILED, "200", EXITED),
        (THROTTLED, "429", "Rate Exceeded."),
        (Response(status=200, payload=b'{"errorMessage": "' + b"\xc3\xa9" * 1000 + b'"}'), "200", "é" * 512),
        (Response(status=200, payload=b'{"errorMessage": ""}'), "200", None),
        (None, None, "Function not invoked. Function is configured with zero reserved concurrent executions"),
    ],
    ids=["error", "throttle", "long", "empty", "disabled"],
)
def test_a_dead_letter_says_what_went_wrong(response: Response | None, code: str | None, message: str | None) -> None:
    """RequestID, ErrorCode (the HTTP status), and of ErrorMessage the first kilobyte."""
    expected = {"RequestID": {"DataType": "String", "StringValue": "r"}}
    if code is not None:
        expected["ErrorCode"] = {"DataType": "Number", "StringValue": code}
    if message is not None:
        expected["ErrorMessage"] = {"DataType": "String", "StringValue": message}
    assert dead_letter_attributes("r", response) == expected


@pytest.mark.rule("async.destination-s3")
def test_an_object_is_named_by_function_time_and_uuid() -> None:
    """aws/lambda/async/<function-name>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<Random UUID>, in UTC."""
    assert object_key("f", 1573755365.568, "uuid") == "aws/lambda/async/f/2019/11/14/2019-11-14T18.16.05-uuid"


@pytest.mark.rule("async.destination-eventbridge")
def test_an_event_is_named_for_its_result() -> None:
    """The two detail types."""
    assert detail_type(succeeded=True) == "Lambda Function Invocation Result - Success"
    assert detail_type(succeeded=False) == "Lambda Function Invocation Result - Failure"


@pytest.mark.parametrize("answer", [b"stored", b"\xff", b"[" * 100_000])
def test_an_answer_that_is_no_json_is_told_as_a_text(answer: bytes) -> None:
    """A handler may return bytes, and a runtime of somebody's own may say anything: both are told of all the same."""
    failed = Response(status=200, executed_version="$LATEST", function_error="Unhandled", payload=answer)
    assert record_of(failed)["responsePayload"] == answer.decode(errors="replace")
    assert dead_letter_attributes("r-1", failed)["RequestID"]["StringValue"] == "r-1"
