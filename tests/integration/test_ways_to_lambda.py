"""Every way into Lambda ends in the testbed's own compute plane, and what has no way says so at once."""

import base64
import io
import json
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from observing import JournalReader, RecordingFunction, package_of, unique, wait_until

from testbed import deploy
from testbed.running import RunningTestbed
from testbed.scenario import ROLE
from testbed.trace import trace_header

Deploy = Callable[..., RecordingFunction]
BOOTSTRAP = f"""#!{sys.executable} -I
import os, urllib.request
api = f"http://{{os.environ['AWS_LAMBDA_RUNTIME_API']}}/2018-06-01/runtime/invocation"
while True:
    with urllib.request.urlopen(f"{{api}}/next") as answer:
        event, request = answer.read(), answer.headers["Lambda-Runtime-Aws-Request-Id"]
    urllib.request.urlopen(f"{{api}}/{{request}}/response", event).close()
"""


def post(url: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - the same
        return answer.status, answer.read()


def test_a_direct_invoke_answers_with_payload_version_and_log(bed: RunningTestbed, recording_function: Deploy) -> None:
    """RequestResponse waits for the function; LogType=Tail brings what it printed."""
    function = recording_function("print('a line of the log')\nreturn {'got': event}")
    answer = bed.aws.client("lambda").invoke(FunctionName=function.name, Payload=b'{"a": 1}', LogType="Tail")
    assert json.loads(answer["Payload"].read()) == {"got": {"a": 1}}
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in answer
    log = base64.b64decode(answer["LogResult"]).decode()
    assert "a line of the log" in log
    assert "START RequestId" in log


def test_an_event_invoke_is_taken_and_runs(bed: RunningTestbed, recording_function: Deploy) -> None:
    """InvocationType=Event answers 202 without a payload, and the function runs."""
    function = recording_function()
    answer = bed.aws.client("lambda").invoke(FunctionName=function.name, InvocationType="Event", Payload=b'{"a": 1}')
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    assert function.wait_for_events() == [{"a": 1}]


def test_a_dry_run_runs_nothing(bed: RunningTestbed, recording_function: Deploy) -> None:
    """InvocationType=DryRun answers 204; the next invoke is the first that the function sees."""
    function = recording_function()
    answer = bed.aws.client("lambda").invoke(FunctionName=function.name, InvocationType="DryRun", Payload=b'"dry"')
    assert answer["StatusCode"] == 204
    function.invoke("real")
    assert function.events() == ["real"]


def test_a_qualifier_chooses_version_and_alias(bed: RunningTestbed, recording_function: Deploy, tmp_path: Path) -> None:
    """A published version keeps its code, its alias follows it, and $LATEST has moved on."""
    function = recording_function("return 'old'")
    client = bed.aws.client("lambda")
    version = client.publish_version(FunctionName=function.name)["Version"]
    client.create_alias(FunctionName=function.name, Name="live", FunctionVersion=version)
    client.update_function_code(FunctionName=function.name, ZipFile=package_of(tmp_path / "new", "return 'new'"))
    assert function.invoke() == "new"
    assert function.invoke(Qualifier=version) == "old"
    assert function.invoke(Qualifier="live") == "old"
    assert [record["version"] for record in function.records()] == ["$LATEST", version, version]


def test_an_unsigned_invoke_is_taken_as_localstack_takes_it(bed: RunningTestbed, recording_function: Deploy) -> None:
    """An HTTP client without a signature works too, and does not go round between gateway and emulator."""
    function = recording_function("return 'reached'")
    url = f"{bed.aws.endpoint_url}/2015-03-31/functions/{function.name}/invocations"
    assert post(url, b"{}") == (200, b'"reached"')


@pytest.mark.rule("sns.lambda-asynchronous")
def test_sns_invokes_the_function(bed: RunningTestbed, journal: JournalReader, recording_function: Deploy) -> None:
    """A published message arrives as an SNS event, by an asynchronous invoke of the plane."""
    function = recording_function()
    client = bed.aws.client("sns")
    topic = client.create_topic(Name=unique("topic"))["TopicArn"]
    client.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function.arn)
    client.publish(TopicArn=topic, Message="from SNS")
    event = function.wait_for_events()[0]
    assert event["Records"][0]["Sns"]["Message"] == "from SNS"
    assert journal.wait_for("lambda", function=function.name, caller="emulator", status=200)
    assert journal.wait_for("aws", operation="Invoke", resource=function.name, status=202)


