"""A throttle: the service answers "too many requests", in the words of AWS, and does not execute the call."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from testbed.chaos.call import AwsError, Call, Injection
from testbed.chaos.fault import CallFault

ThrottleReason = Literal[
    "ConcurrentInvocationLimitExceeded",
    "FunctionInvocationRateLimitExceeded",
    "ReservedFunctionConcurrentInvocationLimitExceeded",
    "ReservedFunctionInvocationRateLimitExceeded",
    "CallerRateLimitExceeded",
    "ConcurrentSnapshotCreateLimitExceeded",
]
"""Lambda's reasons to throttle (AWS Lambda API reference, Invoke, TooManyRequestsException)."""

_RESERVED: Final[ThrottleReason] = "ReservedFunctionConcurrentInvocationLimitExceeded"
_ACCOUNT: Final = "000000000000"  # the emulator's account
_KINESIS_DATA: Final = frozenset({"PutRecord", "PutRecords", "GetRecords", "GetShardIterator"})

_OTHER: Final = AwsError("ThrottlingException", 400, "Rate exceeded")
_ERRORS: Final[Mapping[str, AwsError]] = {
    "lambda": AwsError("TooManyRequestsException", 429, "Rate exceeded", {"Type": "User"}),
    "sqs": AwsError("RequestThrottled", 403, "Request is throttled."),
    "dynamodb": AwsError(
        "ProvisionedThroughputExceededException",
        400,
        "You exceeded your maximum allowed provisioned throughput for a table "
        "or for one or more global secondary indexes.",
    ),
    "s3": AwsError("SlowDown", 503, "Please reduce your request rate."),
    "execute-api": AwsError("TooManyRequestsException", 429, "Too Many Requests"),
}


@dataclass(frozen=True, kw_only=True)
class Throttle(CallFault):
    """Refuses calls of one AWS service as AWS does when a quota is exceeded.

    Attributes:
        service: botocore's name of the service, or ``"execute-api"`` for requests to a REST API or a function URL.
        reason: What Lambda gives as its reason; other services have none.

    Raises:
        UsageError: The service is Postgres.
    """

    answers: ClassVar[bool] = True

    reason: ThrottleReason = _RESERVED

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.service == "postgres":
            raise self.refused("Postgres does not throttle; SlowPostgres makes it slow")

    def inject(self, call: Call, seed: int) -> Injection:
        """The service's own throttling error."""
        del seed
        return Injection(self.name, answer=throttling_error(call.service, call.operation, call.resource, self.reason))


def throttling_error(service: str, operation: str, resource: str, reason: ThrottleReason = _RESERVED) -> AwsError:
    """What AWS answers when it throttles ``operation`` on ``resource``.

    Sources: codes and statuses are those of the services' API models in botocore; beyond these,

    - Lambda: API reference, Invoke. Only there is a reason, and a capital E in the message.
    - SQS: botocore's retry rules expect ``RequestThrottled`` with status 403.
    - Kinesis: API reference, PutRecords, has the message. It names a shard; a request that is refused as a whole has
      none, so the first stands for it. Operations on streams themselves exceed ``LimitExceededException``.
    - DynamoDB: developer guide, Error handling.
    - S3: API reference, Error responses, ``SlowDown``.
    - REST API: API Gateway developer guide, Gateway response types, ``THROTTLED``; on the wire its body is
      ``{"message": ...}`` alone. A function URL says the same as an invoke.
    - All others: AWS API references, Common errors, ``ThrottlingException``.
    """
    if service == "lambda" and operation.startswith("Invoke"):
        members = {"Reason": reason, "Type": "User"}
        return AwsError("TooManyRequestsException", 429, "Rate Exceeded.", members)
    if service == "kinesis":
        return _kinesis_error(operation, resource)
    return _ERRORS.get(service, _OTHER)


def _kinesis_error(operation: str, stream: str) -> AwsError:
    where = f"in stream {stream} under account {_ACCOUNT}."
    if operation in _KINESIS_DATA:
        message = f"Rate exceeded for shard shardId-000000000000 {where}"
        return AwsError("ProvisionedThroughputExceededException", 400, message)
    return AwsError("LimitExceededException", 400, f"Rate exceeded {where}")
