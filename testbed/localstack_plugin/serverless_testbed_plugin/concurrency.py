"""Lambda's concurrency, as far as LocalStack answers for it: the account's quotas, and provisioned concurrency.

LocalStack checks reservations, those by CloudFormation included, against two settings of its own; before it does so,
they become those of the profile that the data plane runs by. Of provisioned concurrency LocalStack keeps what is asked
for. The data plane starts the environments, and is asked how far it is before LocalStack tells anybody.

Sources: AWS Lambda developer guide, Configuring reserved concurrency and Configuring provisioned concurrency; the
refusal of weighted aliases as Terraform's users met it (hashicorp/terraform issue 24957).
"""

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from urllib3.exceptions import HTTPError

from . import plane

_QUOTAS_PATH: Final = "/_testbed/quotas"
_STATES_PATH: Final = "/_testbed/provisioned"
_READ_SECONDS: Final = 5.0
_BY_QUOTA: Final = frozenset({"PutFunctionConcurrency", "PutProvisionedConcurrencyConfig", "GetAccountSettings"})
_IN_PROGRESS: Final = "IN_PROGRESS"


def use_quotas(_chain: Any, context: Any, _response: Any) -> None:
    """Request handler: before LocalStack looks at the quotas, make them the data plane's."""
    from localstack import config  # noqa: PLC0415  # see start.install

    if context.operation and context.service.service_name == "lambda" and context.operation.name in _BY_QUOTA:
        quotas = _ask_plane(_QUOTAS_PATH, {})
        config.LAMBDA_LIMITS_CONCURRENT_EXECUTIONS = quotas["account"]
        config.LAMBDA_LIMITS_MINIMUM_UNRESERVED_CONCURRENCY = quotas["minimum_unreserved"]


def provision_in_the_plane() -> None:
    """Let LocalStack start nothing by itself, tell what the plane tells, and count as AWS does."""
    from localstack.services.lambda_.invocation.version_manager import LambdaVersionManager  # noqa: PLC0415  # the same
    from localstack.services.lambda_.provider import LambdaProvider  # noqa: PLC0415  # the same

    LambdaVersionManager.update_provisioned_concurrency_config = _remember
    for name, instead in (
        ("put_provisioned_concurrency_config", _without_weights),
        ("get_provisioned_concurrency_config", _told_by_the_plane),
        ("list_provisioned_concurrency_configs", _told_by_the_plane),
        ("delete_provisioned_concurrency_config", _of_aliases_too),
        ("delete_function", _with_what_is_provisioned),
        ("get_account_settings", _counted_once),
    ):
        setattr(LambdaProvider, name, instead(getattr(LambdaProvider, name)))


def unreserved(account: int, functions: Iterable[Any], operation: str, request: Mapping[str, Any]) -> int:
    """What the account has unreserved, as LocalStack is to see it while it checks ``operation``.

    Provisioned concurrency is taken from the function's reservation, where it has one; LocalStack counts both. It then
    takes off what ``request`` asks for, but does not know what that replaces.

    Args:
        account: The quota.
        functions: LocalStack's, of the account.
        operation: Which operation looks at it.
        request: Its request, with the bare ``FunctionName``.
    """
    if operation == "PutFunctionConcurrency" and request["ReservedConcurrentExecutions"] == 0:
        return account  # a function can always be turned off
    left = account
    for function in functions:
        reserved = function.reserved_concurrent_executions
        provisioned = {
            qualifier: config.provisioned_concurrent_executions
            for qualifier, config in function.provisioned_concurrency_configs.items()
        }
        own = function.function_name == request.get("FunctionName")
        if own and operation == "PutFunctionConcurrency":
            left -= reserved or 0  # LocalStack gives this back before it compares
        elif own and operation == "PutProvisionedConcurrencyConfig" and reserved is not None:
            left += request["ProvisionedConcurrentExecutions"] - reserved
        elif reserved is not None:
            left -= reserved
        else:
            replaced = provisioned.get(request.get("Qualifier", ""), 0) if own else 0
            left -= sum(provisioned.values()) - replaced
    return left


def state_of(told: Mapping[str, Any] | None, last_modified: str) -> dict[str, Any]:
    """The members of LocalStack's state for a configuration of ``last_modified``; the plane may know an earlier one."""
    if told is None:
        return {"allocated": 0, "available": 0, "status": _IN_PROGRESS}
    state = {"allocated": told["allocated"], "available": told["available"]}
    if told["modified"] != last_modified:
        return {**state, "status": _IN_PROGRESS}
    return {**state, "status": told["status"], "status_reason": told["reason"]}


def _remember(manager: Any, provisioned_concurrent_executions: int) -> None:
    _tell(manager, state_of(None, "") if provisioned_concurrent_executions else None)


