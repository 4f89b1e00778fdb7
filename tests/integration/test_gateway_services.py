"""boto3 with only ``endpoint_url`` set works against the gateway, for every service that LocalStack offers."""

import io
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from observing import JournalReader, unique, wait_until

from testbed import deploy
from testbed.running import RunningTestbed
from testbed.scenario import REGION, ROLE

BIG = 20 * 2**20


@dataclass(frozen=True)
class Call:
    """A call of boto3, and the resource that the gateway is to see in it."""

    method: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    resource: str = ""


TABLE: Final = {
    "TableName": "trip-table",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
}
TEMPLATE: Final = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
PASS: Final = json.dumps({"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}})
TAGGED: Final = json.dumps(
    {"ResourceTypeFilters": ["AWS::AllSupported"], "TagFilters": [{"Key": "a", "Values": ["b"]}]}
)
CLUSTER: Final = {"NodeType": "dc2.large", "MasterUsername": "admin", "MasterUserPassword": "Passw0rd"}
BUCKET_ARN: Final = "arn:aws:s3:::trip-bucket"
ITEM: Final = {"id": {"S": "1"}}
TRIPS: Final[Mapping[str, tuple[Call, ...]]] = {
    "acm": (Call("request_certificate", {"DomainName": "example.org"}, "example.org"), Call("list_certificates")),
    "apigateway": (Call("create_rest_api", {"name": "trip-api"}, "trip-api"), Call("get_rest_apis")),
    "cloudformation": (
        Call("create_stack", {"StackName": "trip-stack", "TemplateBody": TEMPLATE}, "trip-stack"),
        Call("describe_stacks", {"StackName": "trip-stack"}, "trip-stack"),
    ),
    "cloudwatch": (
        Call("put_metric_alarm", {
            "AlarmName": "trip-alarm", "MetricName": "m", "Namespace": "n", "Statistic": "Sum", "Period": 60,
            "EvaluationPeriods": 1, "Threshold": 1.5, "ComparisonOperator": "GreaterThanThreshold",
        }, "trip-alarm"),
        Call("describe_alarms"),
    ),
    "config": (
        Call("put_configuration_recorder", {"ConfigurationRecorder": {"name": "default", "roleARN": ROLE}}),
        Call("describe_configuration_recorders"),
    ),
    "dynamodb": (
        Call("create_table", TABLE, "trip-table"),
        Call("put_item", {"TableName": "trip-table", "Item": ITEM}, "trip-table"),
        Call("get_item", {"TableName": "trip-table", "Key": ITEM}, "trip-table"),
    ),
    "dynamodbstreams": (Call("list_streams", {"TableName": "trip-table"}, "trip-table"),),
    "ec2": (Call("create_vpc", {"CidrBlock": "10.9.0.0/16"}), Call("describe_vpcs")),
    "es": (Call("list_domain_names"), Call("list_elasticsearch_versions")),
    "events": (
        Call("put_rule", {"Name": "trip-rule", "EventPattern": '{"source": ["trip"]}'}, "trip-rule"),
        Call("describe_rule", {"Name": "trip-rule"}, "trip-rule"),
    ),
    "firehose": (
        Call("create_delivery_stream", {
            "DeliveryStreamName": "trip-delivery",
            "S3DestinationConfiguration": {"RoleARN": ROLE, "BucketARN": BUCKET_ARN},
        }, "trip-delivery"),
        Call("list_delivery_streams"),
    ),
    "iam": (
        Call("create_role", {"RoleName": "trip-role", "AssumeRolePolicyDocument": "{}"}, "trip-role"),
        Call("get_role", {"RoleName": "trip-role"}, "trip-role"),
    ),
    "kinesis": (
        Call("create_stream", {"StreamName": "trip-stream", "ShardCount": 1}, "trip-stream"),
        Call("list_shards", {"StreamName": "trip-stream"}, "trip-stream"),
    ),
    "kms": (Call("create_key"), Call("list_keys")),
    "lambda": (Call("list_functions"), Call("list_event_source_mappings")),
    "logs": (
        Call("create_log_group", {"logGroupName": "/trip/group"}, "/trip/group"),
        Call("describe_log_groups"),
    ),
    "opensearch": (Call("list_domain_names"), Call("list_versions")),
    "redshift": (
        Call("create_cluster", {"ClusterIdentifier": "trip-cluster", **CLUSTER}, "trip-cluster"),
        Call("describe_clusters", {"ClusterIdentifier": "trip-cluster"}, "trip-cluster"),
    ),
    "resource-groups": (
        Call("create_group", {
            "Name": "trip-group", "ResourceQuery": {"Type": "TAG_FILTERS_1_0", "Query": TAGGED},
        }, "trip-group"),
        Call("list_groups"),
    ),
    "resourcegroupstaggingapi": (Call("get_resources"),),
    "route53": (
        Call("create_hosted_zone", {"Name": "example.org", "CallerReference": "trip"}),
        Call("list_hosted_zones"),
    ),
    "route53resolver": (
        Call("create_resolver_query_log_config", {
            "Name": "trip-log", "DestinationArn": BUCKET_ARN, "CreatorRequestId": "trip",
        }, "trip-log"),
        Call("list_resolver_query_log_configs"),
    ),
    "s3": (
        Call("create_bucket", {"Bucket": "trip-bucket"}, "trip-bucket"),
        Call("put_object", {"Bucket": "trip-bucket", "Key": "a/ü +&?.txt", "Body": b"trip"}, "trip-bucket"),
        Call("get_object", {"Bucket": "trip-bucket", "Key": "a/ü +&?.txt"}, "trip-bucket"),
    ),
    "s3control": (
        Call("put_public_access_block", {
            "AccountId": "000000000000", "PublicAccessBlockConfiguration": {"BlockPublicAcls": True},
        }),
        Call("get_public_access_block", {"AccountId": "000000000000"}),
    ),
    "scheduler": (
        Call("create_schedule_group", {"Name": "trip-schedules"}, "trip-schedules"),
        Call("get_schedule_group", {"Name": "trip-schedules"}, "trip-schedules"),
    ),
    "secretsmanager": (
        Call("create_secret", {"Name": "trip-secret", "SecretString": "s"}, "trip-secret"),
        Call("get_secret_value", {"SecretId": "trip-secret"}, "trip-secret"),
    ),
    "ses": (Call("verify_email_identity", {"EmailAddress": "trip@example.org"}), Call("list_identities")),
    "sns": (Call("create_topic", {"Name": "trip-topic"}, "trip-topic"), Call("list_topics")),
    "sqs": (
        Call("create_queue", {"QueueName": "trip-queue"}, "trip-queue"),
        Call("get_queue_url", {"QueueName": "trip-queue"}, "trip-queue"),
    ),
    "ssm": (
        Call("put_parameter", {"Name": "/trip", "Value": "v", "Type": "String"}, "/trip"),
        Call("get_parameter", {"Name": "/trip"}, "/trip"),
    ),
    "stepfunctions": (
        Call("create_state_machine", {"name": "trip-machine", "definition": PASS, "roleArn": ROLE}, "trip-machine"),
        Call("list_state_machines"),
    ),
    "sts": (Call("get_caller_identity"),),
    "support": (Call("create_case", {"subject": "s", "communicationBody": "b"}), Call("describe_cases")),
    "swf": (
        Call("register_domain", {"name": "trip-domain", "workflowExecutionRetentionPeriodInDays": "1"}, "trip-domain"),
        Call("list_domains", {"registrationStatus": "REGISTERED"}),
    ),
    "transcribe": (Call("list_transcription_jobs"),),
}  # fmt: skip
READ_BACK: Final[Mapping[str, str]] = {
    "acm": "example.org", "apigateway": "trip-api", "cloudformation": "trip-stack", "cloudwatch": "trip-alarm",
    "config": "default", "dynamodb": "'id'", "dynamodbstreams": "trip-table", "ec2": "10.9.0.0/16",
    "es": "Elasticsearch", "events": "trip-rule", "firehose": "trip-delivery", "iam": "trip-role",
    "kinesis": "shardId-000000000000", "kms": "KeyId", "lambda": "EventSourceMappings", "logs": "/trip/group",
    "opensearch": "OpenSearch", "redshift": "trip-cluster", "resource-groups": "trip-group",
    "resourcegroupstaggingapi": "ResourceTagMappingList", "route53": "example.org.", "route53resolver": "trip-log",
    "s3": "b'trip'", "s3control": "'BlockPublicAcls': True", "scheduler": "trip-schedules",
    "secretsmanager": "'SecretString': 's'", "ses": "trip@example.org", "sns": "trip-topic", "sqs": "trip-queue",
    "ssm": "'Value': 'v'", "stepfunctions": "trip-machine", "sts": "000000000000", "support": "'subject': 's'",
    "swf": "trip-domain", "transcribe": "TranscriptionJobSummaries",
}  # fmt: skip
"""What the last answer of each trip must contain."""


def client_of(bed: RunningTestbed, service: str) -> Any:
    """A client with nothing but the endpoint, region and credentials."""
    return boto3.Session("test", "test", region_name=REGION).client(service, endpoint_url=bed.aws.endpoint_url)


@pytest.fixture(scope="module")
def module_journal(
    record_journal: Callable[[Path], JournalReader], tmp_path_factory: pytest.TempPathFactory
) -> JournalReader:
    """Records all tests of this module."""
    return record_journal(tmp_path_factory.mktemp("services") / "journal.jsonl")


def test_no_service_of_localstack_is_left_out(bed: RunningTestbed) -> None:
    """There is a trip for each service of its health page."""
    with urllib.request.urlopen(bed.engine.localstack_url + "/_localstack/health") as answer:  # noqa: S310 - loopback
        offered = json.load(answer)["services"]
    assert {name for name, state in offered.items() if state != "disabled"} == set(TRIPS)


@pytest.fixture
def wildcard_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names below the gateway's address resolve to it, as wildcard DNS names do."""
    resolve = socket.getaddrinfo

    def resolve_below(host: str, *args: Any, **kwargs: Any) -> Any:
        return resolve(
            "127.0.0.1" if host.endswith(".127.0.0.1") or host == "sync-127.0.0.1" else host, *args, **kwargs
        )

    monkeypatch.setattr(socket, "getaddrinfo", resolve_below)


@pytest.mark.usefixtures("wildcard_names")  # boto3 puts the account before the host for s3control, whatever is set
@pytest.mark.parametrize("service", TRIPS)
def test_boto3_works_with_the_endpoint_alone(bed: RunningTestbed, module_journal: JournalReader, service: str) -> None:
    """What was created is read back, and the gateway knew service, operation and resource of each call."""
    client = client_of(bed, service)
    answer: dict[str, Any] = {}
    for call in TRIPS[service]:
        answer = getattr(client, call.method)(**call.parameters)
    if "Body" in answer:
        answer["Body"] = answer["Body"].read()
    assert READ_BACK[service] in str(answer)
    for call in TRIPS[service]:
        operation = client.meta.method_to_api_mapping[call.method]
        module_journal.wait_for("aws", service=service, operation=operation, resource=call.resource, error=None)


# The call, the code that boto3 reports, and the code on the wire.
ERRORS: Final[Mapping[str, tuple[Call, str, str]]] = {
    "dynamodb": (
        Call("describe_table", {"TableName": "nowhere"}), "ResourceNotFoundException", "ResourceNotFoundException",
    ),
    "sqs": (
        Call("get_queue_url", {"QueueName": "nowhere"}), "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist",
    ),
    "iam": (Call("get_role", {"RoleName": "nowhere"}), "NoSuchEntity", "NoSuchEntity"),
    "s3": (Call("list_objects_v2", {"Bucket": "nowhere"}), "NoSuchBucket", "NoSuchBucket"),
    "ec2": (Call("describe_vpcs", {"VpcIds": ["vpc-nowhere"]}), "InvalidVpcID.NotFound", "InvalidVpcID.NotFound"),
    "lambda": (
        Call("get_function", {"FunctionName": "nowhere"}), "ResourceNotFoundException", "ResourceNotFoundException",
    ),
    "route53": (Call("get_hosted_zone", {"Id": "nowhere"}), "NoSuchHostedZone", "NoSuchHostedZone"),
}  # fmt: skip


@pytest.mark.parametrize("service", ERRORS)
def test_errors_arrive_as_modelled_and_are_journalled_by_code(
    bed: RunningTestbed, module_journal: JournalReader, service: str
) -> None:
    """At least one service of each protocol."""
    client = client_of(bed, service)
    call, code, on_the_wire = ERRORS[service]
    with pytest.raises(ClientError) as refused:
        getattr(client, call.method)(**call.parameters)
    assert refused.value.response["Error"]["Code"] == code
    operation = client.meta.method_to_api_mapping[call.method]
    assert module_journal.wait_for("aws", service=service, operation=operation, error=on_the_wire)


def http(method: str, url: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """A plain HTTP request; status and body, of errors too."""
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - the gateway on loopback
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - the same
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def bucket(bed: RunningTestbed) -> str:
    """An empty bucket."""
    name = unique("bucket")
    client_of(bed, "s3").create_bucket(Bucket=name)
    return name


def test_large_objects_go_through_in_both_directions(bed: RunningTestbed, bucket: str) -> None:
    """20 MB in one piece, with boto3's checksum trailer."""
    s3, content = client_of(bed, "s3"), os.urandom(BIG)
    s3.put_object(Bucket=bucket, Key="large", Body=io.BytesIO(content))
    assert s3.head_object(Bucket=bucket, Key="large")["ContentLength"] == BIG
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == content
    assert s3.get_object(Bucket=bucket, Key="large", Range="bytes=7-9")["Body"].read() == content[7:10]


def test_multipart_transfers_put_the_parts_together(bed: RunningTestbed, bucket: str) -> None:
    """boto3's transfer manager uploads parts side by side and downloads ranges."""
    s3, content = client_of(bed, "s3"), os.urandom(BIG)
    s3.upload_fileobj(io.BytesIO(content), bucket, "parts")
    assert s3.head_object(Bucket=bucket, Key="parts")["ETag"].strip('"').endswith("-3")
    received = io.BytesIO()
    s3.download_fileobj(bucket, "parts", received)
    assert received.getvalue() == content


@pytest.mark.parametrize("signature", ["s3", "s3v4"])
def test_presigned_urls_put_and_get(
    bed: RunningTestbed, module_journal: JournalReader, bucket: str, signature: str
) -> None:
    """Of the old signature and of the new, used by a client that knows nothing of AWS."""
    session = boto3.Session("test", "test", region_name=REGION)
    s3 = session.client("s3", endpoint_url=bed.aws.endpoint_url, config=Config(signature_version=signature))
    place = {"Bucket": bucket, "Key": "presigned"}
    assert http("PUT", s3.generate_presigned_url("put_object", place), b"by URL")[0] == 200
    assert http("GET", s3.generate_presigned_url("get_object", place)) == (200, b"by URL")
    for operation in ("PutObject", "GetObject"):
        module_journal.wait_for("aws", service="s3", operation=operation, resource=bucket, status=200)


def test_sqs_answers_in_the_query_protocol_of_old_sdks(bed: RunningTestbed, module_journal: JournalReader) -> None:
    """XML for form posts, errors included."""
    name = unique("old")
    queue = client_of(bed, "sqs").create_queue(QueueName=name)["QueueUrl"]
    signed = f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/sqs/aws4_request, Signature=0"

    def call(**form: str) -> tuple[int, bytes]:
        body = urlencode({"Version": "2012-11-05", **form}).encode()
        return http("POST", bed.aws.endpoint_url, body, Authorization=signed)

    status, answer = call(Action="SendMessage", QueueUrl=queue, MessageBody="in a form")
    assert (status, b"<SendMessageResponse" in answer) == (200, True)
    assert b"<Body>in a form</Body>" in call(Action="ReceiveMessage", QueueUrl=queue)[1]
    module_journal.wait_for("aws", service="sqs", operation="SendMessage", resource=name, status=200)
    status, answer = call(Action="GetQueueUrl", QueueName="nowhere")
    assert (status, b"<Code>AWS.SimpleQueueService.NonExistentQueue</Code>" in answer) == (400, True)


def test_dynamodb_keeps_conditions_and_transactions(bed: RunningTestbed) -> None:
    """A failed condition changes nothing; of a transaction all or nothing is written; its stream has what was."""
    client, table = client_of(bed, "dynamodb"), unique("table")
    stream = client.create_table(**{**TABLE, "TableName": table})["TableDescription"]["LatestStreamArn"]
    put = {"TableName": table, "Item": {"id": {"S": "1"}}, "ConditionExpression": "attribute_not_exists(id)"}
    client.put_item(**put)
    with pytest.raises(client.exceptions.ConditionalCheckFailedException):
        client.put_item(**put)
    other = {"Put": {"TableName": table, "Item": {"id": {"S": "2"}}}}
    with pytest.raises(client.exceptions.TransactionCanceledException) as cancelled:
        client.transact_write_items(TransactItems=[other, {"Put": put}])
    reasons = [reason["Code"] for reason in cancelled.value.response["CancellationReasons"]]
    assert reasons == ["None", "ConditionalCheckFailed"]
    assert client.scan(TableName=table)["Items"] == [{"id": {"S": "1"}}]
    streams = client_of(bed, "dynamodbstreams")
    shard = streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"][0]["ShardId"]
    start = {"StreamArn": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    records = streams.get_records(ShardIterator=streams.get_shard_iterator(**start)["ShardIterator"])["Records"]
    assert [record["dynamodb"]["NewImage"] for record in records] == [{"id": {"S": "1"}}]


def test_kinesis_keeps_records_in_order(bed: RunningTestbed) -> None:
    """What was put with one key is read back in that order, binary data unharmed."""
    client, name = client_of(bed, "kinesis"), unique("stream")
    client.create_stream(StreamName=name, ShardCount=2)
    data = [bytes([i, 255]) for i in range(5)]
    client.put_records(StreamName=name, Records=[{"Data": each, "PartitionKey": "key"} for each in data])
    read = []
    for shard in client.list_shards(StreamName=name)["Shards"]:
        start = {"StreamName": name, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = client.get_shard_iterator(**start)["ShardIterator"]
        read += [record["Data"] for record in client.get_records(ShardIterator=iterator)["Records"]]
    assert read == data


def received_by(bed: RunningTestbed, queue: str) -> str:
    """Body of the next message of a queue."""
    answer = client_of(bed, "sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=10)
    body: str = answer["Messages"][0]["Body"]
    return body


@pytest.fixture
def queue(bed: RunningTestbed) -> str:
    """The URL of an empty queue."""
    url: str = client_of(bed, "sqs").create_queue(QueueName=unique("queue"))["QueueUrl"]
    return url


def test_topics_and_rules_deliver_to_queues(bed: RunningTestbed, queue: str) -> None:
    """SNS with raw delivery, then EventBridge."""
    arn = deploy.queue_arn(bed.aws, queue)
    sns, events = client_of(bed, "sns"), client_of(bed, "events")
    topic = sns.create_topic(Name=unique("topic"))["TopicArn"]
    raw = {"RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=raw)
    sns.publish(TopicArn=topic, Message="by SNS")
    assert received_by(bed, queue) == "by SNS"
    rule, source = unique("rule"), unique("source")
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn, "InputPath": "$.detail"}])
    events.put_events(Entries=[{"Source": source, "DetailType": "order", "Detail": '{"by": "EventBridge"}'}])
    assert json.loads(received_by(bed, queue)) == {"by": "EventBridge"}


@pytest.mark.usefixtures("wildcard_names")  # boto3 puts "sync-" before the host
def test_state_machines_call_services_and_answer_at_once(bed: RunningTestbed, queue: str) -> None:
    """An express execution that sends a message, started synchronously."""
    client = client_of(bed, "stepfunctions")
    send = {
        "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": True,
        "Parameters": {"QueueUrl": queue, "MessageBody.$": "$.text"},
    }  # fmt: skip
    definition = json.dumps({"StartAt": "Send", "States": {"Send": send}})
    machine = {"name": unique("machine"), "definition": definition, "roleArn": ROLE, "type": "EXPRESS"}
    arn = client.create_state_machine(**machine)["stateMachineArn"]
    ended = client.start_sync_execution(stateMachineArn=arn, input='{"text": "by Step Functions"}')
    assert ended["status"] == "SUCCEEDED"
    assert received_by(bed, queue) == "by Step Functions"


def test_metrics_are_summed_up(bed: RunningTestbed) -> None:
    """Two values of one minute."""
    client, namespace, now = client_of(bed, "cloudwatch"), unique("namespace"), datetime.now(UTC)
    values = [{"MetricName": "orders", "Value": value, "Timestamp": now} for value in (1.5, 2.0)]
    client.put_metric_data(Namespace=namespace, MetricData=values)
    window = {"StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=5), "Period": 3600}
    asked = {"Namespace": namespace, "MetricName": "orders", "Statistics": ["Sum", "SampleCount"], **window}
    points = client.get_metric_statistics(**asked)["Datapoints"]
    assert [(point["Sum"], point["SampleCount"]) for point in points] == [(3.5, 2.0)]


def test_log_events_are_read_back(bed: RunningTestbed) -> None:
    """In their order."""
    client, group = client_of(bed, "logs"), unique("group")
    client.create_log_group(logGroupName=group)
    client.create_log_stream(logGroupName=group, logStreamName="stream")
    now = int(time.time() * 1000)
    events = [{"timestamp": now + i, "message": f"line {i}"} for i in range(3)]
    client.put_log_events(logGroupName=group, logStreamName="stream", logEvents=events)
    read = client.get_log_events(logGroupName=group, logStreamName="stream", startFromHead=True)["events"]
    assert [event["message"] for event in read] == ["line 0", "line 1", "line 2"]


def test_a_role_can_be_assumed(bed: RunningTestbed) -> None:
    """The credentials of STS work at the gateway as others do."""
    credentials = client_of(bed, "sts").assume_role(RoleArn=ROLE, RoleSessionName="session")["Credentials"]
    keys = (credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
    session = boto3.Session(*keys, region_name=REGION)
    identity = session.client("sts", endpoint_url=bed.aws.endpoint_url).get_caller_identity()
    assert "assumed-role/testbed/session" in identity["Arn"]


def test_a_stack_is_created_updated_and_deleted(bed: RunningTestbed) -> None:
    """Its resources come and go with it."""
    client, stack, name = client_of(bed, "cloudformation"), unique("stack"), unique("parameter")

    def template(value: str) -> str:
        properties = {"Name": name, "Type": "String", "Value": value}
        return json.dumps({"Resources": {"It": {"Type": "AWS::SSM::Parameter", "Properties": properties}}})

    def finished() -> bool:
        return "PROGRESS" not in client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]

    def value() -> str:
        found: str = client_of(bed, "ssm").get_parameter(Name=name)["Parameter"]["Value"]
        return found

    client.create_stack(StackName=stack, TemplateBody=template("first"))
    wait_until(finished, "the stack")
    assert value() == "first"
    client.update_stack(StackName=stack, TemplateBody=template("second"))
    wait_until(finished, "the update")
    assert value() == "second"
    client.delete_stack(StackName=stack)

    def gone() -> bool:
        try:
            value()
        except ClientError as error:
            return error.response["Error"]["Code"] == "ParameterNotFound"
        return False

    wait_until(gone, "the parameter to be gone")