def test_event_bridge_invokes_the_function(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy
) -> None:
    """An event that a rule matches arrives, one that it does not match does not."""
    function = recording_function()
    client = bed.aws.client("events")
    rule, source = unique("rule"), unique("source")
    client.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))
    client.put_targets(Rule=rule, Targets=[{"Id": "function", "Arn": function.arn}])
    entries = [{"Source": each, "DetailType": "order", "Detail": '{"id": 1}'} for each in ("elsewhere", source)]
    client.put_events(Entries=entries)
    event = function.wait_for_events()[0]
    assert (event["source"], event["detail"]) == (source, {"id": 1})
    assert len(journal.wait_for("lambda", function=function.name, caller="emulator")) == 1
    assert journal.wait_for("aws", operation="Invoke", resource=function.name, status=202)


@pytest.mark.parametrize("resource", ["function", "arn:aws:states:::lambda:invoke"])
def test_step_functions_run_the_function_as_a_task(
    bed: RunningTestbed, recording_function: Deploy, resource: str
) -> None:
    """A state machine that names the function itself, and one that uses the service integration."""
    function = recording_function("return {'answered': event['question']}")
    task: dict[str, Any] = {"Type": "Task", "Resource": resource, "End": True}
    if resource == "function":
        task["Resource"] = function.arn
    else:
        task |= {"Parameters": {"FunctionName": function.name, "Payload.$": "$"}, "OutputPath": "$.Payload"}
    client = bed.aws.client("stepfunctions")
    definition = json.dumps({"StartAt": "Task", "States": {"Task": task}})
    machine = client.create_state_machine(name=unique("machine"), definition=definition, roleArn=ROLE)
    execution = client.start_execution(stateMachineArn=machine["stateMachineArn"], input='{"question": 42}')
    arn = execution["executionArn"]
    wait_until(lambda: client.describe_execution(executionArn=arn)["status"] != "RUNNING", "the execution")
    ended = client.describe_execution(executionArn=arn)
    assert (ended["status"], json.loads(ended["output"])) == ("SUCCEEDED", {"answered": 42})


def test_step_functions_see_a_function_error(bed: RunningTestbed, recording_function: Deploy) -> None:
    """An exception of the handler can be caught by its name, as on AWS."""
    function = recording_function("raise KeyError('missing')")
    catch = [{"ErrorEquals": ["KeyError"], "Next": "Caught"}]
    states = {
        "Task": {"Type": "Task", "Resource": function.arn, "Catch": catch, "End": True},
        "Caught": {"Type": "Succeed"},
    }
    client = bed.aws.client("stepfunctions")
    definition = json.dumps({"StartAt": "Task", "States": states})
    machine = client.create_state_machine(name=unique("machine"), definition=definition, roleArn=ROLE)
    arn = client.start_execution(stateMachineArn=machine["stateMachineArn"], input="{}")["executionArn"]
    wait_until(lambda: client.describe_execution(executionArn=arn)["status"] != "RUNNING", "the execution")
    assert json.loads(client.describe_execution(executionArn=arn)["output"])["Error"] == "KeyError"


def test_s3_notifications_invoke_the_function(bed: RunningTestbed, recording_function: Deploy) -> None:
    """A new object arrives as an S3 event; putting the notification makes S3 try the function with a dry run."""
    function = recording_function()
    client, bucket = bed.aws.client("s3"), unique("bucket")
    client.create_bucket(Bucket=bucket)
    notified = {"LambdaFunctionArn": function.arn, "Events": ["s3:ObjectCreated:*"]}
    client.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [notified]}
    )
    client.put_object(Bucket=bucket, Key="order", Body=b"1")
    event = function.wait_for_events()[0]
    assert event["Records"][0]["s3"]["object"]["key"] == "order"


def test_log_subscriptions_invoke_the_function(bed: RunningTestbed, recording_function: Deploy) -> None:
    """A log event arrives by a subscription filter."""
    function = recording_function()
    client, group = bed.aws.client("logs"), unique("group")
    client.create_log_group(logGroupName=group)
    client.create_log_stream(logGroupName=group, logStreamName="stream")
    client.put_subscription_filter(logGroupName=group, filterName="all", filterPattern="", destinationArn=function.arn)
    event = {"timestamp": int(time.time() * 1000), "message": "a line"}
    client.put_log_events(logGroupName=group, logStreamName="stream", logEvents=[event])
    assert "data" in function.wait_for_events()[0]["awslogs"]


