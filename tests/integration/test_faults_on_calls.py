"""Faults on AWS calls have the effect that they say, at their place: what is told, and what has really happened."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
from beds import RunOnLoop
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from observing import JournalReader, RecordingFunction, unique, wait_until

from testbed import deploy
from testbed.chaos.catalogue import to_json
from testbed.chaos.fault import Fault
from testbed.chaos.faults.delivery import EarlyVisibility, LateDelivery
from testbed.chaos.faults.duplicate import Duplicate
from testbed.chaos.faults.lost_reply import LostReply, Unreachable
from testbed.chaos.faults.partial_failure import PartialFailure
from testbed.chaos.faults.service_error import ServiceError
from testbed.chaos.faults.throttle import Throttle
from testbed.chaos.schedule import named
from testbed.chaos.trigger import attempts
from testbed.running import RunningTestbed
from testbed.scenario import REGION, ROLE

pytestmark = pytest.mark.one_engine
Arm = Callable[..., JournalReader]


@pytest.fixture
def arm(bed: RunningTestbed, run_on_loop: RunOnLoop[Any], tmp_path: Path) -> Iterator[Arm]:
    """Starts a run with faults."""

    def start(*faults: Fault) -> JournalReader:
        path = tmp_path / f"{unique('faults')}.jsonl"
        order = {"architecture": "test", "seed": 1, "faults": to_json(named(faults)), "journal": str(path)}
        run_on_loop(bed.plane.call("begin", **order, zero=time.monotonic()))
        return JournalReader(path)

    yield start
    run_on_loop(bed.plane.call("end"))


@pytest.fixture
def once(bed: RunningTestbed) -> Callable[[str], Any]:
    """Clients that try once."""
    session, config = boto3.Session("test", "test", region_name=REGION), Config(retries={"total_max_attempts": 1})
    return lambda service: session.client(service, endpoint_url=bed.aws.endpoint_url, config=config)


def queue(bed: RunningTestbed, **attributes: str) -> str:
    """The URL of a new queue."""
    return str(bed.aws.client("sqs").create_queue(QueueName=unique("q"), Attributes=attributes)["QueueUrl"])


def name_of(url: str) -> str:
    """The name of a queue."""
    return url.rpartition("/")[2]


def bodies(client: Any, url: str, wait: int = 0) -> list[str]:
    """What a receive brings, in order."""
    answer = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait)
    return sorted(message["Body"] for message in answer.get("Messages", ()))


def table(bed: RunningTestbed) -> str:
    """A new table with the key ``id``."""
    name = unique("table")
    bed.aws.client("dynamodb").create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )  # fmt: skip
    return name


def items(client: Any, name: str) -> list[str]:
    """Ids of what is in a table."""
    return sorted(item["id"]["S"] for item in client.scan(TableName=name)["Items"])


@pytest.mark.parametrize(("position", "there"), [("instead", []), ("after", ["m"])])
def test_an_error_of_sqs(
    bed: RunningTestbed, arm: Arm, once: Callable[[str], Any], position: Any, there: list[str]
) -> None:
    """Instead of the call there is no message; after it the message is there, and the sender is told that it is not."""
    url = queue(bed)
    arm(ServiceError(service="sqs", operations=("SendMessage",), resources=(name_of(url),), position=position))
    with pytest.raises(ClientError, match="InternalError"):
        once("sqs").send_message(QueueUrl=url, MessageBody="m")
    assert bodies(once("sqs"), url) == there


@pytest.mark.parametrize(("kind", "there"), [(LostReply, ["a"]), (Unreachable, [])])
def test_a_connection_that_breaks(
    bed: RunningTestbed, arm: Arm, once: Callable[[str], Any], kind: Any, there: list[str]
) -> None:
    """The client cannot tell whether the item is there."""
    name = table(bed)
    journal = arm(kind(service="dynamodb", operations=("PutItem",), resources=(name,)))
    with pytest.raises(ConnectionClosedError):
        once("dynamodb").put_item(TableName=name, Item={"id": {"S": "a"}})
    assert items(once("dynamodb"), name) == there
    (line,) = journal.wait_for("aws", operation="PutItem", resource=name)
    assert (line["status"], line["cause"]) == (0, "reset")


def test_a_function_sees_the_reset_and_its_sdk_tries_again(
    bed: RunningTestbed, arm: Arm, recording_function: Callable[..., RecordingFunction]
) -> None:
    """By botocore's own rules; the condition of the first attempt has held, so the second one fails."""
    name = table(bed)
    body = f"""
        import boto3, botocore.exceptions
        put = dict(TableName={name!r}, Item={{"id": {{"S": "a"}}}}, ConditionExpression="attribute_not_exists(id)")
        try:
            return boto3.client("dynamodb").put_item(**put)["ResponseMetadata"]["RetryAttempts"]
        except botocore.exceptions.ClientError as error:
            return [error.response["Error"]["Code"], error.response["ResponseMetadata"]["RetryAttempts"]]
    """
    function = recording_function(body)
    journal = arm(LostReply(service="dynamodb", operations=("PutItem",), resources=(name,), when=attempts(1)))
    assert function.invoke() == ["ConditionalCheckFailedException", 1]
    lines = journal.wait_for("aws", count=2, operation="PutItem", resource=name)
    assert [(line["status"], line["attempt"], line["caller"]) for line in lines] == [
        (0, 1, f"function:{function.name}"),
        (400, 2, f"function:{function.name}"),
    ]


