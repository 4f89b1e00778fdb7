"""Reserved concurrency of functions in CloudFormation's templates, which LocalStack's provider leaves out.

AWS CloudFormation template reference, AWS::Lambda::Function, ReservedConcurrentExecutions.
"""

import functools
from typing import Any, Final

_RESERVED: Final = "ReservedConcurrentExecutions"


def mend(_chain: Any, context: Any, _response: Any) -> None:
    """Request handler: once CloudFormation is used, let functions of stacks have what their templates reserve."""
    if context.operation and context.service.service_name == "cloudformation":
        _mend_functions()


@functools.cache
def _mend_functions() -> None:
    # Imported here: few use CloudFormation, and its parts take long to import.
    from localstack.services.lambda_.resource_providers.aws_lambda_function import (  # noqa: PLC0415
        LambdaFunctionProvider,
    )

    for name in ("create", "update"):
        setattr(LambdaFunctionProvider, name, _with_reservation(getattr(LambdaFunctionProvider, name)))


def _with_reservation(change: Any) -> Any:
    @functools.wraps(change)
    def changed(provider: Any, request: Any) -> Any:
        progress = change(provider, request)
        if progress.status.name == "SUCCESS":
            _reserve(request)
        return progress

    return changed


def _reserve(request: Any) -> None:
    desired, previous = request.desired_state, request.previous_state or {}
    function = desired.get("FunctionName") or previous["FunctionName"]
    client = request.aws_client_factory.lambda_
    if desired.get(_RESERVED) is not None:
        client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=int(desired[_RESERVED]))
    elif previous.get(_RESERVED) is not None:
        client.delete_function_concurrency(FunctionName=function)
