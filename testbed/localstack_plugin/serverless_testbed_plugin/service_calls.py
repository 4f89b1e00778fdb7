"""Sends the calls that one service makes of another through the gateway, where faults, limits and the journal see them.

That is what Step Functions and REST APIs call for their users, and what S3, log subscriptions, Firehose, alarms and
SES deliver. What LocalStack asks itself, and what CloudFormation deploys, stays inside.
"""

from collections.abc import Callable
from typing import Any, Final

from urllib3.exceptions import HTTPError

from . import plane

_READ_SECONDS: Final = 960.0
"""Longer than any fault lets a call hang, and than any function runs."""

_INSIDE: Final = frozenset({"sts", "iam"})
_NAMELESS: Final = frozenset({"PutEvents", "Publish"})
"""What S3, alarms and SES call without saying who they are; nobody deploys with these."""

_OF_THE_CONNECTION: Final = frozenset(
    {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"}
)
_STATES: Final = "states"


def name_step_functions() -> None:
    """Let the clients of Step Functions say whose they are, as those of other services do."""
    from localstack.aws.connect import MetadataRequestInjector  # noqa: PLC0415  # see start.install
    from localstack.services.stepfunctions.asl.utils import boto_client  # noqa: PLC0415  # the same

    make: Callable[..., Any] = boto_client.boto_client_for

    def boto_client_for(*args: Any, **kwargs: Any) -> Any:
        return MetadataRequestInjector(make(*args, **kwargs)).request_metadata(service_principal=_STATES)

    boto_client.boto_client_for = boto_client_for


def send_forms_to_queues_through_the_gateway() -> None:
    """Do so with what REST APIs post to the path of a queue, which LocalStack answers before its services."""
    from localstack.aws.connect import INTERNAL_REQUEST_PARAMS_HEADER  # noqa: PLC0415  # see start.install
    from localstack.http import Response  # noqa: PLC0415  # the same
    from localstack.services.sqs import query_api  # noqa: PLC0415  # the same

    handle: Callable[..., Any] = query_api.handle_request

    def handle_request(request: Any, region: str) -> Any:
        if INTERNAL_REQUEST_PARAMS_HEADER not in request.headers or plane.CALLER_HEADER in request.headers:
            return handle(request, region)
        try:
            answer = _answer(request)
        except HTTPError as error:
            return Response(f"the call was not answered: {error}", status=503)
        return Response(answer.data, status=answer.status, headers=_end_to_end(answer.headers))

    query_api.handle_request = handle_request


def forward(chain: Any, context: Any, response: Any) -> None:
    """Request handler: answer the call of another service with what the gateway answers, which asks LocalStack again.

    Raises:
        CommonServiceException: ServiceUnavailable, status 503, where there was no answer.
    """
    if not is_for_another_service(context):
        return
    from localstack.aws.api import CommonServiceException  # noqa: PLC0415  # see start.install

    try:
        answer = _answer(context.request)
    except HTTPError as error:
        message = f"The call of {context.service.service_name} was not answered: {error}"
        raise CommonServiceException("ServiceUnavailable", message, status_code=503) from error
    response.status_code = answer.status
    response.data = answer.data
    for name, value in _end_to_end(answer.headers).items():
        response.headers[name] = value
    chain.stop()


def _answer(request: Any) -> Any:
    from rolo.request import get_full_raw_path, restore_payload  # noqa: PLC0415  # see start.install

    path, headers = get_full_raw_path(request), _end_to_end(request.headers)
    body = restore_payload(request)  # a form has been read by now
    return plane.send(request.method, path, body, headers, read_seconds=_READ_SECONDS)


def _end_to_end(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OF_THE_CONNECTION}


def is_for_another_service(context: Any) -> bool:
    """Whether one service makes this call of another, and the gateway has not seen it yet."""
    if not context.operation or not context.is_internal_call or context.service.service_name in _INSIDE:
        return False
    if plane.CALLER_HEADER in context.request.headers:
        return False
    return bool(context.internal_request_params.get("service_principal")) or context.operation.name in _NAMELESS
