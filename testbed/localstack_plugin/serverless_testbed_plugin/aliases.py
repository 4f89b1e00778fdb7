"""UpdateAlias with weights, on which LocalStack fails: its check is not told which version the alias stands for."""

import functools
from collections.abc import Mapping
from typing import Any, Final

from localstack.services.lambda_ import api_utils
from localstack.services.lambda_.invocation.models import lambda_stores
from localstack.services.lambda_.provider import LambdaProvider

_WEIGHTS: Final = "AdditionalVersionWeights"

_check = LambdaProvider._create_routing_config_model  # noqa: SLF001 - LocalStack has no seam there
_update = LambdaProvider.update_alias


def take_weights_in_updates() -> None:
    """Let LocalStack take them, after the same checks as in CreateAlias."""
    LambdaProvider._create_routing_config_model = _check_with_version  # noqa: SLF001 - the same
    LambdaProvider.update_alias = _update_with_version


class _Weights(dict[str, float]):
    """Weights that know the version which gets the rest."""

    version: Any = None


def _check_with_version(provider: Any, weights: Mapping[str, float], version: Any = None) -> Any:
    return _check(provider, dict(weights), version or getattr(weights, "version", None))


@functools.wraps(_update)
def _update_with_version(provider: Any, context: Any, function_name: str, name: str, **changes: Any) -> Any:
    routing = changes.get("routing_config") or {}
    if routing.get(_WEIGHTS):
        account, region = api_utils.get_account_and_region(function_name, context)
        function = lambda_stores[account][region].functions.get(api_utils.get_function_name(function_name, context))
        if function is not None and name in function.aliases:
            weights = _Weights(routing[_WEIGHTS])
            weights.version = function.versions[
                changes.get("function_version") or function.aliases[name].function_version
            ]
            changes["routing_config"] = {_WEIGHTS: weights}
    return _update(provider, context, function_name, name, **changes)
