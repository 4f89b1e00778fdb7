"""The event that Lambda makes of Kinesis records.

Shape: AWS Lambda developer guide, "Using Lambda with Kinesis", example Kinesis record event.
"""

import base64
import json
from typing import Any

from testbed.compute.pollers.batch import Record
from testbed.compute.pollers.mapping import Mapping
from testbed.semantics.filter_criteria import decoded


def kinesis_record(record: dict[str, Any], mapping: Mapping, shard_id: str, role: str) -> Record:
    """One record of GetRecords (boto3's shape) as a record of ``mapping``'s events; ``role`` is the function's."""
    return Record(
        id=record["SequenceNumber"],
        event=json.dumps(_event(record, mapping, shard_id, role), separators=(",", ":")).encode(),
        body=record["Data"],
        handle="",
        at=record["ApproximateArrivalTimestamp"].timestamp(),
        key=record["PartitionKey"],
    )


def filter_view(record: dict[str, Any], mapping: Mapping, shard_id: str, role: str) -> dict[str, Any]:
    """The record as the mapping's filters see it: the members of ``kinesis`` at the top, the data decoded.

    AWS Lambda developer guide, "Using event filtering with a Kinesis event source".
    """
    event = _event(record, mapping, shard_id, role)
    return {**event.pop("kinesis"), **event, "data": decoded(record["Data"])}


def _event(record: dict[str, Any], mapping: Mapping, shard_id: str, role: str) -> dict[str, Any]:
    sequence_number = record["SequenceNumber"]
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": sequence_number,
            "data": base64.b64encode(record["Data"]).decode(),
            "approximateArrivalTimestamp": round(record["ApproximateArrivalTimestamp"].timestamp(), 3),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard_id}:{sequence_number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": role,
        "awsRegion": mapping.region,
        "eventSourceARN": mapping.source_arn,
    }