def test_a_rest_api_answers_at_both_of_its_addresses(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy
) -> None:
    """The classic path and LocalStack's newer one lead to the same function."""
    function = recording_function("return {'statusCode': 201, 'body': event['body']}")
    url = deploy.rest_api(bed.aws, unique("api"), "POST", "/orders", function.arn)
    api = url.split("/restapis/")[1].split("/")[0]
    newer = f"{bed.aws.endpoint_url}/_aws/execute-api/{api}/live"
    assert post(f"{url}/orders", b"first") == (201, b"first")
    assert post(f"{newer}/orders", b"second") == (201, b"second")
    assert len(journal.wait_for("api", count=2, function=function.name, status=201)) == 2


def test_a_queue_feeds_the_function_and_hands_on_the_trace(bed: RunningTestbed, recording_function: Deploy) -> None:
    """The trace header that a message carries is the consumer's own."""
    function = recording_function()
    sqs = bed.aws.client("sqs")
    queue = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    trace = trace_header("order 1", 1.5)
    sqs.send_message(
        QueueUrl=queue,
        MessageBody="from SQS",
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": trace}},
    )
    bed.aws.client("lambda").create_event_source_mapping(
        FunctionName=function.name, EventSourceArn=deploy.queue_arn(bed.aws, queue)
    )
    assert function.wait_for_events()[0]["Records"][0]["body"] == "from SQS"
    assert trace in function.records()[0]["trace"]


def test_a_traced_order_keeps_its_trace_through_producer_queue_and_consumer(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy
) -> None:
    """The producer's boto3 puts its trace on the message by itself, and the consumer's invoke has it."""
    consumer = recording_function()
    sqs = bed.aws.client("sqs")
    queue = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    producer = recording_function(
        f"import boto3\nboto3.client('sqs').send_message(QueueUrl={queue!r}, MessageBody=event['body'])\n"
        "return {'statusCode': 202}"
    )
    bed.aws.client("lambda").create_event_source_mapping(
        FunctionName=consumer.name, EventSourceArn=deploy.queue_arn(bed.aws, queue)
    )
    url = deploy.rest_api(bed.aws, unique("api"), "POST", "/orders", producer.arn)
    trace = trace_header("order 2", 0.25)
    assert post(f"{url}/orders", b"body", **{"X-Amzn-Trace-Id": trace})[0] == 202
    consumer.wait_for_events()
    root = trace.removeprefix("Root=")
    assert root in consumer.records()[0]["trace"]
    assert journal.wait_for("aws", operation="SendMessage", trace=root, caller=f"function:{producer.name}")
    assert journal.wait_for("lambda", function=consumer.name, trace=root)


def test_a_stream_feeds_the_function(bed: RunningTestbed, recording_function: Deploy) -> None:
    """A record arrives as a Kinesis event, its data base64."""
    function = recording_function()
    kinesis, stream = bed.aws.client("kinesis"), unique("stream")
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})
    kinesis.put_record(StreamName=stream, PartitionKey="key", Data=b"from Kinesis")
    arn = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    bed.aws.client("lambda").create_event_source_mapping(
        FunctionName=function.name, EventSourceArn=arn, StartingPosition="TRIM_HORIZON"
    )
    record = function.wait_for_events()[0]["Records"][0]["kinesis"]
    assert (record["partitionKey"], base64.b64decode(record["data"])) == ("key", b"from Kinesis")


def stack_status(cloudformation: Any, stack: str) -> str:
    def status() -> str:
        found: str = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        return found

    wait_until(lambda: "PROGRESS" not in status(), f"stack {stack}", seconds=30)
    return status()


