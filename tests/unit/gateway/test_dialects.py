"""Faults hit requests in each protocol that AWS SDKs speak, and their callers are answered in the one they spoke."""

import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from aiohttp import web
from botocore.awsrequest import prepare_request_dict
from botocore.model import StructureShape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from gateway_world import World
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from testbed.chaos.faults.delivery import LateDelivery
from testbed.chaos.faults.partial_failure import PartialFailure
from testbed.chaos.faults.throttle import Throttle, throttling_error
from testbed.gateway.cbor import decoded, encoded
from testbed.gateway.classify import service_model
from testbed.gateway.message import Inbound, Reply

QUEUE = "http://localhost/000000000000/orders"
ARN = "arn:aws:states:us-east-1:000000000000:stateMachine:orders"
CALLS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "apigateway": ("GetRestApi", {"restApiId": "orders"}),
    "cloudformation": ("DescribeStacks", {"StackName": "orders"}),
    "cloudwatch": ("PutMetricData", {"Namespace": "orders", "MetricData": []}),
    "dynamodb": ("PutItem", {"TableName": "orders", "Item": {"id": {"B": b"\x00\xff"}}}),
    "dynamodbstreams": ("ListStreams", {"TableName": "orders"}),
    "events": ("PutEvents", {"Entries": [{"EventBusName": "orders", "Source": "s"}]}),
    "firehose": ("PutRecord", {"DeliveryStreamName": "orders", "Record": {"Data": b"1"}}),
    "iam": ("GetRole", {"RoleName": "orders"}),
    "kinesis": ("PutRecord", {"StreamName": "orders", "Data": b"\x00\xff", "PartitionKey": "k"}),
    "kms": ("DescribeKey", {"KeyId": "orders"}),
    "lambda": ("GetFunction", {"FunctionName": "orders"}),
    "logs": ("CreateLogGroup", {"logGroupName": "orders"}),
    "s3": ("PutObject", {"Bucket": "orders", "Key": "k", "Body": b"1"}),
    "scheduler": ("GetScheduleGroup", {"Name": "orders"}),
    "secretsmanager": ("GetSecretValue", {"SecretId": "orders"}),
    "sns": ("Publish", {"TopicArn": "arn:aws:sns:us-east-1:000000000000:orders", "Message": "m"}),
    "sqs": ("SendMessage", {"QueueUrl": QUEUE, "MessageBody": "m"}),
    "ssm": ("GetParameter", {"Name": "orders"}),
    "stepfunctions": ("StartExecution", {"stateMachineArn": ARN}),
    "sts": ("AssumeRole", {"RoleArn": "orders", "RoleSessionName": "s"}),
}
NOTHING = StructureShape("Nothing", {"type": "structure", "members": {}})
KINESIS_CBOR = "kinesis-cbor"
RPC_V2 = "smithy-rpc-v2-cbor"


def protocols() -> list[tuple[str, str]]:
    """Each service with each protocol of its model, and those that SDKs speak besides."""
    found = []
    for service in CALLS:
        spoken = list(service_model(service).metadata["protocols"])
        spoken += {"kinesis": [KINESIS_CBOR], "sqs": ["query"]}.get(service, [])
        spoken += [RPC_V2] if "json" in spoken and RPC_V2 not in spoken else []
        found += [(service, protocol) for protocol in spoken]
    return found


def request_of(service: str, protocol: str, operation: str, params: dict[str, Any]) -> Inbound:
    """A request as an SDK writes it."""
    model = service_model(service)
    serializer = create_serializer(RPC_V2 if protocol == KINESIS_CBOR else protocol, include_validation=False)
    written = serializer.serialize_to_request(params, model.operation_model(operation))
    prepare_request_dict(written, endpoint_url="http://localhost")
    headers = CIMultiDict({name: str(value) for name, value in written["headers"].items()})
    scope = f"test/20260101/us-east-1/{model.signing_name}/aws4_request"
    headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, Signature=0"
    body, target = written["body"], written["url"].removeprefix("http://localhost")
    if isinstance(body, dict):
        headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
        body = urlencode(body, doseq=True).encode()
    if protocol == KINESIS_CBOR:
        del headers["smithy-protocol"]
        headers["Content-Type"], headers["X-Amz-Target"] = "application/x-amz-cbor-1.1", f"Kinesis_20131202.{operation}"
        target = "/"
    return Inbound(written["method"], target, headers, body.encode() if isinstance(body, str) else body)