def test_entries_of_sqs_fail(bed: RunningTestbed, arm: Arm, once: Callable[[str], Any]) -> None:
    """The others are in the queue; and are not deleted where that fails."""
    url, sqs = queue(bed), once("sqs")
    arm(PartialFailure(service="sqs", resources=(name_of(url),)))
    entries = [{"Id": str(number), "MessageBody": str(number)} for number in range(6)]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    happened = sorted(entry["Id"] for entry in answer["Successful"])
    assert sorted(happened + [entry["Id"] for entry in answer["Failed"]]) == [entry["Id"] for entry in entries]
    assert 0 < len(happened) < 6
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert sorted(message["Body"] for message in received) == happened
    handles = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(received)]
    failed = sqs.delete_message_batch(QueueUrl=url, Entries=handles)["Failed"]
    left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"])
    assert int(left["Attributes"]["ApproximateNumberOfMessagesNotVisible"]) == len(failed) > 0


def test_records_of_kinesis_fail(arm: Arm, once: Callable[[str], Any]) -> None:
    """Results in their places, and only the records without an ErrorCode are in the stream."""
    name, kinesis = unique("stream"), once("kinesis")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name)
    arm(PartialFailure(service="kinesis", resources=(name,)))
    records = [{"Data": b"%d" % number, "PartitionKey": "k"} for number in range(6)]
    answer = kinesis.put_records(StreamName=name, Records=records)
    failed = ["ErrorCode" in result for result in answer["Records"]]
    assert answer["FailedRecordCount"] == sum(failed)
    assert 0 < sum(failed) < 6
    start = {"ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(StreamName=name, **start)["ShardIterator"]
    there = [record["Data"] for record in kinesis.get_records(ShardIterator=iterator)["Records"]]
    assert there == [record["Data"] for record, fails in zip(records, failed, strict=True) if not fails]


def test_items_of_dynamodb_are_left_unprocessed(bed: RunningTestbed, arm: Arm, once: Callable[[str], Any]) -> None:
    """What is not among the leftovers is in the table."""
    name, dynamodb = table(bed), once("dynamodb")
    arm(PartialFailure(service="dynamodb", resources=(name,)))
    puts = [{"PutRequest": {"Item": {"id": {"S": str(number)}}}} for number in range(6)]
    left = dynamodb.batch_write_item(RequestItems={name: puts})["UnprocessedItems"][name]
    ids = [put["PutRequest"]["Item"]["id"]["S"] for put in left]
    assert 0 < len(ids) < 6
    assert items(dynamodb, name) == [str(number) for number in range(6) if str(number) not in ids]


def test_messages_of_sns_fail(bed: RunningTestbed, arm: Arm, once: Callable[[str], Any]) -> None:
    """Those that were published reach the subscribed queue."""
    url, sns = queue(bed), once("sns")
    topic = sns.create_topic(Name=unique("topic"))["TopicArn"]
    raw = {"RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=deploy.queue_arn(bed.aws, url), Attributes=raw)
    arm(PartialFailure(service="sns", resources=(topic.rpartition(":")[2],)))
    entries = [{"Id": f"e{number}", "Message": f"e{number}"} for number in range(6)]
    answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    happened = sorted(entry["Id"] for entry in answer["Successful"])
    assert sorted(happened + [entry["Id"] for entry in answer["Failed"]]) == [entry["Id"] for entry in entries]
    assert 0 < len(happened) < 6
    assert all_bodies(once("sqs"), url, len(happened)) == happened


def test_events_fail(bed: RunningTestbed, arm: Arm, once: Callable[[str], Any]) -> None:
    """Those that have an EventId reach the target of their rule."""
    url, events, source = queue(bed), once("events"), unique("source")
    rule = unique("rule")
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))
    target = {"Id": "1", "Arn": deploy.queue_arn(bed.aws, url), "InputPath": "$.detail.id"}
    events.put_targets(Rule=rule, Targets=[target])
    arm(PartialFailure(service="events"))
    details = [json.dumps({"id": f"e{number}"}) for number in range(6)]
    answer = events.put_events(Entries=[{"Source": source, "DetailType": "d", "Detail": each} for each in details])
    happened = [f'"e{number}"' for number, entry in enumerate(answer["Entries"]) if "EventId" in entry]
    assert answer["FailedEntryCount"] == 6 - len(happened)
    assert 0 < len(happened) < 6
    assert all_bodies(once("sqs"), url, len(happened)) == happened


