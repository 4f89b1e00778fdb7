"""Errors that the gateway writes are raised by botocore as the modelled exceptions."""

import pytest
from botocore.parsers import create_parser
from multidict import CIMultiDict

from testbed.chaos.call import AwsError
from testbed.gateway.classify import Target, service_model
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.wire import error_code, error_reply

JSON_HEADERS = {"X-Amz-Target": "Service.Operation"}
CBOR_HEADERS = {"smithy-protocol": "rpc-v2-cbor"}


@pytest.mark.parametrize(
    ("service", "operation", "protocol", "headers"),
    [
        ("sqs", "SendMessage", "json", JSON_HEADERS),
        ("sqs", "SendMessage", "query", {}),
        ("kinesis", "PutRecord", "json", JSON_HEADERS),
        ("dynamodb", "PutItem", "json", JSON_HEADERS),
        ("sns", "Publish", "query", {}),
        ("lambda", "Invoke", "rest-json", {}),
        ("s3", "GetObject", "rest-xml", {}),
        ("route53", "GetChange", "rest-xml", {}),
        ("ec2", "DescribeInstances", "ec2", {}),
        ("cloudwatch", "PutMetricData", "smithy-rpc-v2-cbor", CBOR_HEADERS),
    ],
)
def test_error_is_parsed_in_the_protocol_of_the_caller(
    service: str, operation: str, protocol: str, headers: dict[str, str]
) -> None:
    """Code, message and status survive each protocol."""
    error = AwsError("SlowDown", 503, "Rate <exceeded>")
    reply = error_reply(error, Target(service, operation, ""), Inbound("POST", "/", CIMultiDict(headers)))
    shape = service_model(service).operation_model(operation).output_shape
    wire = {"status_code": reply.status, "headers": reply.headers, "body": reply.body}
    parsed = create_parser(protocol).parse(wire, shape)
    assert parsed["Error"]["Code"] == "SlowDown"
    assert parsed["Error"]["Message"] == "Rate <exceeded>"
    assert reply.status == 503


@pytest.mark.parametrize(
    ("service", "headers"),
    [("sqs", JSON_HEADERS), ("sns", {}), ("s3", {}), ("route53", {}), ("ec2", {}), ("lambda", {})],
)
def test_the_code_of_an_error_is_found_in_its_header_or_its_document(service: str, headers: dict[str, str]) -> None:
    """The journal names the same code for every protocol."""
    request = Inbound("POST", "/", CIMultiDict(headers))
    assert error_code(error_reply(AwsError("SlowDown", 503, "slow"), Target(service, "Any", ""), request)) == "SlowDown"


def test_an_error_without_a_code_is_known_by_its_status() -> None:
    """An answer to HEAD has no document."""
    assert error_code(Reply(404)) == "404"


def test_members_of_a_modelled_exception_arrive() -> None:
    """Lambda's throttle says its reason."""
    error = AwsError("TooManyRequestsException", 429, "Rate Exceeded.", {"Reason": "CallerRateLimitExceeded"})
    reply = error_reply(error, Target("lambda", "Invoke", "f"), Inbound("POST", "/", CIMultiDict()))
    assert b'"Reason": "CallerRateLimitExceeded"' in reply.body
    assert reply.headers["x-amzn-ErrorType"] == "TooManyRequestsException"
