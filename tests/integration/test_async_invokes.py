"""Asynchronous invokes from acceptance to their end, with compressed waits, and where their ends are told of."""

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from beds import RunOnLoop
from botocore.exceptions import ClientError
from observing import JournalReader, RecordingFunction, unique, wait_until

from testbed import AsyncFailures, Throttle, deploy, profiles
from testbed.chaos.catalogue import to_json
from testbed.chaos.schedule import named
from testbed.records import Places
from testbed.running import RunningTestbed
from testbed.trace import HEADER, trace_header

pytestmark = pytest.mark.one_engine

Deploy = Callable[..., RecordingFunction]


@pytest.fixture(scope="module", autouse=True)
def compressed(bed: RunningTestbed, run_on_loop: RunOnLoop[Any]) -> Iterator[None]:
    """Retries after 0.06 and 0.12 s."""
    run_on_loop(bed.plane.call("profile", profile=profiles.aws.compress(1000).to_json()))
    yield
    run_on_loop(bed.plane.call("profile", profile=profiles.aws.to_json()))


def queue(bed: RunningTestbed, name: str) -> tuple[str, str]:
    """A new queue: its URL and its ARN."""
    url = bed.aws.client("sqs").create_queue(QueueName=unique(name))["QueueUrl"]
    return url, deploy.queue_arn(bed.aws, url)


def received(bed: RunningTestbed, url: str) -> dict[str, Any]:
    """The one message that comes."""
    params = {"QueueUrl": url, "WaitTimeSeconds": 20, "MessageAttributeNames": ["All"]}
    (message,) = bed.aws.client("sqs").receive_message(**params)["Messages"]
    return message  # type: ignore[no-any-return]


def invoke(bed: RunningTestbed, function: RecordingFunction, event: object, **options: Any) -> str:
    """Invoke it asynchronously; the request id."""
    answer = bed.aws.client("lambda").invoke(
        FunctionName=function.name, InvocationType="Event", Payload=json.dumps(event), **options
    )
    assert answer["StatusCode"] == 202
    return str(answer["ResponseMetadata"]["RequestId"])


def tell(bed: RunningTestbed, function: RecordingFunction, condition: str, arn: str, **options: Any) -> None:
    """Set a destination."""
    destinations = {condition: {"Destination": arn}}
    bed.aws.client("lambda").put_function_event_invoke_config(
        FunctionName=function.name, DestinationConfig=destinations, **options
    )


