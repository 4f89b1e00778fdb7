"""Throttles: whom they hit, and whether AWS's own client library takes them for what AWS sends."""

import json
from collections.abc import Mapping
from typing import Any

import botocore.parsers
import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.retries.standard import RetryContext, ThrottledRetryableChecker

from testbed.chaos.call import AwsError, Call
from testbed.chaos.faults.throttle import Throttle, throttling_error
from testbed.errors import UsageError

SESSION = botocore.session.get_session()


def on_the_wire(service: str, error: AwsError) -> tuple[Mapping[str, str], bytes]:
    """Headers and body of an error in the protocol of the service, written independently of the gateway."""
    protocol = SESSION.get_service_model(service).metadata["protocol"]
    if protocol == "query":
        fields = f"<Type>Sender</Type><Code>{error.code}</Code><Message>{error.message}</Message>"
        return {}, f"<ErrorResponse><Error>{fields}</Error><RequestId>r</RequestId></ErrorResponse>".encode()
    if protocol == "rest-xml":
        return {}, f"<Error><Code>{error.code}</Code><Message>{error.message}</Message></Error>".encode()
    body = {"message": error.message, **error.members}
    if protocol == "rest-json":
        return {"x-amzn-errortype": error.code}, json.dumps(body).encode()
    return {}, json.dumps({"__type": error.code, **body}).encode()


def parsed(service: str, operation: str, error: AwsError) -> dict[str, Any]:
    """What botocore makes of the error."""
    model = SESSION.get_service_model(service)
    parser = botocore.parsers.create_parser(model.metadata["protocol"])
    headers, body = on_the_wire(service, error)
    response = {"status_code": error.status, "headers": headers, "body": body}
    answer: dict[str, Any] = parser.parse(response, model.operation_model(operation).output_shape)
    return answer


DATA_CALLS = [
    ("lambda", "Invoke", "TooManyRequestsException", 429),
    ("lambda", "CreateFunction", "TooManyRequestsException", 429),
    ("sqs", "SendMessage", "RequestThrottled", 403),
    ("sqs", "ReceiveMessage", "RequestThrottled", 403),
    ("kinesis", "PutRecord", "ProvisionedThroughputExceededException", 400),
    ("kinesis", "GetRecords", "ProvisionedThroughputExceededException", 400),
    ("kinesis", "CreateStream", "LimitExceededException", 400),
    ("dynamodb", "PutItem", "ProvisionedThroughputExceededException", 400),
]
OTHER_CALLS = [
    ("sns", "Publish", "ThrottlingException", 400),
    ("events", "PutEvents", "ThrottlingException", 400),
    ("s3", "PutObject", "SlowDown", 503),
]


@pytest.mark.parametrize(("service", "operation", "code", "status"), DATA_CALLS + OTHER_CALLS)
def test_botocore_reads_a_throttle_and_would_retry_it(service: str, operation: str, code: str, status: int) -> None:
    """The SDK finds the code and the message, and its standard retries count the answer as a throttle."""
    error = throttling_error(service, operation, "orders")
    answer = parsed(service, operation, error)
    assert (answer["Error"]["Code"], error.status) == (code, status)
    assert answer["Error"]["Message"] == error.message
    http = AWSResponse("http://x", error.status, {}, None)
    context = RetryContext(1, SESSION.get_service_model(service).operation_model(operation), answer, http)
    assert ThrottledRetryableChecker().is_retryable(context)


@pytest.mark.parametrize(("service", "operation", "code", "status"), DATA_CALLS)
def test_the_exception_is_one_of_the_operations_model(service: str, operation: str, code: str, status: int) -> None:
    """boto3 raises the modelled class, so ``except client.exceptions.X`` works; the model's status is the one sent."""
    shapes = SESSION.get_service_model(service).operation_model(operation).error_shapes
    shape = next(shape for shape in shapes if shape.name == code)
    assert shape.metadata.get("error", {}).get("httpStatusCode", status) == status
    assert set(throttling_error(service, operation, "orders").members) <= set(shape.members)


def test_lambda_says_why_it_throttles() -> None:
    """Type, Reason and the message with a capital E, as seen on the wire; the reason can be chosen."""
    throttle = Throttle(service="lambda", probability=1, reason="ConcurrentInvocationLimitExceeded")
    injection = throttle.inject(Call("lambda", "Invoke", "store", "client", "i", 1, 0), 1)
    assert injection.answer == AwsError(
        "TooManyRequestsException",
        429,
        "Rate Exceeded.",
        {"Reason": "ConcurrentInvocationLimitExceeded", "Type": "User"},
    )


def test_lambdas_reasons_are_those_of_its_model() -> None:
    """A reason that AWS adds or drops is noticed with the next botocore."""
    enum = SESSION.get_service_model("lambda").shape_for("ThrottleReason").enum
    for reason in enum:
        Throttle(service="lambda", probability=1, reason=reason)
    with pytest.raises(UsageError, match=enum[0]):
        Throttle(service="lambda", probability=1, reason="Tired")  # type: ignore[arg-type]


def test_kinesis_names_stream_and_account() -> None:
    """The message has the form of AWS's, which people grep for in their logs."""
    assert throttling_error("kinesis", "PutRecord", "orders").message == (
        "Rate exceeded for shard shardId-000000000000 in stream orders under account 000000000000."
    )


def test_rest_api_answers_as_the_throttled_gateway_response() -> None:
    """429 and the text that clients of a REST API see."""
    error = throttling_error("execute-api", "POST", "shop")
    assert (error.status, error.message) == (429, "Too Many Requests")


@pytest.mark.parametrize(
    ("throttle", "hit"),
    [
        (Throttle(service="sqs", probability=1), True),
        (Throttle(service="sqs", probability=1, operations=("SendMessage",)), True),
        (Throttle(service="sqs", probability=1, operations=("ReceiveMessage",)), False),
        (Throttle(service="sqs", probability=1, resources=("orders", "more")), True),
        (Throttle(service="sqs", probability=1, resources=("order",)), False),
        (Throttle(service="sqs", probability=1, callers=("function:store",)), True),
        (Throttle(service="sqs", probability=1, callers=("function",)), True),
        (Throttle(service="sqs", probability=1, callers=("client", "function:other")), False),
    ],
)
def test_selects_by_operation_resource_and_caller(throttle: Throttle, hit: bool) -> None:
    """Each empty selector takes all; a caller is selected by its whole name or by its kind."""
    call = Call("sqs", "SendMessage", "orders", "function:store", "i", 1, 0)
    assert throttle.armed(seed=1)(call) is hit


@pytest.mark.parametrize("probability", [0, -0.1, 1.1, float("nan")])
def test_refuses_what_is_no_probability(probability: float) -> None:
    """Zero included: such a fault never fires."""
    with pytest.raises(UsageError, match="probability"):
        Throttle(service="sqs", probability=probability)


def test_refuses_a_bare_string_for_a_selector() -> None:
    """``operations="SendMessage"`` would otherwise match the operation named ``"Send"``."""
    with pytest.raises(UsageError, match=r"operations=\('one',\)"):
        Throttle(service="sqs", probability=1, operations="SendMessage")  # type: ignore[arg-type]


def test_refuses_to_throttle_postgres() -> None:
    """Postgres has no such answer; the error names the fault that it has."""
    with pytest.raises(UsageError, match="SlowPostgres"):
        Throttle(service="postgres", probability=1)