def parsed(service: str, protocol: str, operation: str, reply: Reply) -> dict[str, Any]:
    """What an SDK makes of an answer."""
    shape = service_model(service).operation_model(operation).output_shape or NOTHING
    wire = {"status_code": reply.status, "headers": reply.headers, "body": reply.body}
    answer: dict[str, Any] = create_parser(RPC_V2 if protocol == KINESIS_CBOR else protocol).parse(wire, shape)
    return answer


@pytest.mark.parametrize(("service", "protocol"), protocols())
async def test_a_throttle_of_one_resource_is_an_error_in_the_protocol_of_the_caller(
    world: World, service: str, protocol: str
) -> None:
    """It hits the call on that resource, and botocore parses code, message and status."""
    operation, params = CALLS[service]
    resources = () if service == "sts" else ("orders",)
    world.arm(Throttle(service=service, operations=(operation,), resources=resources))
    reply = await world.gateway.handle(request_of(service, protocol, operation, params))
    error = throttling_error(service, operation, "orders")
    told = parsed(service, protocol, operation, reply)
    assert (told["Error"]["Code"], told["Error"]["Message"], reply.status) == (error.code, error.message, error.status)
    assert world.emulator.received == []
    (line,) = world.journal.of("aws")
    assert (line["service"], line["operation"], line["cause"]) == (service, operation, "throttle")


@pytest.mark.parametrize("protocol", [KINESIS_CBOR, RPC_V2])
async def test_records_of_a_batch_in_cbor_fail_in_their_places(world: World, protocol: str) -> None:
    """The emulator gets the others in JSON, with their data; the caller is answered in CBOR."""

    async def stored(_: web.BaseRequest) -> web.Response:
        records = json.loads(world.emulator.received[-1].body)["Records"]
        results = [{"SequenceNumber": each["PartitionKey"], "ShardId": "s"} for each in records]
        return web.Response(body=json.dumps({"FailedRecordCount": 0, "Records": results}))

    world.emulator.respond = stored
    world.arm(PartialFailure(service="kinesis", resources=("orders",)))
    records = [{"Data": bytes([number, 255]), "PartitionKey": str(number)} for number in range(6)]
    order = request_of("kinesis", protocol, "PutRecords", {"StreamName": "orders", "Records": records})
    reply = await world.gateway.handle(order)
    answer = parsed("kinesis", protocol, "PutRecords", reply)
    happened = [each.get("SequenceNumber") for each in answer["Records"]]
    assert 0 < answer["FailedRecordCount"] == happened.count(None) < 6
    sent = world.emulator.received[-1]
    assert sent.headers["X-Amz-Target"] == "Kinesis_20131202.PutRecords"
    assert [(each["PartitionKey"], each["Data"]) for each in json.loads(sent.body)["Records"]] == [
        (key, {"0": "AP8=", "1": "Af8=", "2": "Av8=", "3": "A/8=", "4": "BP8=", "5": "Bf8="}[key])
        for key in happened
        if key
    ]
    assert reply.headers["Content-Type"] == ("application/cbor" if protocol == RPC_V2 else "application/x-amz-cbor-1.1")
    assert ("smithy-protocol" in reply.headers) is (protocol == RPC_V2)
    assert world.gateway.streamed_in == {"orders": 6 - answer["FailedRecordCount"]}


@pytest.mark.parametrize(("protocol", "on_the_wire"), [(KINESIS_CBOR, 1_700_000_000_250), (RPC_V2, 1_700_000_000.25)])
async def test_blobs_and_times_survive_the_way_through_json(world: World, protocol: str, on_the_wire: float) -> None:
    """Kinesis counts milliseconds, RPC v2 counts seconds."""
    record = {"SequenceNumber": "1", "Data": "AP8=", "ApproximateArrivalTimestamp": 1_700_000_000.25}
    world.emulator.answers(json.dumps({"Records": [record], "MillisBehindLatest": 0}).encode())
    asked = {"ShardId": "s", "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": datetime(2023, 11, 14, tzinfo=UTC)}
    request = request_of("kinesis", protocol, "GetShardIterator", {"StreamName": "orders", **asked})
    if protocol == KINESIS_CBOR:
        document = decoded(request.body)
        assert document["Timestamp"] == datetime(2023, 11, 14, tzinfo=UTC).timestamp()
        body = encoded({**document, "Timestamp": asked["Timestamp"]}, milliseconds=True)
        request = Inbound("POST", "/", request.headers, body)
    await world.gateway.handle(request)
    assert json.loads(world.emulator.received[-1].body)["Timestamp"] == 1_699_920_000
    reply = await world.gateway.handle(request_of("kinesis", protocol, "GetRecords", {"ShardIterator": "i"}))
    (found,) = decoded(reply.body)["Records"]
    assert (found["Data"], found["ApproximateArrivalTimestamp"]) == (b"\x00\xff", on_the_wire)


