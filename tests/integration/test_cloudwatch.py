"""CloudWatch, read with boto3, says what the journal says."""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from beds import RunOnLoop
from botocore.exceptions import ClientError
from observing import JournalReader, RecordingFunction, unique, wait_until

from testbed import deploy
from testbed.running import RunningTestbed

Deploy = Callable[..., RecordingFunction]
Statistics = Callable[..., dict[str, float]]
_ASKED = ["Sum", "SampleCount", "Average", "Minimum", "Maximum"]
_WHAT = """
print("printed")
if event.get("fail"):
    raise ValueError("wanted")
return {"statusCode": 200, "body": "ok"}
"""


@pytest.fixture
def flush(bed: RunningTestbed, run_on_loop: RunOnLoop[Any], journal: JournalReader) -> Callable[[], None]:
    """Returns once CloudWatch has all that has happened, and the journal's file too."""

    def flush() -> None:
        assert run_on_loop(bed.plane.call("flush")) == {"published": True}
        lines = len(journal.lines("sample"))
        journal.wait_for("sample", count=lines + 1)

    return flush


@pytest.fixture
def statistics(bed: RunningTestbed) -> Iterator[Statistics]:
    """All statistics of a metric over the time of the test; empty where there is none."""
    client, start = bed.aws.client("cloudwatch"), datetime.now(UTC)

    def read(namespace: str, name: str, **dimensions: str) -> dict[str, float]:
        points = client.get_metric_statistics(
            Namespace=namespace, MetricName=name, StartTime=start, EndTime=start + timedelta(minutes=5), Period=3600,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()], Statistics=_ASKED,
        )["Datapoints"]  # fmt: skip
        assert len(points) <= 1
        return {each: points[0][each] for each in _ASKED} if points else {}

    yield read
    client.close()


def counted(values: list[float]) -> dict[str, float]:
    """The statistics of these values."""
    total = sum(values)
    return {
        "Sum": pytest.approx(total),
        "SampleCount": len(values),
        "Average": pytest.approx(total / len(values)),
        "Minimum": min(values),
        "Maximum": max(values),
    }


@pytest.mark.rule("metrics.invocations", "metrics.concurrency", "metrics.lambda-dimensions", "metrics.timestamp")
def test_metrics_of_invokes_are_those_of_the_journal(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy, flush: Callable[[], None],
    statistics: Statistics,
) -> None:  # fmt: skip
    """Successes, errors, throttles by reserved concurrency, and an alias: each number that CloudWatch has."""
    function = recording_function(_WHAT)
    client = bed.aws.client("lambda")
    version = client.publish_version(FunctionName=function.name)["Version"]
    client.create_alias(FunctionName=function.name, Name="live", FunctionVersion=version)
    for fail in [False, True, False, False, True]:
        function.invoke({"fail": fail})
    function.invoke({}, Qualifier="live")
    client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    invocations = f"{bed.aws.endpoint_url}/2015-03-31/functions/{function.name}/invocations"
    assert [post(invocations, "") for _ in range(3)] == [429] * 3
    flush()
    hops = journal.lines("lambda", function=function.name)
    ran = [hop for hop in hops if hop["status"] == 200]
    assert len(hops) == 9
    assert len(ran) == 6

    def of_function(name: str) -> dict[str, float]:
        return statistics("AWS/Lambda", name, FunctionName=function.name)

    assert of_function("Invocations") == counted([1] * len(ran))
    assert of_function("Errors") == counted([int(hop["cause"] is not None) for hop in ran])
    assert of_function("Throttles") == counted([int(hop["status"] == 429) for hop in hops])
    assert of_function("Duration") == counted([round(hop["duration"], 2) for hop in ran])
    assert of_function("ConcurrentExecutions") == counted([hop["running"]["function"] for hop in ran])
    live = {"FunctionName": function.name, "Resource": f"{function.name}:live"}
    assert statistics("AWS/Lambda", "Invocations", **live) == counted([1])
    assert statistics("AWS/Lambda", "Invocations", **live, ExecutedVersion=version) == counted([1])
    unqualified = {"FunctionName": function.name, "Resource": function.name}
    assert statistics("AWS/Lambda", "Invocations", **unqualified)["Sum"] == 5
    assert statistics("AWS/Lambda", "Invocations")["Sum"] >= len(ran)