@pytest.mark.rule(
    "async.function-errors", "async.destination-record", "async.dead-letter-queue", "async.dead-letter-attributes",
    "metrics.async",
)  # fmt: skip
def test_what_fails_three_times_is_told_to_destination_and_dead_letter_queue(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy
) -> None:
    """The record counts three invokes; the dead letter is the event; the ledger finds the order in both."""
    function = recording_function("raise ValueError('broken')")
    (ends, ends_arn), (letters, letters_arn) = queue(bed, "ends"), queue(bed, "letters")
    tell(bed, function, "OnFailure", ends_arn)
    client = bed.aws.client("lambda")
    client.update_function_configuration(FunctionName=function.name, DeadLetterConfig={"TargetArn": letters_arn})
    client.get_waiter("function_updated_v2").wait(FunctionName=function.name)
    request_id = invoke(bed, function, {"id": "o-1"})
    record = json.loads(received(bed, ends)["Body"])
    assert record["requestContext"] == {
        "requestId": request_id,
        "functionArn": f"{function.arn}:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert record["requestPayload"] == {"id": "o-1"}
    assert record["responseContext"] == {
        "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled",
    }  # fmt: skip
    assert (record["responsePayload"]["errorType"], record["responsePayload"]["errorMessage"]) == (
        "ValueError", "broken",
    )  # fmt: skip
    letter = received(bed, letters)
    assert json.loads(letter["Body"]) == {"id": "o-1"}
    assert {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()} == {
        "RequestID": request_id, "ErrorCode": "200", "ErrorMessage": "broken",
    }  # fmt: skip
    assert [line["request_id"] for line in function.records()] == [request_id] * 3
    places = Places(emulator_url=bed.engine.localstack_url, admin_dsn="", checkpoints={})
    for url in (ends, letters):
        assert AsyncFailures(url.rpartition("/")[2]).ids(places) == Counter({"o-1": 1})
    (dropped,) = journal.wait_for("async", event="dropped", function=function.name)
    assert (dropped["attempts"], dropped["cause"]) == (3, "function error")
    ages = [line["age"] for line in journal.lines("lambda", function=function.name)]
    assert len(ages) == len(set(ages)) == 3
    assert ages == sorted(ages)
    assert ages[-1] <= dropped["age"]
    assert journal.wait_for("aws", operation="SendMessage", caller=f"async:{function.name}", count=2)


@pytest.mark.rule("async.dropped")
def test_what_fails_without_a_destination_is_counted(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy, run_on_loop: RunOnLoop[Any]
) -> None:
    """Nothing is left of it but the count; nothing is on its way any more."""
    function = recording_function("raise ValueError('broken')")
    before = run_on_loop(bed.plane.call("status"))["dropped_events"]
    invoke(bed, function, {})
    journal.wait_for("async", event="dropped", function=function.name)
    status = run_on_loop(bed.plane.call("status"))
    assert (status["dropped_events"] - before, status["queued_events"]) == (1, 0)


@pytest.mark.rule("async.destinations", "async.qualifier", "async.destination-eventbridge", "async.destination-s3")
def test_each_kind_of_destination_gets_the_record(bed: RunningTestbed, recording_function: Deploy) -> None:
    """SNS, EventBridge, Lambda and S3, each of an alias of its own, which says how often to try."""
    function, listener = recording_function("raise ValueError('broken')"), recording_function()
    client = bed.aws.client("lambda")
    version = client.publish_version(FunctionName=function.name)["Version"]
    topic_queue, topic_arn = queue(bed, "topic")
    topic = bed.aws.client("sns").create_topic(Name=unique("ends"))["TopicArn"]
    raw = {"RawMessageDelivery": "true"}
    bed.aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=topic_arn, Attributes=raw)
    bus_queue, bus_queue_arn = queue(bed, "bus")
    bus, rule = unique("bus"), unique("rule")
    events = bed.aws.client("events")
    bus_arn = events.create_event_bus(Name=bus)["EventBusArn"]
    events.put_rule(Name=rule, EventBusName=bus, EventPattern=json.dumps({"source": ["lambda"]}))
    events.put_targets(Rule=rule, EventBusName=bus, Targets=[{"Id": "queue", "Arn": bus_queue_arn}])
    bucket = unique("ends")
    objects = bed.aws.client("s3")
    objects.create_bucket(Bucket=bucket)
    places = {"topic": topic, "bus": bus_arn, "function": listener.arn, "bucket": f"arn:aws:s3:::{bucket}"}
    for alias, arn in places.items():
        client.create_alias(FunctionName=function.name, Name=alias, FunctionVersion=version)
        tell(bed, function, "OnFailure", arn, Qualifier=alias, MaximumRetryAttempts=0)
        invoke(bed, function, {"to": alias}, Qualifier=alias)

    (heard,) = listener.wait_for_events()
    event = json.loads(received(bed, bus_queue)["Body"])
    wait_until(lambda: objects.list_objects_v2(Bucket=bucket)["KeyCount"], "the object")
    key = objects.list_objects_v2(Bucket=bucket)["Contents"][0]["Key"]
    assert key.startswith(f"aws/lambda/async/{function.name}/20")
    records = {
        "topic": json.loads(received(bed, topic_queue)["Body"]),
        "bus": event["detail"],
        "function": heard,
        "bucket": json.loads(objects.get_object(Bucket=bucket, Key=key)["Body"].read()),
    }
    for alias, record in records.items():
        assert record["requestPayload"] == {"to": alias}
        assert record["requestContext"]["functionArn"] == f"{function.arn}:{alias}"
        assert record["requestContext"]["approximateInvokeCount"] == 1
        assert record["responseContext"]["executedVersion"] == version
    assert event["source"] == "lambda"
    assert event["detail-type"] == "Lambda Function Invocation Result - Failure"
    assert sorted(event["resources"]) == sorted([bus_arn, f"{function.arn}:bus"])