@pytest.mark.parametrize("body", [b"\xbf", b"\xff", b"\xa1\x01", b"\xa1\x41a\x01"])
async def test_cbor_that_makes_no_sense_is_the_emulator_s_to_refuse(world: World, body: bytes) -> None:
    """It is forwarded as it came."""
    world.emulator.answers(b"no", 400)
    headers = {"X-Amz-Target": "Kinesis_20131202.PutRecords", "Content-Type": "application/x-amz-cbor-1.1"}
    reply = await world.gateway.handle(Inbound("POST", "/", CIMultiDict(headers), body))
    assert (reply.status, reply.body, world.emulator.received[0].body) == (400, b"no", body)


async def test_a_reader_that_knows_its_iterator_alone_is_hit_by_a_fault_of_its_stream(world: World) -> None:
    """As most SDKs read; a fault of another stream leaves it alone."""
    world.emulator.answers(b'{"ShardIterator": "i", "NextShardIterator": "j", "Records": []}')
    start = {"StreamName": "orders", "ShardId": "s", "ShardIteratorType": "LATEST"}
    await world.gateway.handle(request_of("kinesis", "json", "GetShardIterator", start))
    read = ("kinesis", "json", "GetRecords")
    world.arm(Throttle(service="kinesis", operations=("GetRecords",), resources=("others",)))
    assert (await world.gateway.handle(request_of(*read, {"ShardIterator": "i"}))).status == 200
    world.arm(Throttle(service="kinesis", operations=("GetRecords",), resources=("orders",)))
    reply = await world.gateway.handle(request_of(*read, {"ShardIterator": "j"}))
    assert parsed(*read, reply)["Error"]["Code"] == "ProvisionedThroughputExceededException"
    assert [line["resource"] for line in world.journal.of("aws")][-1] == "orders"


PUTS = [{"Put": {"TableName": name, "Item": {"id": {"S": "1"}}}} for name in ("orders", "stock")]


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        (
            "dynamodb",
            "BatchGetItem",
            {"RequestItems": {name: {"Keys": [{"id": {"S": "1"}}]} for name in ("a", "orders")}},
        ),
        ("dynamodb", "TransactWriteItems", {"TransactItems": PUTS}),
        (
            "events",
            "PutEvents",
            {"Entries": [{"EventBusName": f"arn:aws:events:::event-bus/{n}"} for n in ("orders", "b")]},
        ),
    ],
)
async def test_a_call_of_several_resources_is_hit_by_a_fault_of_one(
    world: World, service: str, operation: str, params: dict[str, Any]
) -> None:
    """The whole call is refused, as on AWS."""
    world.arm(Throttle(service=service, resources=("orders",)))
    assert (await world.gateway.handle(request_of(service, "json", operation, params))).status == 400


async def test_what_an_sdk_has_compressed_is_read(world: World) -> None:
    """As they do with PutMetricData above ten kilobytes."""
    world.arm(Throttle(service="cloudwatch", resources=("orders",)))
    request = request_of("cloudwatch", "json", *CALLS["cloudwatch"])
    request.headers["Content-Encoding"] = "gzip"
    packed = Inbound(request.method, request.target, request.headers, gzip.compress(request.body))
    assert (await world.gateway.handle(packed)).status == 400
    assert world.emulator.received == []


SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, Signature=0"}
PRESIGNED = {"X-Amz-Credential": "test/20260101/us-east-1/sqs/aws4_request", "X-Amz-Signature": "0"}
SEND = {"Action": "SendMessage", "MessageBody": "m & m"}