def test_the_page_reads_metrics_as_it_says(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy, flush: Callable[[], None]
) -> None:
    """Its example finds what the journal has: of sums and of percentiles; and an alarm sees the metrics."""
    page = (Path(__file__).parents[2] / "docs" / "observing.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(example, "observing.md", "exec"), names)  # noqa: S102 - the page is our own
    function, client = recording_function(_WHAT), bed.aws.client("cloudwatch")
    for fail in (False, True, False):
        function.invoke({"fail": fail})
    flush()
    durations = sorted(round(hop["duration"], 2) for hop in journal.lines("lambda", function=function.name))
    assert names["total"](client, "Invocations", function.name) == len(durations) == 3
    assert names["total"](client, "Duration", function.name) == pytest.approx(sum(durations))
    medians = names["median"](client, "Duration", function.name)
    assert all(durations[0] <= median <= durations[-1] for median in medians)
    assert medians == [durations[1]] or len(medians) > 1  # a new minute may have begun
    client.put_metric_alarm(
        AlarmName=function.name, Namespace="AWS/Lambda", MetricName="Errors", Statistic="Sum", Period=60, Threshold=1,
        Dimensions=[{"Name": "FunctionName", "Value": function.name}], EvaluationPeriods=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )  # fmt: skip

    def state() -> str:
        (alarm,) = client.describe_alarms(AlarmNames=[function.name])["MetricAlarms"]
        return str(alarm["StateValue"])

    wait_until(lambda: state() == "ALARM", "the alarm")
    client.delete_alarms(AlarmNames=[function.name])


@pytest.mark.rule("metrics.sqs", "metrics.mapping-counts", "metrics.mapping-config")
def test_metrics_of_a_queue_and_its_mapping_are_those_of_the_journal(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy, flush: Callable[[], None],
    statistics: Statistics,
) -> None:  # fmt: skip
    """Messages sent, received and deleted; what stays in a queue shows too."""
    function = recording_function()
    client = bed.aws.client("sqs")
    queue, unread = unique("orders"), unique("unread")
    url = client.create_queue(QueueName=queue)["QueueUrl"]
    mapping = bed.aws.client("lambda").create_event_source_mapping(
        EventSourceArn=f"arn:aws:sqs:us-east-1:000000000000:{queue}", FunctionName=function.name, BatchSize=5,
        MetricsConfig={"Metrics": ["EventCount"]},
    )["UUID"]  # fmt: skip
    for number in range(12):
        client.send_message(QueueUrl=url, MessageBody="x" * (number + 1))
    left = client.create_queue(QueueName=unread)["QueueUrl"]
    client.send_message(QueueUrl=left, MessageBody="stays")
    deletions = {"operation": "DeleteMessageBatch", "resource": queue}
    wait_until(lambda: sum(hop["records"] for hop in journal.lines("aws", **deletions)) == 12, "12 deletions")
    flush()

    def of_queue(name: str) -> dict[str, float]:
        return statistics("AWS/SQS", name, QueueName=queue)

    received = [hop["records"] for hop in journal.lines("aws", operation="ReceiveMessage", resource=queue)]
    assert of_queue("NumberOfMessagesSent") == counted([1] * 12)
    assert of_queue("SentMessageSize") == counted([float(size + 1) for size in range(12)])
    assert of_queue("NumberOfMessagesReceived")["Sum"] == sum(received) == 12
    assert of_queue("NumberOfMessagesDeleted")["Sum"] == 12
    assert of_queue("ApproximateNumberOfMessagesVisible")["Minimum"] == 0
    assert statistics("AWS/SQS", "ApproximateNumberOfMessagesVisible", QueueName=unread)["Maximum"] == 1
    assert statistics("AWS/SQS", "ApproximateAgeOfOldestMessage", QueueName=unread)["Maximum"] > 0
    batches = journal.lines("mapping", event="batch", mapping=mapping)
    for name, expected in {
        "PolledEventCount": sum(received),
        "InvokedEventCount": sum(hop["records"] for hop in batches),
        "DeletedEventCount": 12,
    }.items():
        assert statistics("AWS/Lambda", name, EventSourceMappingUUID=mapping)["Sum"] == expected, name
    bed.aws.client("lambda").delete_event_source_mapping(UUID=mapping)


@pytest.mark.one_engine
@pytest.mark.rule("metrics.rest-api")
def test_metrics_of_a_rest_api_are_those_of_the_journal(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy, flush: Callable[[], None],
    statistics: Statistics,
) -> None:  # fmt: skip
    """Counts and latencies, by API and by stage; an error of the function is a 5XX."""
    function = recording_function('return 1 / 0 if "fail" in event["body"] else {"statusCode": 404, "body": ""}')
    api = unique("shop")
    url = deploy.rest_api(bed.aws, api, "POST", "/orders", function.arn) + "/orders"
    statuses = [post(url, body) for body in ("a", "fail", "b")]
    assert statuses == [404, 502, 404]
    flush()
    hops = journal.lines("api", api=api)
    assert len(hops) == 3
    for dimensions in ({"ApiName": api}, {"ApiName": api, "Stage": hops[0]["stage"]}):
        assert statistics("AWS/ApiGateway", "Count", **dimensions) == counted([1, 1, 1])
        assert statistics("AWS/ApiGateway", "4XXError", **dimensions) == counted([1, 0, 1])
        assert statistics("AWS/ApiGateway", "5XXError", **dimensions) == counted([0, 1, 0])
        latencies = [round(hop["ms"]) for hop in hops]
        assert statistics("AWS/ApiGateway", "Latency", **dimensions) == counted(latencies)
        waited = [round(hop["integration_ms"]) for hop in hops]
        assert statistics("AWS/ApiGateway", "IntegrationLatency", **dimensions) == counted(waited)


@pytest.mark.one_engine
@pytest.mark.rule("metrics.kinesis")
def test_metrics_of_a_stream_are_those_of_the_journal(
    bed: RunningTestbed, journal: JournalReader, flush: Callable[[], None], statistics: Statistics
) -> None:
    """Records and bytes, by both ways to put them."""
    client = bed.aws.client("kinesis")
    stream = unique("stream")
    client.create_stream(StreamName=stream, ShardCount=1)
    client.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})
    client.put_record(StreamName=stream, Data=b"12345", PartitionKey="key")
    client.put_records(StreamName=stream, Records=[{"Data": data, "PartitionKey": "k"} for data in (b"1", b"22")])
    flush()
    puts = [hop for hop in journal.lines("aws", service="kinesis", resource=stream) if "records" in hop]
    assert [(hop["records"], hop["bytes"]) for hop in puts] == [(1, 8), (2, 5)]
    assert statistics("AWS/Kinesis", "IncomingRecords", StreamName=stream) == counted([1, 1, 1])
    assert statistics("AWS/Kinesis", "IncomingBytes", StreamName=stream) == counted([8, 5])
    assert statistics("AWS/Kinesis", "PutRecords.SuccessfulRecords", StreamName=stream) == counted([2])
    client.delete_stream(StreamName=stream)