def test_a_sam_template_deploys_a_function_with_its_queue(bed: RunningTestbed, tmp_path: Path) -> None:
    """Function, queue and mapping of a SAM template work together; an update of the stack is never stale."""
    seen = tmp_path / "seen"
    cloudformation, stack = bed.aws.client("cloudformation"), unique("stack")
    name = unique("from-sam")

    def template(answer: str) -> str:
        code = (
            "import os\ndef handler(event, context):\n"
            f"    open(os.environ['SEEN'], 'a').write(str(event) + '\\n')\n    return {answer!r}\n"
        )
        properties = {
            "FunctionName": name, "Runtime": deploy.RUNTIME, "Handler": "index.handler", "InlineCode": code,
            "Timeout": 5, "Environment": {"Variables": {"SEEN": str(seen)}},
            "Events": {"Queue": {"Type": "SQS", "Properties": {"Queue": {"Fn::GetAtt": ["Queue", "Arn"]}}}},
        }  # fmt: skip
        function = {"Type": "AWS::Serverless::Function", "Properties": properties}
        resources = {"Queue": {"Type": "AWS::SQS::Queue"}, "Function": function}
        outputs = {"Queue": {"Value": {"Ref": "Queue"}}}
        transform = "AWS::Serverless-2016-10-31"
        return json.dumps({"Transform": transform, "Resources": resources, "Outputs": outputs})

    capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    cloudformation.create_stack(StackName=stack, TemplateBody=template("first"), Capabilities=capabilities)
    assert stack_status(cloudformation, stack) == "CREATE_COMPLETE"
    queue = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"][0]["OutputValue"]
    bed.aws.client("sqs").send_message(QueueUrl=queue, MessageBody="from the queue of the stack")
    wait_until(lambda: seen.exists() and "from the queue of the stack" in seen.read_text(), "the message")
    client = bed.aws.client("lambda")
    assert client.invoke(FunctionName=name)["Payload"].read() == b'"first"'
    cloudformation.update_stack(StackName=stack, TemplateBody=template("second"), Capabilities=capabilities)
    assert stack_status(cloudformation, stack) == "UPDATE_COMPLETE"
    assert client.invoke(FunctionName=name)["Payload"].read() == b'"second"'
    cloudformation.delete_stack(StackName=stack)
    wait_until(lambda: not client.list_event_source_mappings(FunctionName=name)["EventSourceMappings"], "the mapping")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        wait_until(lambda: client.invoke(FunctionName=name) is None, "the function to be gone")


def test_new_code_and_configuration_take_effect_on_the_next_invoke(
    bed: RunningTestbed, recording_function: Deploy, tmp_path: Path
) -> None:
    """Nothing of a function is kept beyond an update."""
    function = recording_function("import os\nreturn ['one', os.environ.get('MODE')]")
    client = bed.aws.client("lambda")
    assert function.invoke() == ["one", None]
    body = "import os\nreturn ['two', os.environ.get('MODE'), context.memory_limit_in_mb]"
    client.update_function_code(FunctionName=function.name, ZipFile=package_of(tmp_path / "two", body))
    assert function.invoke() == ["two", None, "512"]
    variables = {"SEEN": str(function.seen), "MODE": "changed"}
    client.update_function_configuration(
        FunctionName=function.name, MemorySize=256, Environment={"Variables": variables}
    )
    assert function.invoke() == ["two", "changed", "256"]


def test_reserved_concurrency_is_honoured_at_once(bed: RunningTestbed, recording_function: Deploy) -> None:
    """Zero throttles the very next invoke with Lambda's reason; without it the function runs again."""
    function = recording_function()
    client = bed.aws.client("lambda")
    function.invoke()
    client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    with pytest.raises(client.exceptions.TooManyRequestsException) as refused:
        function.invoke()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert refused.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    client.delete_function_concurrency(FunctionName=function.name)
    assert function.invoke() == "done"


