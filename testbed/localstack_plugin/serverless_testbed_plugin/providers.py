"""DynamoDB, its streams and Kinesis from moto: no Java, no Node, no download."""

from typing import Any

from localstack.services.plugins import Service, aws_provider

from .serial import one_at_a_time


@aws_provider(api="dynamodb", name="moto")  # type: ignore[untyped-decorator]  # LocalStack ships no types
def dynamodb() -> Any:
    """Tables, conditions, transactions."""
    from localstack.aws.api.dynamodb import DynamodbApi  # noqa: PLC0415  # only when the service is used

    from .table_streams import mend_table_streams  # noqa: PLC0415  # it loads moto

    mend_table_streams()
    return _moto_service(DynamodbApi)


@aws_provider(api="dynamodbstreams", name="moto")  # type: ignore[untyped-decorator]  # LocalStack ships no types
def dynamodbstreams() -> Any:
    """The streams of moto's tables."""
    from localstack.aws.api.dynamodbstreams import DynamodbstreamsApi  # noqa: PLC0415  # only when the service is used

    from .table_streams import mend_table_streams  # noqa: PLC0415  # it loads moto

    mend_table_streams()
    return _moto_service(DynamodbstreamsApi)


@aws_provider(api="kinesis", name="moto")  # type: ignore[untyped-decorator]  # LocalStack ships no types
def kinesis() -> Any:
    """Streams, shards, records."""
    from localstack.aws.api.kinesis import KinesisApi  # noqa: PLC0415  # only when the service is used

    from .shards import index_shards  # noqa: PLC0415  # it loads moto

    index_shards()
    return _moto_service(KinesisApi)


def _moto_service(api: type[Any]) -> Any:
    from localstack.services.moto import MotoFallbackDispatcher  # noqa: PLC0415  # it loads moto

    provider = type(f"Moto{api.__name__}", (api,), {})()
    return Service.for_provider(provider, dispatch_table_factory=lambda own: one_at_a_time(MotoFallbackDispatcher(own)))