@pytest.mark.rule("logs.events", "logs.streams")
def test_logs_of_a_function_are_in_cloudwatch_too(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy, flush: Callable[[], None]
) -> None:
    """One stream for its environment, a line an event, START, END and REPORT included; a deleted group comes back."""
    function = recording_function(_WHAT)
    client, group = bed.aws.client("logs"), f"/aws/lambda/{function.name}"
    before = int(time.time() * 1000)
    function.invoke({})
    flush()
    (request,) = (hop["request_id"] for hop in journal.lines("lambda", function=function.name))
    events = client.filter_log_events(logGroupName=group)["events"]
    lines = [event["message"] for event in events]
    assert lines[:3] == [
        f"START RequestId: {request} Version: $LATEST\n",
        "printed\n",
        f"END RequestId: {request}\n",
    ]
    assert lines[3].startswith(f"REPORT RequestId: {request}\tDuration: ")
    assert all(before - 1 <= event["timestamp"] <= time.time() * 1000 + 1 for event in events)
    (stream,) = (each["logStreamName"] for each in client.describe_log_streams(logGroupName=group)["logStreams"])
    assert f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]" == stream[:-32]
    assert set(stream[-32:]) <= set("0123456789abcdef")
    client.delete_log_group(logGroupName=group)
    with pytest.raises(ClientError):
        client.filter_log_events(logGroupName=group)
    function.invoke({"fail": True})
    flush()
    again = [event["message"] for event in client.filter_log_events(logGroupName=group)["events"]]
    assert any("ValueError: wanted" in line for line in again)
    assert len([line for line in again if line.startswith("START")]) == 1


def post(url: str, body: str) -> int:
    """Status of the answer."""
    request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")  # noqa: S310 - our own address
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - the same
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
