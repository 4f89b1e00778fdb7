"""The event that Lambda makes of the records of a DynamoDB stream.

Shape: AWS Lambda developer guide, "Using AWS Lambda with Amazon DynamoDB", example event; Amazon DynamoDB Streams API
reference, StreamRecord.
"""

import base64
import json
from typing import Any, Final

from testbed.compute.pollers.batch import Record
from testbed.compute.pollers.mapping import Mapping
from testbed.semantics.filter_criteria import parse_json

_IMAGES: Final = ("Keys", "NewImage", "OldImage")


def dynamodb_record(record: dict[str, Any], mapping: Mapping) -> Record:
    """One record of GetRecords (boto3's shape) as a record of ``mapping``'s events.

    Its key is that of the item, partition and sort key: records of an item stay in order whatever the
    ``ParallelizationFactor`` (AWS Lambda developer guide, Polling and batching streams).
    """
    event = _event(record, mapping)
    change = event["dynamodb"]
    images = {name: change[name] for name in _IMAGES if name in change}
    return Record(
        id=change["SequenceNumber"],
        event=_json(event).encode(),
        body=_json({"eventName": event["eventName"], **images}).encode(),
        handle="",
        at=record["dynamodb"]["ApproximateCreationDateTime"].timestamp(),
        key=_json(change["Keys"]),
    )


def filter_view(record: dict[str, Any], mapping: Mapping) -> dict[str, Any]:
    """The record as the mapping's filters see it."""
    view: dict[str, Any] = parse_json(_json(_event(record, mapping)))
    return view


def _event(record: dict[str, Any], mapping: Mapping) -> dict[str, Any]:
    change = record["dynamodb"]
    document: dict[str, Any] = {"ApproximateCreationDateTime": change["ApproximateCreationDateTime"].timestamp()}
    for name in _IMAGES:
        if change.get(name):  # an item has its key at least: an empty image is none
            document[name] = {key: _value(value) for key, value in change[name].items()}
    for name in ("SequenceNumber", "SizeBytes", "StreamViewType"):
        document[name] = change[name]
    return {
        "eventID": record["eventID"],
        "eventName": record["eventName"],
        "eventVersion": record.get("eventVersion", "1.1"),
        "eventSource": "aws:dynamodb",
        "awsRegion": mapping.region,
        "dynamodb": document,
        **({"userIdentity": _identity(record["userIdentity"])} if record.get("userIdentity") else {}),
        "eventSourceARN": mapping.source_arn,
    }


def _value(value: dict[str, Any]) -> dict[str, Any]:
    """An attribute value with what is binary in Base64, as in JSON."""
    ((kind, member),) = value.items()
    if kind == "B":
        member = _text(member)
    elif kind == "BS":
        member = [_text(each) for each in member]
    elif kind == "L":
        member = [_value(each) for each in member]
    elif kind == "M":
        member = {key: _value(each) for key, each in member.items()}
    return {kind: member}


def _identity(identity: dict[str, Any]) -> dict[str, Any]:
    """Who deleted an item whose time to live had passed; events spell it in lower case."""
    return {name[0].lower() + name[1:]: value for name, value in identity.items()}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
