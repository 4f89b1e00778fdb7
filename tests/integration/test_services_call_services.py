"""What services of the emulator call of each other passes the gateway: the journal, faults and limits see it."""

import json
import time
import urllib.request
from dataclasses import replace
from typing import Any

import pytest
from beds import RunOnLoop
from botocore.exceptions import ClientError
from observing import JournalReader, unique

from testbed.chaos.catalogue import to_json
from testbed.chaos.faults.partial_failure import PartialFailure
from testbed.chaos.schedule import named
from testbed.gateway.cbor import decoded, encoded
from testbed.running import RunningTestbed
from testbed.scenario import REGION, ROLE
from testbed.semantics.kinesis_shard import KinesisProfile
from testbed.semantics.profiles import aws

pytestmark = pytest.mark.one_engine
THROTTLED = "ProvisionedThroughputExceededException"


def arn(service: str, name: str) -> str:
    """Of a resource of the emulator's account."""
    return f"arn:aws:{service}:{REGION}:000000000000:{name}"


@pytest.fixture
def bucket(bed: RunningTestbed) -> str:
    """An empty bucket."""
    name = unique("bucket")
    bed.aws.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def stream(bed: RunningTestbed) -> str:
    """A stream of one shard."""
    name, kinesis = unique("stream"), bed.aws.client("kinesis")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name)
    return name


@pytest.fixture
def topic(bed: RunningTestbed) -> str:
    """The name of a topic."""
    name = unique("topic")
    bed.aws.client("sns").create_topic(Name=name)
    return name


@pytest.fixture
def delivery(bed: RunningTestbed, bucket: str) -> str:
    """A Firehose that delivers into a bucket of its name at once."""
    to = {"RoleARN": ROLE, "BucketARN": f"arn:aws:s3:::{bucket}"}
    bed.aws.client("firehose").create_delivery_stream(DeliveryStreamName=bucket, S3DestinationConfiguration=to)
    return bucket


def called(journal: JournalReader, operation: str, resource: str) -> dict[str, Any]:
    """The line of a call by the emulator."""
    return journal.wait_for("aws", caller="emulator", operation=operation, resource=resource)[0]


def objects(bed: RunningTestbed, bucket: str) -> list[bytes]:
    """What is in a bucket."""
    s3 = bed.aws.client("s3")
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]
    return [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]


def test_firehose_delivers_through_the_gateway(bed: RunningTestbed, journal: JournalReader, delivery: str) -> None:
    """What was put becomes an object."""
    bed.aws.client("firehose").put_record(DeliveryStreamName=delivery, Record={"Data": b"order"})
    assert called(journal, "PutObject", delivery)["status"] == 200
    assert objects(bed, delivery) == [b"order"]


def test_a_topic_feeds_a_firehose(bed: RunningTestbed, journal: JournalReader, topic: str, delivery: str) -> None:
    """The message is put by SNS, which is one hop, and delivered by Firehose, which is another."""
    sns, where = bed.aws.client("sns"), arn("firehose", f"deliverystream/{delivery}")
    attributes = {"SubscriptionRoleArn": ROLE, "RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=arn("sns", topic), Protocol="firehose", Endpoint=where, Attributes=attributes)
    sns.publish(TopicArn=arn("sns", topic), Message="order")
    assert called(journal, "PutRecord", delivery)["service"] == "firehose"
    called(journal, "PutObject", delivery)


@pytest.mark.parametrize("service", ["kinesis", "firehose"])
def test_log_subscriptions_feed_streams(
    bed: RunningTestbed, journal: JournalReader, stream: str, delivery: str, service: str
) -> None:
    """As they do functions."""
    logs, group = bed.aws.client("logs"), unique("group")
    name, path = (stream, f"stream/{stream}") if service == "kinesis" else (delivery, f"deliverystream/{delivery}")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    where = {"destinationArn": arn(service, path), "roleArn": ROLE}
    logs.put_subscription_filter(logGroupName=group, filterName="all", filterPattern="", **where)
    line = {"timestamp": int(time.time() * 1000), "message": "a line"}
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[line])
    assert called(journal, "PutRecord", name)["service"] == service