def _tell(manager: Any, state: Mapping[str, Any] | None) -> None:
    from localstack.services.lambda_.invocation.lambda_models import (  # noqa: PLC0415  # see start.install
        ProvisionedConcurrencyState,
    )

    manager.provisioned_state = None if state is None else ProvisionedConcurrencyState(**state)


def _told_by_the_plane(answer: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(answer)
    def call(provider: Any, context: Any, function_name: str, *args: Any, **kwargs: Any) -> Any:
        function = _function(context, function_name)
        if function is not None and function.provisioned_concurrency_configs:
            states = _ask_plane(_STATES_PATH, {"function": function.function_name})["versions"]
            for qualifier, asked in list(function.provisioned_concurrency_configs.items()):
                version = _version(function, qualifier)
                arn = function.versions[version].id.qualified_arn()
                manager = provider.lambda_service.get_lambda_version_manager(arn)
                _tell(manager, state_of(states.get(version), asked.last_modified))
        return answer(provider, context, function_name, *args, **kwargs)

    return call


def _without_weights(put: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(put)
    def call(provider: Any, context: Any, function_name: str, qualifier: str, **kwargs: Any) -> Any:
        from localstack.aws.api.lambda_ import InvalidParameterValueException  # noqa: PLC0415  # see start.install

        function = _function(context, function_name)
        alias = function.aliases.get(qualifier) if function else None
        if alias and alias.routing_configuration and alias.routing_configuration.version_weights:
            message = "Alias with weights can not be used with Provisioned Concurrency"
            raise InvalidParameterValueException(message, Type="User")
        return put(provider, context, function_name, qualifier, **kwargs)

    return call


def _of_aliases_too(delete: Callable[..., Any]) -> Callable[..., Any]:
    """LocalStack deletes the configuration of an alias, and then looks for a version that has the alias's name."""

    @functools.wraps(delete)
    def call(provider: Any, context: Any, function_name: str, qualifier: str, **kwargs: Any) -> Any:
        function = _function(context, function_name)
        if function is not None and qualifier in function.aliases:
            function.provisioned_concurrency_configs.pop(qualifier, None)
            return None
        return delete(provider, context, function_name, qualifier, **kwargs)

    return call


def _with_what_is_provisioned(delete: Callable[..., Any]) -> Callable[..., Any]:
    """LocalStack keeps the configuration of a version that is deleted."""

    @functools.wraps(delete)
    def call(provider: Any, context: Any, function_name: str, *args: Any, **kwargs: Any) -> Any:
        answer = delete(provider, context, function_name, *args, **kwargs)
        function = _function(context, function_name)
        if function is not None:
            for qualifier in list(function.provisioned_concurrency_configs):
                if _version(function, qualifier) not in function.versions:
                    function.provisioned_concurrency_configs.pop(qualifier)
        return answer

    return call


def _counted_once(answer: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(answer)
    def call(provider: Any, context: Any, **kwargs: Any) -> Any:
        from localstack.services.lambda_.invocation.models import lambda_stores  # noqa: PLC0415  # see start.install

        request = dict(context.service_request or {})
        function = _function(context, request["FunctionName"]) if "FunctionName" in request else None
        if function is not None:
            request["FunctionName"] = function.function_name
        settings = answer(provider, context, **kwargs)
        limit = settings["AccountLimit"]
        functions = list(lambda_stores[context.account_id][context.region].functions.values())
        limit["UnreservedConcurrentExecutions"] = unreserved(
            limit["ConcurrentExecutions"], functions, context.operation.name, request
        )
        return settings

    return call


def _version(function: Any, qualifier: str) -> str:
    """The version that a qualifier stands for."""
    alias = function.aliases.get(qualifier)
    return str(alias.function_version) if alias else qualifier


def _function(context: Any, function: str) -> Any:
    """LocalStack's function of this name or ARN; None where there is none."""
    from localstack.services.lambda_ import api_utils  # noqa: PLC0415  # see start.install
    from localstack.services.lambda_.invocation.models import lambda_stores  # noqa: PLC0415  # the same

    account, region = api_utils.get_account_and_region(function, context)
    return lambda_stores[account][region].functions.get(api_utils.get_function_name(function, context))


def _ask_plane(path: str, order: Mapping[str, Any]) -> Any:
    """What the plane answers.

    Raises:
        CommonServiceException: ServiceException, status 500, when the plane does not answer.
    """
    from localstack.aws.api import CommonServiceException  # noqa: PLC0415  # see start.install

    body, headers = json.dumps(order).encode(), {"Content-Type": "application/json"}
    try:
        return json.loads(plane.post(path, body, headers, read_seconds=_READ_SECONDS).data)
    except HTTPError as error:
        message = f"The data plane of the testbed does not answer: {error}"
        raise CommonServiceException("ServiceException", message, status_code=500) from error
