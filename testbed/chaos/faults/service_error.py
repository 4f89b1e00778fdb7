"""An error of an AWS service other than a throttle: a service that is down, or says so after it has done its work."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from testbed.chaos.call import AwsError, Call, Injection
from testbed.chaos.fault import CallFault

_UNKNOWN: Final = "The request processing has failed because of an unknown error."
_ON_THE_SERVER: Final = "An error occurred on the server side."
_TRY_AGAIN: Final = "We encountered an internal error. Please try again."
_FAILURES: Final[Mapping[str, AwsError]] = {
    "acm": AwsError("InternalServerException", 500, _UNKNOWN),
    "apigateway": AwsError("ServiceUnavailableException", 503, "The requested service is not available."),
    "cloudwatch": AwsError("InternalServiceError", 500, _UNKNOWN),
    "dynamodb": AwsError("InternalServerError", 500, "Internal server error"),
    "dynamodbstreams": AwsError("InternalServerError", 500, _ON_THE_SERVER),
    "es": AwsError("InternalException", 500, _UNKNOWN),
    "events": AwsError("InternalException", 500, "This exception occurs due to unexpected causes."),
    "execute-api": AwsError("InternalServerErrorException", 500, "Internal server error"),
    "firehose": AwsError("ServiceUnavailableException", 500, "The service is unavailable. Back off and retry."),
    "iam": AwsError("ServiceFailure", 500, _UNKNOWN),
    "kinesis": AwsError("InternalFailureException", 500, "Internal failure."),
    "kms": AwsError("KMSInternalException", 500, "The request was rejected because an internal exception occurred."),
    "lambda": AwsError("ServiceException", 500, "An error occurred and the request cannot be processed."),
    "logs": AwsError("ServiceUnavailableException", 500, "The service cannot complete the request."),
    "opensearch": AwsError("InternalException", 500, _UNKNOWN),
    "resource-groups": AwsError("InternalServerErrorException", 500, "An internal error occurred."),
    "resourcegroupstaggingapi": AwsError("InternalServiceException", 500, _UNKNOWN),
    "s3": AwsError("InternalError", 500, _TRY_AGAIN),
    "s3control": AwsError("InternalServiceException", 500, _TRY_AGAIN),
    "scheduler": AwsError("InternalServerException", 500, "Unexpected error encountered while processing the request."),
    "secretsmanager": AwsError("InternalServiceError", 500, _ON_THE_SERVER),
    "sns": AwsError("InternalError", 500, "Internal error"),
    "sqs": AwsError("InternalError", 500, _TRY_AGAIN),
    "ssm": AwsError("InternalServerError", 500, _ON_THE_SERVER),
    "support": AwsError("InternalServerError", 500, "An internal server error occurred."),
    "transcribe": AwsError("InternalFailureException", 500, "There was an internal error."),
}
"""The failure that a service's API model in botocore has, by the code that it has on the wire.

For services that speak the query protocol, or once did, that is not the name of the exception: SNS's
InternalErrorException is ``InternalError`` (API references of the services, Errors). SQS and S3 have none in their
models (Amazon S3 API reference, Error responses).
"""
_API_FAILURES: Final[Mapping[int, AwsError]] = {
    429: AwsError("TooManyRequestsException", 429, "Too Many Requests"),
    503: AwsError("ServiceUnavailableException", 503, "Service Unavailable"),
    504: AwsError("InternalServerErrorException", 504, "Endpoint request timed out"),
}
"""What API Gateway says with these statuses (developer guide, Gateway response types); error types are UNCONFIRMED."""
_OTHER: Final = AwsError("InternalFailure", 500, _UNKNOWN)
"""Of services whose models have no failure (AWS API references, Common errors)."""


@dataclass(frozen=True, kw_only=True)
class ServiceError(CallFault):
    """Answers calls of a service with an error.

    Requests to REST APIs and function URLs get the error in the form of these. A client takes a status at its word:
    500 and 503 are refusals, 502 and 504 leave open what was done.

    Attributes:
        code: The error code; empty is the service's own for an internal failure.
        status: HTTP status; 0 is that of the service's internal failure.
        message: Text for people.
        position: ``"instead"`` of the call, or ``"after"`` it was executed: then the caller is told that what has
            happened has not. There it fires where it happened: a call that the service refuses keeps its own error.

    Raises:
        UsageError: A field makes no sense.
    """

    answers: ClassVar[bool] = True

    code: str = ""
    status: int = 0
    message: str = ""
    position: Literal["instead", "after"] = "instead"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.service == "postgres":
            raise self.refused("Postgres has SQLSTATEs; SqlError answers with one")
        if self.status and not 400 <= self.status < 600:  # noqa: PLR2004 - HTTP's errors
            raise self.refused(f"status={self.status} is no error: 400 to 599")

    def inject(self, call: Call, seed: int) -> Injection:
        """The error."""
        del seed
        usual = _FAILURES.get(call.service, _OTHER)
        if call.service == "execute-api":
            usual = _API_FAILURES.get(self.status, usual)
        error = AwsError(self.code or usual.code, self.status or usual.status, self.message or usual.message)
        return Injection(self.name, answer=error, executed=self.position == "after")
