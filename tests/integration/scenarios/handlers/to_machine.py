"""API Gateway -> Lambda -> Step Functions: the order is accepted once its execution has begun."""

import json
import os
from typing import Any

import boto3

_machines = boto3.client("stepfunctions")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Begin an execution for the order."""
    _machines.start_execution(stateMachineArn=os.environ["MACHINE"], input=json.dumps({"body": event["body"]}))
    return {"statusCode": 202}
