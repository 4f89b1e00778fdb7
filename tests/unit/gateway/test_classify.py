"""Requests that botocore itself writes are classified as the operation that it meant."""

from typing import Any

import pytest
from botocore.awsrequest import AWSRequest, prepare_request_dict
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from botocore.serialize import create_serializer
from multidict import CIMultiDict

from testbed.gateway.classify import Target, classify, resource_name, service_model
from testbed.gateway.message import Inbound

SERVICES = (
    "acm", "apigateway", "cloudformation", "cloudwatch", "config", "dynamodb", "dynamodbstreams", "ec2", "es", "events",
    "firehose", "iam", "kinesis", "kms", "lambda", "logs", "opensearch", "redshift", "resource-groups",
    "resourcegroupstaggingapi", "route53", "route53resolver", "s3", "s3control", "scheduler", "secretsmanager", "ses",
    "sns", "sqs", "ssm", "stepfunctions", "sts", "support", "swf", "transcribe",
)  # fmt: skip
BUS_A = "arn:aws:events:us-east-1:000000000000:event-bus/a"


def example(shape: Shape, depth: int = 0) -> Any:
    """The smallest value that fits ``shape``: required members only."""
    if isinstance(shape, StructureShape):
        return {name: example(shape.members[name], depth + 1) for name in shape.required_members} if depth < 6 else {}
    if isinstance(shape, ListShape):
        return [example(shape.member, depth + 1)]
    if isinstance(shape, MapShape):
        return {"key": example(shape.value, depth + 1)}
    simple = {"integer": 1, "long": 1, "float": 1.0, "double": 1.0, "boolean": True, "timestamp": 1, "blob": b"blob"}
    return simple.get(shape.type_name) or (shape.enum[0] if getattr(shape, "enum", None) else "name")


def written(service: str, operation: OperationModel, members: dict[str, Any] | None = None) -> Inbound:
    """``operation`` as botocore writes it, with a signature's credential scope; of required members by default."""
    model = service_model(service)
    shape = operation.input_shape
    serializer = create_serializer(model.metadata["protocol"], include_validation=False)
    members = members or (example(shape) if shape else {})
    request = serializer.serialize_to_request(members, operation)
    prepare_request_dict(request, endpoint_url="http://127.0.0.1:4566")
    prepared = AWSRequest(request["method"], request["url"], request["headers"], request["body"]).prepare()
    headers = CIMultiDict({key: str(value) for key, value in prepared.headers.items()})
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{model.signing_name}/aws4_request, Signature=0"
    )
    if request["headers"].get("Content-Type"):
        headers["Content-Type"] = request["headers"]["Content-Type"]
    elif model.metadata["protocol"] in {"query", "ec2"}:
        headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    body = prepared.body or b""
    target = prepared.url.removeprefix("http://127.0.0.1:4566")
    return Inbound(prepared.method, target, headers, body.encode() if isinstance(body, str) else bytes(body))


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_that_botocore_writes_is_recognised(service: str) -> None:
    """Each operation of each service that LocalStack offers comes back as itself."""
    model = service_model(service)
    wrong = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        if operation.deprecated or name == "ListDirectoryBuckets":
            continue  # another name for the same request on the wire
        if operation.endpoint and operation.endpoint.get("hostPrefix"):
            continue  # the host carries a part of the request: not on one loopback endpoint
        target = classify(written(service, operation))
        if target is None or (target.service, target.operation) != (service, name):
            wrong.append((name, target))
    assert wrong == []


def test_resource_is_the_bare_name() -> None:
    """ARNs, queue URLs and names all come down to the name."""
    assert resource_name("arn:aws:lambda:us-east-1:000000000000:function:front:live") == "front"
    assert resource_name("arn:aws:kinesis:us-east-1:000000000000:stream/orders") == "orders"
    assert resource_name("http://127.0.0.1:4566/queue/us-east-1/000000000000/orders") == "orders"
    assert resource_name("orders") == "orders"
    assert resource_name("arn:aws:dynamodb:us-east-1:000000000000:table/orders") == "orders"
    assert (
        resource_name("arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/2026-11-21T23:53:15.835") == "orders"
    )


def test_resource_of_a_send_is_its_queue() -> None:
    """The queue's name is found in the body of a JSON request."""
    operation = service_model("sqs").operation_model("SendMessage")
    target = classify(written("sqs", operation))
    assert target == Target("sqs", "SendMessage", "name")


@pytest.mark.parametrize(
    ("service", "operation", "members", "resource"),
    [
        ("events", "PutEvents", {"Entries": [{"Detail": "{}"}]}, "default"),
        ("events", "PutEvents", {"Entries": [{"EventBusName": "b"}, {"EventBusName": BUS_A}, {}]}, "a,b,default"),
        ("dynamodb", "BatchWriteItem", {"RequestItems": {"b": [], "a": []}}, "a,b"),
        (
            "dynamodb",
            "TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "b"}}, {"Delete": {"TableName": "a"}}]},
            "a,b",
        ),
        ("sqs", "SendMessageBatch", {"QueueUrl": "http://h/000000000000/orders", "Entries": [{"Id": "1"}]}, "orders"),
    ],
)
def test_a_batch_names_all_that_it_is_about(
    service: str, operation: str, members: dict[str, Any], resource: str
) -> None:
    """Once each, in order; an event without a bus goes to the default one (EventBridge API reference, PutEvents)."""
    model = service_model(service).operation_model(operation)
    assert classify(written(service, model, members)) == Target(service, operation, resource)


def test_what_is_not_aws_is_left_alone() -> None:
    """A request without a signature, a target or an action is nobody's operation."""
    assert classify(Inbound("GET", "/_localstack/health", CIMultiDict())) is None


def test_presigned_url_is_classified_by_its_query() -> None:
    """A presigned URL has its credential scope in the query."""
    target = (
        "/bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=test%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"
    )
    assert classify(Inbound("GET", target, CIMultiDict())) == Target("s3", "GetObject", "bucket")


def test_the_queue_of_a_form_is_the_path_where_no_field_names_it() -> None:
    """As REST APIs call SQS, and old clients."""
    scope = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, Signature=0"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": scope}
    request = Inbound("POST", "/000000000000/orders", CIMultiDict(headers), b"Action=SendMessage&MessageBody=m")
    assert classify(request) == Target("sqs", "SendMessage", "orders")
