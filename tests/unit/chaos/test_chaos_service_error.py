"""Which error a service answers with when it fails: one that SDKs know, where the service has one."""

import botocore.session
import pytest
from botocore.errorfactory import ClientExceptionsFactory

from testbed.chaos.call import AwsError, Call
from testbed.chaos.faults.service_error import ServiceError

SESSION = botocore.session.get_session()
EXCEPTIONS = ClientExceptionsFactory()
SERVICES = [
    "acm", "apigateway", "cloudformation", "cloudwatch", "config", "dynamodb", "dynamodbstreams", "ec2", "es", "events",
    "firehose", "iam", "kinesis", "kms", "lambda", "logs", "opensearch", "redshift", "resource-groups",
    "resourcegroupstaggingapi", "route53", "route53resolver", "s3", "s3control", "scheduler", "secretsmanager", "ses",
    "sns", "sqs", "ssm", "stepfunctions", "sts", "support", "swf", "transcribe",
]  # fmt: skip
"""Those of LocalStack."""


def failure(service: str) -> AwsError:
    """What its calls are answered with, where the fault says nothing of it."""
    answer = ServiceError(service=service).inject(Call(service, "Any", "", "client", "1", 1, 0.0), 1).answer
    assert isinstance(answer, AwsError)
    return answer


def modelled(service: str) -> dict[str, int]:
    """The failures that its API model has, by their names, each with its status."""
    found = {}
    for shape in SESSION.get_service_model(service).error_shapes:
        status = shape.metadata.get("error", {}).get("httpStatusCode", 0)
        if shape._shape_model.get("fault") or status >= 500:
            found[shape.name] = status or 500
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_the_failure_of_a_service_is_one_that_its_sdks_know(service: str) -> None:
    """A handler that catches the modelled exception catches it; the others have the common error, or their own."""
    error, known = failure(service), modelled(service)
    exceptions = EXCEPTIONS.create_client_exceptions(SESSION.get_service_model(service))
    caught = exceptions.from_code(error.code).__name__
    if known:
        assert known.get(caught) == error.status, known
    else:
        assert error.code == {"s3": "InternalError", "sqs": "InternalError"}.get(service, "InternalFailure")
