"""Hands every Lambda invoke to the testbed's data plane, those from SNS, EventBridge or Step Functions included."""

from typing import Any, Final
from uuid import uuid4

from localstack.aws.api import CommonServiceException
from rolo.request import get_full_raw_path
from urllib3.exceptions import HTTPError

from . import plane

_READ_SECONDS: Final = 960.0
"""Longer than any function may run: 900 s (AWS Lambda developer guide, Lambda quotas)."""

_REQUEST_ID: Final = "x-amzn-RequestId"

_SCOPE: Final = {"Authorization": "AWS4-HMAC-SHA256 Credential=emulator/20150331/us-east-1/lambda/aws4_request"}
"""The plane tells services apart by the scope of the signature, which not every call inside LocalStack has."""


def forward(chain: Any, context: Any, response: Any) -> None:
    """Request handler: answer ``lambda:Invoke`` with what the plane answers, leave all else alone.

    Raises:
        CommonServiceException: ServiceException, status 500, when the plane does not answer, or hands back what was
            handed to it: forwarded again, it would go round until no thread is left.
    """
    if not context.operation or context.service.service_name != "lambda" or context.operation.name != "Invoke":
        return
    request = context.request
    if plane.CALLER_HEADER in request.headers:
        message = f"The data plane of the testbed did not take the invoke {request.path}"
        raise CommonServiceException("ServiceException", message, status_code=500)
    try:
        answer = plane.post(
            get_full_raw_path(request),
            request.get_data(),
            _forwarded(request.headers),
            read_seconds=_READ_SECONDS,
        )
    except HTTPError as error:
        message = f"The data plane of the testbed does not answer: {error}"
        raise CommonServiceException("ServiceException", message, status_code=500) from error
    response.status_code = answer.status
    response.data = answer.data
    for name, value in answer.headers.items():
        if name.lower().startswith("x-amz") or name.lower() == "content-type":
            response.headers[name] = value
    response.headers.setdefault(_REQUEST_ID, str(uuid4()))  # SNS reads it from every answer
    chain.stop()


def _forwarded(headers: Any) -> dict[str, str]:
    """The headers that belong to the invoke: ``X-Amz-Invocation-Type``, ``X-Amzn-Trace-Id`` and their like."""
    return {name: value for name, value in headers.items() if name.lower().startswith("x-amz")} | _SCOPE