def test_a_bucket_tells_topics_and_event_buses(
    bed: RunningTestbed, journal: JournalReader, bucket: str, topic: str
) -> None:
    """Of a new object, to both at once."""
    s3 = bed.aws.client("s3")
    told = {
        "TopicConfigurations": [{"TopicArn": arn("sns", topic), "Events": ["s3:ObjectCreated:*"]}],
        "EventBridgeConfiguration": {},
    }
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=told)
    s3.put_object(Bucket=bucket, Key="order", Body=b"1")
    called(journal, "Publish", topic)
    assert journal.wait_for("aws", caller="emulator", service="events", operation="PutEvents")


def test_an_alarm_is_published(bed: RunningTestbed, journal: JournalReader, topic: str) -> None:
    """CloudWatch calls SNS without saying who it is."""
    cloudwatch, name = bed.aws.client("cloudwatch"), unique("alarm")
    cloudwatch.put_metric_alarm(
        AlarmName=name, AlarmActions=[arn("sns", topic)], MetricName="m", Namespace="n", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    assert called(journal, "Publish", topic)["status"] == 200


def test_a_table_feeds_no_stream(bed: RunningTestbed, stream: str) -> None:
    """Kinesis as a destination of its changes is not there, and says so."""
    dynamodb, name = bed.aws.client("dynamodb"), unique("table")
    dynamodb.create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )  # fmt: skip
    with pytest.raises(ClientError, match="has not been implemented"):
        dynamodb.enable_kinesis_streaming_destination(TableName=name, StreamArn=arn("kinesis", f"stream/{stream}"))


INTEGRATIONS: dict[str, tuple[str, str, str]] = {
    "kinesis": (
        "kinesis:action/PutRecord", "PutRecord",
        '{{"StreamName": "{name}", "Data": "$util.base64Encode($input.body)", "PartitionKey": "k"}}',
    ),
    "sns": ("sns:action/Publish", "Publish", "Action=Publish&TopicArn={arn}&Message=$util.urlEncode($input.body)"),
    "dynamodb": ("dynamodb:action/PutItem", "PutItem", '{{"TableName": "{name}", "Item": {{"id": {{"S": "order"}}}}}}'),
}  # fmt: skip
"""Of each service the URI and the operation, and the request template with the name of what it is about."""


@pytest.mark.parametrize("service", INTEGRATIONS)
def test_rest_apis_call_services(bed: RunningTestbed, journal: JournalReader, service: str) -> None:
    """Without a function: the name of what is called is unknown to the emulator, which is a 400 of the integration."""
    uri, operation, template = INTEGRATIONS[service]
    client, name = bed.aws.client("apigateway"), unique("nowhere")
    api = client.create_rest_api(name=unique("api"))["id"]
    root = client.get_resources(restApiId=api)["items"][0]["id"]
    method = {"restApiId": api, "resourceId": root, "httpMethod": "POST"}
    client.put_method(**method, authorizationType="NONE")
    client.put_method_response(**method, statusCode="200")
    content_type = "'application/x-www-form-urlencoded'" if service == "sns" else "'application/x-amz-json-1.1'"
    client.put_integration(
        **method, type="AWS", integrationHttpMethod="POST", uri=f"arn:aws:apigateway:{REGION}:{uri}", credentials=ROLE,
        requestParameters={"integration.request.header.Content-Type": content_type},
        requestTemplates={"application/json": template.format(name=name, arn=arn("sns", name))},
    )  # fmt: skip
    client.put_integration_response(**method, statusCode="200")
    client.create_deployment(restApiId=api, stageName="live")
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(bed.aws.rest_api_url(api, "live"), b'"order"', headers)  # noqa: S310 - our own
    with urllib.request.urlopen(request, timeout=20):  # noqa: S310 - the same
        line = called(journal, operation, name)
    assert (line["service"], line["error"] is not None) == (service, True)