def test_a_deleted_function_is_not_found(bed: RunningTestbed, recording_function: Deploy) -> None:
    """No environment of it serves on."""
    function = recording_function()
    client = bed.aws.client("lambda")
    function.invoke()
    client.delete_function(FunctionName=function.name)
    with pytest.raises(client.exceptions.ResourceNotFoundException) as refused:
        function.invoke()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def refusals(bed: RunningTestbed, function: str) -> dict[str, Callable[[], Any]]:
    """What the testbed does not have, and a call that asks for it."""
    client = bed.aws.client("lambda")
    name = {"FunctionName": function}
    code = {"Role": ROLE, "Handler": "Orders::handle"}
    image = {"PackageType": "Image", "Code": {"ImageUri": "registry/image:1"}, "Role": ROLE}
    return {
        "java21": lambda: client.create_function(**name, Runtime="java21", Code={"ZipFile": b"code"}, **code),
        "container image": lambda: client.create_function(**name, **image),
        "nodejs22.x": lambda: client.update_function_configuration(**name, Runtime="nodejs22.x"),
        "not kafka": lambda: client.create_event_source_mapping(
            **name, EventSourceArn="arn:aws:kafka:us-east-1:000000000000:cluster/c/1", Topics=["t"]
        ),
        "self-managed source": lambda: client.create_event_source_mapping(
            **name, SelfManagedEventSource={"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["broker:9092"]}}, Topics=["t"]
        ),
        "function URL": lambda: client.create_function_url_config(
            **name, AuthType="NONE", InvokeMode="RESPONSE_STREAM"
        ),
        "response streaming": lambda: client.invoke_with_response_stream(**name),
    }


@pytest.mark.parametrize(
    "what",
    [
        "java21", "container image", "nodejs22.x", "not kafka", "self-managed source", "function URL",
        "response streaming",
    ],
)  # fmt: skip
def test_what_the_testbed_does_not_have_is_refused_by_name(
    bed: RunningTestbed, recording_function: Deploy, what: str
) -> None:
    """The error says which function it is and what it asks for, when it is deployed and not when it should run."""
    function = recording_function().name
    with pytest.raises(ClientError) as refused:
        refusals(bed, function)[what]()
    error = refused.value.response["Error"]
    assert error["Code"] == "InvalidParameterValueException"
    assert function in error["Message"]
    assert what in error["Message"]


@pytest.mark.one_engine
@pytest.mark.rule("limits.configuration")
@pytest.mark.parametrize(
    ("setting", "code", "says"),
    [
        ({"Timeout": 901}, "ValidationException", "Value '901' at 'timeout'"),
        ({"MemorySize": 10241}, "ValidationException", "Value '10241' at 'memorySize'"),
        ({"MemorySize": 10241, "Timeout": 1000}, "ValidationException", "2 validation errors detected"),
        ({"EphemeralStorage": {"Size": 10241}}, "ValidationException", "'ephemeralStorage.size'"),
        ({"Environment": {"Variables": {"A": "x" * 4096}}}, "InvalidParameterValueException", "exceeded the 4KB limit"),
    ],
)
def test_a_setting_beyond_a_quota_is_refused(
    bed: RunningTestbed, recording_function: Deploy, setting: dict[str, Any], code: str, says: str
) -> None:
    """With Lambda's code and text; the function keeps what it had, and takes the largest values that there are."""
    function, client = recording_function().name, bed.aws.client("lambda")
    with pytest.raises(ClientError, match=says) as refused:
        client.update_function_configuration(FunctionName=function, **setting)
    assert refused.value.response["Error"]["Code"] == code
    most = client.update_function_configuration(FunctionName=function, Timeout=900, MemorySize=10240)
    assert (most["Timeout"], most["MemorySize"]) == (900, 10240)


@pytest.mark.one_engine
@pytest.mark.rule("runtime.custom")
def test_a_package_with_its_own_runtime_runs(bed: RunningTestbed) -> None:
    """Deployed by boto3 as any other: a shell script that answers with what it was sent."""
    client, name = bed.aws.client("lambda"), unique("bootstrap")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o100755 << 16
        files.writestr(entry, BOOTSTRAP)
    code = {"ZipFile": archive.getvalue()}
    client.create_function(FunctionName=name, Runtime="provided.al2023", Role=ROLE, Handler="any", Code=code)
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    for event in ({"id": 1}, {"id": 2}):
        answer = client.invoke(FunctionName=name, Payload=json.dumps(event))
        assert json.loads(answer["Payload"].read()) == event, answer


@pytest.mark.one_engine
@pytest.mark.rule("layers.order")
def test_a_layer_is_on_the_path_of_its_function(bed: RunningTestbed, recording_function: Deploy) -> None:
    """Published and attached by boto3; from the next invoke on, its module can be imported."""
    function, client = recording_function("import tariff\nreturn tariff.NAME"), bed.aws.client("lambda")
    assert function.invoke()["errorMessage"] == "No module named 'tariff'"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("python/tariff.py", "NAME = 'winter'")
    layer = client.publish_layer_version(LayerName=unique("tariff"), Content={"ZipFile": archive.getvalue()})
    client.update_function_configuration(FunctionName=function.name, Layers=[layer["LayerVersionArn"]])
    client.get_waiter("function_updated_v2").wait(FunctionName=function.name)
    assert function.invoke() == "winter"


def test_a_stack_with_an_unsupported_runtime_fails_and_says_why(bed: RunningTestbed) -> None:
    """CloudFormation's own CreateFunction is refused too; the reason is among the events of the stack."""
    s3, bucket = bed.aws.client("s3"), unique("bucket")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("Orders.class", b"")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="code.zip", Body=archive.getvalue())
    cloudformation, stack, name = bed.aws.client("cloudformation"), unique("stack"), unique("from-java")
    code = {"S3Bucket": bucket, "S3Key": "code.zip"}
    properties = {"FunctionName": name, "Runtime": "java21", "Handler": "Orders::handle", "Role": ROLE, "Code": code}
    function = {"Type": "AWS::Lambda::Function", "Properties": properties}
    cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps({"Resources": {"Function": function}}))
    assert "FAILED" in stack_status(cloudformation, stack) or "ROLLBACK" in stack_status(cloudformation, stack)
    events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    reasons = " ".join(event.get("ResourceStatusReason") or "" for event in events)
    assert f"Function {name} has the runtime java21" in reasons