@pytest.mark.parametrize(
    ("path", "fields", "headers"),
    [
        ("/000000000000/orders", SEND, SIGNED),
        ("/000000000000/orders", {**SEND, **PRESIGNED}, {}),
        ("/000000000000/orders", SEND, {}),
        ("/queue/us-east-1/000000000000/orders", SEND, {}),
        ("/", {**SEND, "QueueUrl": QUEUE}, SIGNED),
        ("/", {**SEND, "QueueUrl": QUEUE, "Version": "2012-11-05"}, {}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_form_in_the_url_is_a_call_of_sqs(
    world: World, method: str, path: str, fields: dict[str, str], headers: dict[str, str]
) -> None:
    """Faults hit it, and effects change what it says; the emulator gets a form."""
    request = Inbound(method, f"{path}?{urlencode(fields)}", CIMultiDict({"Host": "localhost", **headers}))
    world.arm(Throttle(service="sqs", resources=("orders",)))
    reply = await world.gateway.handle(request)
    assert parsed("sqs", "query", "SendMessage", reply)["Error"]["Code"] == "RequestThrottled"
    assert world.emulator.received == []
    world.emulator.answers(b'{"Attributes": {"DelaySeconds": "0"}}')
    world.arm(LateDelivery(resources=("orders",), seconds=7))
    await world.gateway.handle(request)
    late = world.emulator.received[-1]
    assert (late.method, late.target) == ("POST", path)
    form = {name: value for name, (value,) in parse_qs(late.body.decode()).items()}
    assert form == {name: each for name, each in fields.items() if name not in PRESIGNED} | {"DelaySeconds": "7"}
    assert ("us-east-1/sqs" in late.headers.get("Authorization", "")) is bool(headers or PRESIGNED.keys() & fields)


async def test_a_batch_in_the_url_fails_in_part(world: World) -> None:
    """The emulator gets the other entries."""
    world.emulator.answers(b"<R><SendMessageBatchResult></SendMessageBatchResult></R>")
    world.arm(PartialFailure(service="sqs", share=0.01))
    names = [f"SendMessageBatchRequestEntry.{number}." for number in (1, 2)]
    fields = {"Action": "SendMessageBatch", **{f"{name}MessageBody": "m" for name in names}}
    fields |= {f"{name}Id": f"m{number}" for number, name in enumerate(names, start=1)}
    reply = await world.gateway.handle(Inbound("GET", f"/000000000000/orders?{urlencode(fields)}", CIMultiDict(SIGNED)))
    (kept,) = parse_qs(world.emulator.received[0].body.decode())["SendMessageBatchRequestEntry.1.Id"]
    (failed,) = {"m1", "m2"} - {kept}
    assert f"<Id>{failed}</Id>".encode() in reply.body


@pytest.mark.parametrize(("method", "body"), [("GET", b""), ("POST", b"{}")])
async def test_a_topic_is_published_to_by_its_url(world: World, method: str, body: bytes) -> None:
    """As SNS's query protocol allows; integrations of REST APIs send what they were sent besides."""
    world.arm(Throttle(service="sns", resources=("orders",)))
    fields = {"Action": "Publish", **CALLS["sns"][1]}
    signed = {"Authorization": SIGNED["Authorization"].replace("sqs", "sns"), "Content-Type": "application/json"}
    reply = await world.gateway.handle(Inbound(method, f"/?{urlencode(fields)}", CIMultiDict(signed), body))
    assert parsed("sns", "query", "Publish", reply)["Error"]["Code"] == "ThrottlingException"


@pytest.mark.parametrize(
    ("method", "target", "headers", "operation"),
    [
        ("GET", "/orders/a/b", {}, "GetObject"),
        ("HEAD", "/orders/a", {}, "HeadObject"),
        ("PUT", "/orders/a", {}, "PutObject"),
        ("GET", "/a", {"Host": "orders.s3.us-east-1.localhost.localstack.cloud:4566"}, "GetObject"),
        ("GET", "/orders/a?Action=b", {"Authorization": SIGNED["Authorization"].replace("sqs", "s3")}, "GetObject"),
        ("POST", "/orders", {"Content-Type": "multipart/form-data; boundary=b"}, "PostObject"),
    ],
)
async def test_what_nobody_has_signed_is_known_by_bucket_and_key(
    world: World, method: str, target: str, headers: dict[str, str], operation: str
) -> None:
    """Public objects, buckets in the host, and uploads of browsers."""
    world.arm(Throttle(service="s3", operations=(operation,), resources=("orders",)))
    reply = await world.gateway.handle(Inbound(method, target, CIMultiDict(headers)))
    assert (reply.status, reply.error) == (503, "SlowDown")
    assert world.emulator.received == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats(allow_nan=False) | st.binary() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each.filter(lambda value: value is not None)),
)


@given(VALUES)
def test_cbor_is_read_as_it_was_written(value: Any) -> None:
    """By botocore's reader, which leaves out members without a value."""
    assert decoded(encoded(value)) == value


def test_what_cbor_has_no_place_for_is_refused() -> None:
    """Sooner than written as something else."""
    with pytest.raises(TypeError, match="set"):
        encoded({"a": {1}})
    with pytest.raises(TypeError, match="64 bits"):
        encoded(2**64)
