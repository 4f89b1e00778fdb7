"""DynamoDB, its streams and Kinesis from moto: no Java, no Node, no download."""

import threading
from collections.abc import Callable
from typing import Any

from localstack.services.plugins import Service, aws_provider


@aws_provider(api="dynamodb", name="moto")  # type: ignore[untyped-decorator]  # LocalStack ships no types
def dynamodb() -> Any:
    """Tables, conditions, transactions."""
    from localstack.aws.api.dynamodb import DynamodbApi  # noqa: PLC0415  # only when the service is used

    return _moto_service(DynamodbApi)


@aws_provider(api="dynamodbstreams", name="moto")  # type: ignore[untyped-decorator]  # LocalStack ships no types
def dynamodbstreams() -> Any:
    """The streams of moto's tables."""
    from localstack.aws.api.dynamodbstreams import DynamodbstreamsApi  # noqa: PLC0415  # only when the service is used

    return _moto_service(DynamodbstreamsApi)


@aws_provider(api="kinesis", name="moto")  # type: ignore[untyped-decorator]  # LocalStack ships no types
def kinesis() -> Any:
    """Streams, shards, records."""
    from localstack.aws.api.kinesis import KinesisApi  # noqa: PLC0415  # only when the service is used

    from .shards import index_shards  # noqa: PLC0415  # it loads moto

    index_shards()
    return _moto_service(KinesisApi)


_moto_lock = threading.RLock()
"""moto's backends are written for one thread: two puts at a time took the same sequence number and one record was
lost, and two conditional writes could both succeed. Streams share the tables' data, so there is one lock. As Python
runs one thread at a time anyway, it costs next to nothing."""


def _moto_service(api: type[Any]) -> Any:
    provider = type(f"Moto{api.__name__}", (api,), {})()
    return Service.for_provider(provider, dispatch_table_factory=_one_at_a_time)


def _one_at_a_time(provider: Any) -> dict[str, Callable[[Any, Any], Any]]:
    from localstack.services.moto import MotoFallbackDispatcher  # noqa: PLC0415  # it loads moto

    return {name: _locked(handler) for name, handler in MotoFallbackDispatcher(provider).items()}


def _locked(handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def call(context: Any, request: Any) -> Any:
        with _moto_lock:
            return handler(context, request)

    return call
