"""The event that Lambda makes of Kinesis records.

Shape: AWS Lambda developer guide, "Using Lambda with Kinesis", example Kinesis record event.
"""

import base64
import json
from typing import Any

from testbed.compute.pollers.batch import Record
from testbed.compute.pollers.mapping import Mapping


def kinesis_record(record: dict[str, Any], mapping: Mapping, shard_id: str, role: str) -> Record:
    """One record of GetRecords (boto3's shape) as a record of ``mapping``'s events; ``role`` is the function's."""
    sequence_number, arrival = record["SequenceNumber"], record["ApproximateArrivalTimestamp"].timestamp()
    event = {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": sequence_number,
            "data": base64.b64encode(record["Data"]).decode(),
            "approximateArrivalTimestamp": round(arrival, 3),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard_id}:{sequence_number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": role,
        "awsRegion": mapping.region,
        "eventSourceARN": mapping.source_arn,
    }
    return Record(
        id=sequence_number,
        event=json.dumps(event, separators=(",", ":")).encode(),
        body=record["Data"],
        handle="",
        at=arrival,
    )
