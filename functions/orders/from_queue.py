"""SQS -> Lambda -> Postgres: each message on its own, failures reported one by one."""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from store import parse, store

_processor = BatchProcessor(EventType.SQS)


def _store_record(record: SQSRecord) -> None:
    store(parse(record.body))


def handler(event: dict[str, Any], context: Any) -> Any:
    """Store every order of the batch; those that failed stay in the queue until it gives them up."""
    return process_partial_response(event, _store_record, _processor, context)