def all_bodies(sqs: Any, url: str, count: int) -> list[str]:
    """What is in a queue, which gets so many messages; and no more."""
    found: list[str] = []
    wait_until(lambda: len(found.extend(bodies(sqs, url)) or found) >= count, f"{count} messages")  # type: ignore[func-returns-value]
    return sorted(found + bodies(sqs, url))


def test_a_message_is_received_again_at_once(bed: RunningTestbed, arm: Arm, once: Callable[[str], Any]) -> None:
    """While its first consumer works on it; its receive count is spent, and the first consumer can delete it."""
    url, sqs = queue(bed, VisibilityTimeout="60"), once("sqs")
    sqs.send_message(QueueUrl=url, MessageBody="m")
    arm(EarlyVisibility(resources=(name_of(url),), when=attempts(1)))
    first, second = (
        sqs.receive_message(QueueUrl=url, AttributeNames=["ApproximateReceiveCount"])["Messages"][0] for _ in range(2)
    )
    assert first["MessageId"] == second["MessageId"]
    assert [each["Attributes"]["ApproximateReceiveCount"] for each in (first, second)] == ["1", "2"]
    assert bodies(sqs, url) == []


def test_a_message_comes_late(bed: RunningTestbed, arm: Arm, once: Callable[[str], Any]) -> None:
    """It is there after a second, and not before."""
    url, sqs = queue(bed), once("sqs")
    arm(LateDelivery(resources=(name_of(url),), seconds=1))
    sqs.send_message(QueueUrl=url, MessageBody="m")
    assert bodies(sqs, url) == []
    assert bodies(sqs, url, wait=5) == ["m"]


def test_a_message_is_sent_twice(bed: RunningTestbed, arm: Arm, once: Callable[[str], Any]) -> None:
    """To a queue that knows no deduplication."""
    url, sqs = queue(bed), once("sqs")
    arm(Duplicate(service="sqs", operations=("SendMessage",), resources=(name_of(url),)))
    sqs.send_message(QueueUrl=url, MessageBody="m")
    assert all_bodies(sqs, url, 2) == ["m", "m"]


def test_a_mapping_survives_lost_replies_and_partial_deletions(
    bed: RunningTestbed, arm: Arm, recording_function: Callable[..., RecordingFunction]
) -> None:
    """Receives and deletions of the poller: every message is processed, and the queue is empty in the end."""
    function, url = recording_function(timeout=1), queue(bed, VisibilityTimeout="1")
    resources = (name_of(url),)
    journal = arm(
        LostReply(service="sqs", operations=("ReceiveMessage",), resources=resources, when=attempts(1)),
        PartialFailure(service="sqs", operations=("DeleteMessageBatch",), resources=resources, when=attempts(1)),
    )
    bed.aws.client("lambda").create_event_source_mapping(
        FunctionName=function.name, EventSourceArn=deploy.queue_arn(bed.aws, url), BatchSize=10
    )
    sqs = bed.aws.client("sqs")
    for number in range(5):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))

    def left() -> int:
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(map(int, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))

    wait_until(lambda: len(seen(function)) == 5 and not left(), "an empty queue")
    assert seen(function) == set("01234")
    assert journal.wait_for("aws", operation="ReceiveMessage", resource=name_of(url), status=0)