@pytest.mark.rule("async.destinations")
def test_a_success_is_told_and_a_bucket_is_for_failures_only(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy
) -> None:
    """OnSuccess; a change of the destination is known at once, and costs no environment."""
    function = recording_function("return {'got': event}")
    invoke(bed, function, 1)
    journal.wait_for("async", event="delivered", function=function.name)
    url, arn = queue(bed, "done")
    tell(bed, function, "OnSuccess", arn)
    invoke(bed, function, 2)
    record = json.loads(received(bed, url)["Body"])
    assert record["requestContext"]["condition"] == "Success"
    assert (record["requestPayload"], record["responsePayload"]) == (2, {"got": 2})
    assert [line["cold"] for line in journal.wait_for("lambda", function=function.name, count=2)] == [True, False]
    with pytest.raises(ClientError, match="is invalid"):
        tell(bed, function, "OnSuccess", "arn:aws:s3:::bucket")


@pytest.mark.rule("async.delivery-retries", "async.delivery-failure")
def test_faults_hit_deliveries(
    bed: RunningTestbed, recording_function: Deploy, run_on_loop: RunOnLoop[Any], tmp_path: Path
) -> None:
    """A queue that throttles one attempt in two gets the record all the same; one that is not there never does."""
    function = recording_function("raise ValueError('broken')")
    url = bed.aws.client("sqs").create_queue(QueueName="ends-of-orders")["QueueUrl"]  # its name decides with the seed
    tell(bed, function, "OnFailure", deploy.queue_arn(bed.aws, url), MaximumRetryAttempts=0)
    fault = Throttle(service="sqs", operations=("SendMessage",), probability=0.5)
    path = tmp_path / "journal.jsonl"
    armed = {"architecture": "test", "seed": 2, "faults": to_json(named([fault])), "journal": str(path)}
    run_on_loop(bed.plane.call("begin", **armed, zero=time.monotonic()))
    journal = JournalReader(path)
    address = f"{bed.aws.endpoint_url}/2015-03-31/functions/{function.name}/invocations"
    for number in range(4):
        headers = {"X-Amz-Invocation-Type": "Event", HEADER: trace_header(f"o-{number}", 0.0)}
        request = urllib.request.Request(address, str(number).encode(), headers)  # noqa: S310 - our own address
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - the same
            assert answer.status == 202
    delivered = sorted(json.loads(received(bed, url)["Body"])["requestPayload"] for _ in range(4))
    assert delivered == [0, 1, 2, 3]
    assert len(journal.wait_for("fault", caller=f"async:{function.name}", count=5)) == 5
    assert not journal.lines("async", event="destination failed")
    bed.aws.client("sqs").delete_queue(QueueUrl=url)
    invoke(bed, function, 5)
    (failed,) = journal.wait_for("async", event="destination failed", function=function.name)
    assert (failed["attempts"], failed["cause"]) == (1, "AWS.SimpleQueueService.NonExistentQueue")


@pytest.mark.rule("async.destination-size")
def test_a_record_that_is_too_large_for_a_topic_is_a_delivery_that_failed(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy
) -> None:
    """An event may have 1 MB, a message of SNS 256 KB; it is not tried again."""
    function = recording_function("raise ValueError('no')")
    topic = bed.aws.client("sns").create_topic(Name=unique("topic"))["TopicArn"]
    tell(bed, function, "OnFailure", topic, MaximumRetryAttempts=0)
    invoke(bed, function, "x" * 300_000)
    (failed,) = journal.wait_for("async", event="destination failed", function=function.name)
    assert (failed["attempts"], failed["cause"]) == (1, "InvalidParameter")
