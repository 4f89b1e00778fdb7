"""Checks of event source mappings that Lambda makes and LocalStack does not, when they are created and updated.

Sources: AWS Lambda developer guide, "Creating and configuring an Amazon SQS event source mapping" (visibility timeout,
batch size and window of FIFO queues), "Configuring scaling behavior for SQS event source mappings" and "Using
provisioned mode with Amazon SQS event source mappings" (limits, not together with maximum concurrency), "Control which
events Lambda sends to your function" (operators, five filters). AWS publishes the texts of few of these errors.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from localstack.aws.api.lambda_ import InvalidParameterValueException
from localstack.services.lambda_.provider import LambdaProvider
from localstack.services.sqs.models import sqs_stores

_FIFO_BATCH: Final = 10
_LEAST_POLLERS: Final = 2
_DEFAULT_POLLERS: Final = {"MinimumPollers": 2, "MaximumPollers": 200}
_MOST_FILTERS: Final = 5
_OPERATORS: Final = frozenset({"exists", "anything-but", "equals-ignore-case", "prefix", "suffix", "numeric"})
_DATA_KEYS: Final = {"kinesis": "data", "dynamodb": "dynamodb"}  # of streams, whose data have to be JSON

_validate = LambdaProvider.validate_event_source_mapping


def check_mappings_as_aws_does() -> None:
    """Let LocalStack make these checks after its own."""
    LambdaProvider.validate_event_source_mapping = _validate_all


def _validate_all(provider: Any, context: Any, mapping: Mapping[str, Any]) -> Any:
    """``mapping`` is a request to create one, or the one that an update would make."""
    found = _validate(provider, context, mapping)
    problem = next(problems(mapping, timeout=found[3].config.timeout), None)
    if problem:
        raise InvalidParameterValueException(problem, Type="User")
    return found


def problems(mapping: Mapping[str, Any], *, timeout: int) -> Iterator[str]:
    """Why Lambda refuses ``mapping`` to a function with ``timeout`` seconds."""
    source = mapping.get("EventSourceArn") or ""
    service = (source.split(":") + [""] * 3)[2]
    if service == "sqs":
        yield from _queue_problems(mapping, fifo=source.endswith(".fifo"))
        visible_after = _visibility_timeout(source)
        if visible_after is not None and visible_after < timeout:
            yield f"Queue visibility timeout: {visible_after} seconds is less than Function timeout: {timeout} seconds"
    filters = (mapping.get("FilterCriteria") or {}).get("Filters") or []
    if len(filters) > _MOST_FILTERS:
        yield f"Filters are limited to {_MOST_FILTERS} for each event source mapping"
    for each in filters:
        pattern = json.loads(each["Pattern"])
        if not _is_known(pattern) or not isinstance(pattern.get(_DATA_KEYS.get(service, ""), {}), dict):
            yield "Invalid filter pattern definition."


def _queue_problems(mapping: Mapping[str, Any], *, fifo: bool) -> Iterator[str]:
    if fifo and (mapping.get("BatchSize") or 0) > _FIFO_BATCH:
        yield f"Maximum batch size of a FIFO queue is {_FIFO_BATCH}"
    if fifo and mapping.get("MaximumBatchingWindowInSeconds"):
        yield "Batching window is not supported for FIFO queues"
    provisioned = mapping.get("ProvisionedPollerConfig")
    if not provisioned:
        return
    limits = _DEFAULT_POLLERS | provisioned
    if (mapping.get("ScalingConfig") or {}).get("MaximumConcurrency"):
        yield "MaximumConcurrency and ProvisionedPollerConfig cannot be used together"
    if limits["MinimumPollers"] < _LEAST_POLLERS:
        yield f"MinimumPollers of a queue is at least {_LEAST_POLLERS}"
    if limits["MaximumPollers"] < limits["MinimumPollers"]:
        yield "MaximumPollers must be greater than or equal to MinimumPollers"


def _visibility_timeout(arn: str) -> int | None:
    """Of a queue; None where there is none."""
    _, _, _, region, account, name = arn.split(":", 5)
    queue = sqs_stores[account][region].queues.get(name)
    return None if queue is None else int(queue.visibility_timeout)


def _is_known(pattern: Any) -> bool:
    """Whether Lambda has every operator of a pattern that EventBridge has."""
    if isinstance(pattern, list):
        return all(not isinstance(rule, dict) or _is_known_rule(rule) for rule in pattern)
    return all(
        all(_is_known(alternative) for alternative in rules) if key == "$or" else _is_known(rules)
        for key, rules in pattern.items()
    )


def _is_known_rule(rule: Mapping[str, Any]) -> bool:
    return rule.keys() <= _OPERATORS and not any(isinstance(operand, dict) for operand in rule.values())
