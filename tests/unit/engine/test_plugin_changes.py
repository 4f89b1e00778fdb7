"""Which calls the plugin tells the data plane of, and by which name."""

import pytest

from testbed.localstack_plugin.serverless_testbed_plugin.changes import changed_resource, changes_state


@pytest.mark.parametrize(
    ("service", "operation", "changes"),
    [
        ("lambda", "CreateFunction", True),
        ("lambda", "PutFunctionConcurrency", True),
        ("lambda", "DeleteEventSourceMapping", True),
        ("lambda", "GetFunction", False),
        ("lambda", "ListEventSourceMappings", False),
        ("lambda", "Invoke", False),
        ("apigateway", "CreateDeployment", True),
        ("apigateway", "TestInvokeMethod", False),
        ("kinesis", "UpdateShardCount", True),
        ("kinesis", "PutRecords", False),
        ("dynamodb", "CreateTable", True),
        ("dynamodb", "PutItem", False),
        ("sqs", "CreateQueue", False),
    ],
)
def test_writes_to_what_is_read_once_change_state(service: str, operation: str, *, changes: bool) -> None:
    """Reads, invokes, data and other services do not."""
    assert changes_state(service, operation) is changes


@pytest.mark.parametrize(
    ("operation", "request_", "response", "resource"),
    [
        ("CreateFunction", {"FunctionName": "f"}, {"FunctionArn": "arn"}, "f"),
        ("DeleteFunction", {"FunctionName": "f"}, {}, "f"),
        ("DeleteFunction", {"FunctionName": "f", "Qualifier": "7"}, {}, "f:7"),
        ("CreateEventSourceMapping", {"FunctionName": "f"}, {"UUID": "u"}, "u"),
        ("UpdateEventSourceMapping", {"UUID": "u", "BatchSize": 1}, {}, "u"),
        ("CreateRestApi", {"name": "shop"}, {"id": "a1"}, "a1"),
        ("PutMethod", {"restApiId": "a1", "resourceId": "r"}, {}, "a1"),
        (
            "SplitShard",
            {"StreamARN": "arn:aws:kinesis:r:a:stream/s", "ShardToSplit": "x"},
            {},
            "arn:aws:kinesis:r:a:stream/s",
        ),
        ("RestoreTableFromBackup", {"TargetTableName": "t", "BackupArn": "b"}, {}, "t"),
        ("UpdateAccount", {}, None, ""),
    ],
)
def test_the_resource_is_what_the_plane_knows_it_by(
    operation: str, request_: dict[str, str], response: dict[str, str] | None, resource: str
) -> None:
    """Function name, UUID of the mapping, id of the API; what was created is named by the answer."""
    assert changed_resource(operation, request_, response) == resource