def test_a_state_machine_publishes_starts_others_and_puts_events(
    bed: RunningTestbed, journal: JournalReader, topic: str
) -> None:
    """The optimised integrations beside those of queues and tables."""
    client, other = bed.aws.client("stepfunctions"), unique("other")
    ends = {"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}
    started = client.create_state_machine(name=other, definition=json.dumps(ends), roleArn=ROLE)["stateMachineArn"]
    tasks: list[tuple[str, dict[str, Any]]] = [
        ("sns:publish", {"TopicArn": arn("sns", topic), "Message": "m"}),
        ("states:startExecution", {"StateMachineArn": started, "Input": {}}),
        ("events:putEvents", {"Entries": [{"Source": topic, "DetailType": "d", "Detail": {}}]}),
    ]
    states = {
        str(number): {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": parameters}
        | ({"Next": str(number + 1)} if number + 1 < len(tasks) else {"End": True})
        for number, (resource, parameters) in enumerate(tasks)
    }
    definition = json.dumps({"StartAt": "0", "States": states})
    machine = client.create_state_machine(name=unique("machine"), definition=definition, roleArn=ROLE)
    client.start_execution(stateMachineArn=machine["stateMachineArn"], input="{}")
    called(journal, "Publish", topic)
    called(journal, "StartExecution", other)
    journal.wait_for("aws", caller="emulator", operation="PutEvents", status=200)


@pytest.mark.rule("kinesis.calls-within-the-emulator")
def test_limits_hold_for_state_machines_and_for_cbor(
    bed: RunningTestbed, run_on_loop: RunOnLoop[Any], journal: JournalReader, stream: str
) -> None:
    """The one record that the shard takes is a state machine's; another, as the SDK for Java writes it, is refused."""
    profile = replace(aws, kinesis=KinesisProfile(write_records=0.001, burst_seconds=1000))
    run_on_loop(bed.plane.call("profile", profile=profile.to_json()))
    try:
        put = {"StreamName": stream, "Data": "order", "PartitionKey": "k"}
        task = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:kinesis:putRecord",
            "Parameters": put,
            "End": True,
        }
        definition = json.dumps({"StartAt": "Put", "States": {"Put": task}})
        client = bed.aws.client("stepfunctions")
        machine = client.create_state_machine(name=unique("machine"), definition=definition, roleArn=ROLE)
        client.start_execution(stateMachineArn=machine["stateMachineArn"], input="{}")
        assert called(journal, "PutRecord", stream)["status"] == 200
        status, answer = in_cbor(bed, "PutRecord", {**put, "Data": b"order"})
        assert (status, answer["__type"]) == (400, THROTTLED)
    finally:
        run_on_loop(bed.plane.call("profile", profile=aws.to_json()))


def test_records_in_cbor_fail_in_part(
    bed: RunningTestbed, run_on_loop: RunOnLoop[Any], stream: str, tmp_path: Any
) -> None:
    """The others are in the stream, and are read in CBOR too."""
    faults = to_json(named([PartialFailure(service="kinesis", resources=(stream,))]))
    order = {"architecture": "test", "seed": 1, "faults": faults, "journal": str(tmp_path / "journal.jsonl")}
    run_on_loop(bed.plane.call("begin", **order, zero=time.monotonic()))
    entries = [{"Data": bytes([number, 255]), "PartitionKey": "k"} for number in range(6)]
    status, answer = in_cbor(bed, "PutRecords", {"StreamName": stream, "Records": entries})
    run_on_loop(bed.plane.call("end"))
    happened = [entry["Data"] for entry, result in zip(entries, answer["Records"], strict=True) if "ShardId" in result]
    assert (status, answer["FailedRecordCount"]) == (200, 6 - len(happened))
    assert 0 < len(happened) < 6
    start = {"ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    iterator = in_cbor(bed, "GetShardIterator", {"StreamName": stream, **start})[1]["ShardIterator"]
    read = in_cbor(bed, "GetRecords", {"ShardIterator": iterator})[1]["Records"]
    assert [each["Data"] for each in read] == happened
    assert all(abs(each["ApproximateArrivalTimestamp"] - time.time() * 1000) < 60_000 for each in read)


def in_cbor(bed: RunningTestbed, operation: str, params: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """A call of Kinesis as the SDK for Java writes it; status and answer."""
    headers = {
        "Content-Type": "application/x-amz-cbor-1.1",
        "X-Amz-Target": f"Kinesis_20131202.{operation}",
        "Authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/kinesis/aws4_request, Signature=0",
    }
    request = urllib.request.Request(bed.aws.endpoint_url, encoded(params), headers)  # noqa: S310 - our own
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - the same
            return answer.status, decoded(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, decoded(error.read())
