"""Says at once, at deploy time, what the testbed would not run as AWS does; calls by CloudFormation included."""

import re
from collections.abc import Mapping
from typing import Any, Final

from localstack.aws.api import CommonServiceException

from .function_quotas import beyond_quota

_RUNTIMES: Final = re.compile(r"python3\.\d+|provided(\.al2(023)?)?")
_DEPLOYING: Final = frozenset({"CreateFunction", "UpdateFunctionConfiguration", "UpdateFunctionCode"})
_SOURCES: Final = frozenset({"sqs", "kinesis", "dynamodb"})
_POLLED: Final = "SQS, Kinesis and DynamoDB streams"
_UNSUPPORTED: Final = {
    "InvokeAsync": ("InvokeAsync", "use Invoke with InvocationType Event"),
    "InvokeWithResponseStream": ("response streaming", "use Invoke"),
}


def refuse(_chain: Any, context: Any, _response: Any) -> None:
    """Request handler: end calls to Lambda that deploy or use what the testbed does not have, leave all else alone.

    Raises:
        CommonServiceException: InvalidParameterValueException, status 400, which names the function and what it is;
            ValidationException for what is beyond a quota.
    """
    if not context.operation or context.service.service_name != "lambda":
        return
    operation, request = context.operation.name, context.service_request or {}
    if operation in _DEPLOYING and (problem := beyond_quota(request)):
        raise CommonServiceException("ValidationException", problem, status_code=400, sender_fault=True)
    problem = refusal(operation, request)
    if problem:
        raise CommonServiceException("InvalidParameterValueException", problem, status_code=400, sender_fault=True)


def refusal(operation: str, request: Mapping[str, Any]) -> str | None:
    """Why the testbed does not take ``request`` for ``operation`` of Lambda; None where it does."""
    name = request.get("FunctionName", "")
    if operation in _UNSUPPORTED:
        what, instead = _UNSUPPORTED[operation]
        return f"Function {name} asks for {what}, which the testbed does not have; {instead}"
    if request.get("InvokeMode") == "RESPONSE_STREAM":
        return f"Function {name} asks for a function URL with response streaming; the testbed has BUFFERED ones only"
    if operation in _DEPLOYING:
        return _function_refusal(name, request)
    if operation == "CreateEventSourceMapping":
        return _mapping_refusal(name, request)
    return None


def _function_refusal(name: str, request: Mapping[str, Any]) -> str | None:
    if request.get("PackageType") == "Image" or request.get("ImageUri"):
        return f"Function {name} is a container image; the testbed runs zip archives only, deploy it as one"
    runtime = request.get("Runtime")
    if runtime and not _RUNTIMES.fullmatch(runtime):
        what = f"Function {name} has the runtime {runtime}; the testbed runs python3.x and provided, with a bootstrap"
        return f"{what}; leave it out of the scenario, or stand in for it with a Python handler"
    return None


def _mapping_refusal(name: str, request: Mapping[str, Any]) -> str | None:
    source = request.get("EventSourceArn")
    if not source:
        return f"Function {name} is to be fed by a self-managed source; the testbed polls {_POLLED} only"
    service = (source.split(":") + [""] * 3)[2]
    if service not in _SOURCES:
        return f"Function {name} is to be fed by {source}; the testbed polls {_POLLED} only, not {service}"
    return None
