"""Kinesis -> Lambda -> Postgres: each record on its own, the batch cut at the first that failed."""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
from store import parse, store

_processor = BatchProcessor(EventType.KinesisDataStreams)


def _store_record(record: KinesisStreamRecord) -> None:
    store(parse(record.kinesis.data_as_bytes()))


def handler(event: dict[str, Any], context: Any) -> Any:
    """Store every order of the batch; the first failure is where the next attempt begins."""
    return process_partial_response(event, _store_record, _processor, context)
