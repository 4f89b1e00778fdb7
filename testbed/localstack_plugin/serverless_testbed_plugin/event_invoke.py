"""Buckets as destinations of failed asynchronous invokes, which Lambda takes and LocalStack refuses.

Source: AWS Lambda developer guide, Capturing records of Lambda asynchronous invocations: a bucket on failure only.
"""

from collections.abc import Mapping
from typing import Any, Final

from localstack.services.lambda_.provider import LambdaProvider

_BUCKET: Final = "arn:aws:s3:::"

_validate = LambdaProvider._validate_destination_config  # noqa: SLF001 - LocalStack has no seam there


def take_buckets_on_failure() -> None:
    """Let LocalStack take them."""
    LambdaProvider._validate_destination_config = _validate_others  # noqa: SLF001 - the same


def _validate_others(provider: Any, store: Any, function_name: str, config: Mapping[str, Any]) -> None:
    _validate(provider, store, function_name, without_bucket(config))


def without_bucket(config: Mapping[str, Any]) -> dict[str, Any]:
    """A destination configuration without its ``OnFailure`` where that is a bucket."""
    bucket = str((config.get("OnFailure") or {}).get("Destination") or "").startswith(_BUCKET)
    return {name: value for name, value in config.items() if not (bucket and name == "OnFailure")}
