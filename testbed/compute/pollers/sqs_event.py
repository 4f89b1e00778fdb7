"""The event that Lambda makes of SQS messages.

Shape: AWS Lambda developer guide, "Using Lambda with Amazon SQS", example standard queue message event.
"""

import base64
import json
from typing import Any

from testbed.compute.pollers.batch import Record
from testbed.compute.pollers.mapping import Mapping
from testbed.semantics.filter_criteria import decoded, matches


def sqs_record(message: dict[str, Any], mapping: Mapping, received_at: float) -> Record:
    """One message of ReceiveMessage (boto3's shape) as a record of ``mapping``'s events."""
    return Record(
        id=message["MessageId"],
        event=json.dumps(_event(message, mapping), separators=(",", ":")).encode(),
        body=message["Body"].encode(errors="surrogatepass"),
        handle=message["ReceiptHandle"],
        at=received_at,
        trace=(message.get("Attributes") or {}).get("AWSTraceHeader"),
    )


def is_wanted(message: dict[str, Any], mapping: Mapping) -> bool:
    """Whether the mapping's filters let a message of ReceiveMessage through to the function."""
    return matches(mapping.filters or (), _event(message, mapping) | {"body": decoded(message["Body"])})


def _event(message: dict[str, Any], mapping: Mapping) -> dict[str, Any]:
    event: dict[str, Any] = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes") or {},
        "messageAttributes": {
            name: _attribute(value) for name, value in (message.get("MessageAttributes") or {}).items()
        },
    }
    if "MD5OfMessageAttributes" in message:
        event["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"]
    event["md5OfBody"] = message.get("MD5OfBody", "")
    event["eventSource"] = "aws:sqs"
    event["eventSourceARN"] = mapping.source_arn
    event["awsRegion"] = mapping.region
    return event


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    attribute: dict[str, Any] = {}
    if "StringValue" in value:
        attribute["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        attribute["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return attribute | {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