def seen(function: RecordingFunction) -> set[str]:
    """Bodies of the messages that a function was invoked with."""
    return {record["body"] for event in function.events() for record in event["Records"]}


def machine(bed: RunningTestbed, *tasks: dict[str, Any]) -> tuple[str, str]:
    """Status and error of an execution of these tasks, one after the other."""
    client = bed.aws.client("stepfunctions")
    states = {
        str(n): {"Type": "Task", **task, **({"Next": str(n + 1)} if n + 1 < len(tasks) else {"End": True})}
        for n, task in enumerate(tasks)
    }
    definition = json.dumps({"StartAt": "0", "States": states})
    created = client.create_state_machine(name=unique("machine"), definition=definition, roleArn=ROLE)
    arn = client.start_execution(stateMachineArn=created["stateMachineArn"], input="{}")["executionArn"]
    wait_until(lambda: client.describe_execution(executionArn=arn)["status"] != "RUNNING", "the execution")
    ended = client.describe_execution(executionArn=arn)
    return ended["status"], ended.get("error", "")


def tasks_of(url: str, name: str) -> Sequence[dict[str, Any]]:
    """Sends to a queue, and puts into a table."""
    send = {"QueueUrl": url, "MessageBody": "m"}
    put = {"TableName": name, "Item": {"id": {"S": "a"}}}
    return (
        {"Resource": "arn:aws:states:::sqs:sendMessage", "Parameters": send},
        {"Resource": "arn:aws:states:::dynamodb:putItem", "Parameters": put},
    )


def test_what_step_functions_call_passes_the_gateway(bed: RunningTestbed, arm: Arm, once: Callable[[str], Any]) -> None:
    """The message is sent; the item is there, though the state machine is told that it is not."""
    url, name = queue(bed), table(bed)
    journal = arm(ServiceError(service="dynamodb", resources=(name,), callers=("emulator",), position="after"))
    status, error = machine(bed, *tasks_of(url, name))
    assert (status, error) == ("FAILED", "DynamoDB.InternalServerError")
    assert bodies(once("sqs"), url) == ["m"]
    assert items(once("dynamodb"), name) == ["a"]
    (sent,) = journal.wait_for("aws", operation="SendMessage", resource=name_of(url))
    (put,) = journal.wait_for("aws", operation="PutItem", resource=name)
    assert [(line["caller"], line["status"]) for line in (sent, put)] == [("emulator", 200), ("emulator", 500)]


def test_what_step_functions_call_may_break(bed: RunningTestbed, arm: Arm, once: Callable[[str], Any]) -> None:
    """A reset is an error of the task; without faults the execution succeeds."""
    url, name = queue(bed), table(bed)
    arm(LostReply(service="sqs", resources=(name_of(url),), callers=("emulator",)))
    status, error = machine(bed, *tasks_of(url, name))
    assert status == "FAILED", error
    assert bodies(once("sqs"), url) == ["m"]
    arm()
    assert machine(bed, *tasks_of(url, name)) == ("SUCCEEDED", "")


def test_notifications_of_s3_pass_the_gateway(bed: RunningTestbed, arm: Arm, once: Callable[[str], Any]) -> None:
    """What the bucket sends to a queue is journalled, and can be sent twice."""
    url, bucket, s3 = queue(bed), unique("bucket"), once("s3")
    s3.create_bucket(Bucket=bucket)
    target = {"QueueArn": deploy.queue_arn(bed.aws, url), "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [target]}, SkipDestinationValidation=True
    )
    once("sqs").purge_queue(QueueUrl=url)
    journal = arm(Duplicate(service="sqs", resources=(name_of(url),), operations=("SendMessage",)))
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    (line,) = journal.wait_for("aws", operation="SendMessage", resource=name_of(url))
    assert line["caller"] == "emulator"
    assert len(all_bodies(once("sqs"), url, 2)) == 2


def test_a_throttle_of_the_emulators_calls_leaves_clients_alone(
    bed: RunningTestbed, arm: Arm, once: Callable[[str], Any]
) -> None:
    """The same queue, two callers."""
    url, name = queue(bed), table(bed)
    arm(Throttle(service="sqs", resources=(name_of(url),), callers=("emulator",)))
    assert machine(bed, *tasks_of(url, name))[0] == "FAILED"
    once("sqs").send_message(QueueUrl=url, MessageBody="client")
    assert bodies(once("sqs"), url) == ["client"]
