"""What topics and rules deliver is tried again as on AWS, with compressed waits, and ends in dead-letter queues."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from beds import RunOnLoop
from observing import JournalReader, RecordingFunction, unique

from testbed import Throttle, deploy, profiles
from testbed.chaos.catalogue import to_json
from testbed.chaos.schedule import named
from testbed.running import RunningTestbed
from testbed.semantics.profiles import Profile

Deploy = Callable[..., RecordingFunction]
Arm = Callable[..., JournalReader]
FAST = profiles.aws.compress(100)


@pytest.fixture
def arm(bed: RunningTestbed, run_on_loop: RunOnLoop[Any], tmp_path: Path) -> Iterator[Arm]:
    """Starts a run with throttles, by compressed rules; called again, it goes on with others."""

    def start(*faults: Throttle, profile: Profile = FAST) -> JournalReader:
        run_on_loop(bed.plane.call("profile", profile=profile.to_json()))
        path = tmp_path / f"{unique('deliveries')}.jsonl"
        order = {"architecture": "test", "seed": 1, "faults": to_json(named(faults)), "journal": str(path)}
        run_on_loop(bed.plane.call("begin", **order, zero=time.monotonic()))
        return JournalReader(path)

    yield start
    run_on_loop(bed.plane.call("end"))
    run_on_loop(bed.plane.call("profile", profile=profiles.aws.to_json()))


def outage(service: str, operation: str, resource: str) -> Throttle:
    """Throttles whatever the emulator calls."""
    return Throttle(
        name=resource, service=service, operations=(operation,), resources=(resource,), callers=("emulator",),
        probability=1.0,
    )  # fmt: skip


def queue(bed: RunningTestbed, name: str) -> tuple[str, str, str]:
    """A new queue: its URL, ARN and name."""
    full = unique(name)
    url = bed.aws.client("sqs").create_queue(QueueName=full)["QueueUrl"]
    return url, deploy.queue_arn(bed.aws, url), full


def received(bed: RunningTestbed, url: str) -> list[dict[str, Any]]:
    """What comes first."""
    answer = bed.aws.client("sqs").receive_message(
        QueueUrl=url, WaitTimeSeconds=10, MessageAttributeNames=["All"], MaxNumberOfMessages=10
    )
    return list(answer.get("Messages", ()))


def subscribed(bed: RunningTestbed, protocol: str, endpoint: str, dead_letters: str | None = None) -> str:
    """A new topic with one subscription."""
    sns = bed.aws.client("sns")
    topic = str(sns.create_topic(Name=unique("topic"))["TopicArn"])
    attributes = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_letters})} if dead_letters else {}
    sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint, Attributes=attributes)
    return topic


def ruled(bed: RunningTestbed, *targets: dict[str, Any]) -> tuple[str, str]:
    """A rule with these targets: its ARN, and the source that it matches."""
    events, source, rule = bed.aws.client("events"), unique("source"), unique("rule")
    arn = events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))["RuleArn"]
    named = [{"Id": str(number), **target} for number, target in enumerate(targets)]
    assert not events.put_targets(Rule=rule, Targets=named)["FailedEntryCount"]
    return arn, source


def put(bed: RunningTestbed, source: str) -> None:
    """Put one event."""
    bed.aws.client("events").put_events(Entries=[{"Source": source, "DetailType": "order", "Detail": '{"id": 1}'}])


@pytest.fixture
def waiting(bed: RunningTestbed, run_on_loop: RunOnLoop[Any]) -> Callable[[], int]:
    """Counts the deliveries that the drain would wait for."""
    return lambda: int(run_on_loop(bed.plane.call("status"))["deliveries"])


def outlived(
    arm: Arm, waiting: Callable[[], int], deliver: Callable[[], None], function: str, queue: str
) -> dict[str, tuple[int, int]]:
    """Deliver to a function and a queue while both throttle, for six attempts each; then let them through.

    Returns how often each of them refused, and how many attempts were counted in the end.
    """
    during = arm(outage("lambda", "Invoke", function), outage("sqs", "SendMessage", queue))
    deliver()
    assert len(during.wait_for("delivery", event="waiting", count=2)) == 2
    for resource in (function, queue):
        during.wait_for("aws", resource=resource, caller="emulator", cause="throttle", count=6)
    assert waiting() == 2
    after = arm()
    arrived = after.wait_for("delivery", event="delivered", count=2)
    assert waiting() == 0
    attempts = {line["target"].rpartition(":")[2]: line["attempts"] for line in arrived}
    return {
        name: (len(during.lines("aws", resource=name, caller="emulator", cause="throttle")), attempts[name])
        for name in (function, queue)
    }


@pytest.mark.rule("sns.retries", "case.sns-attempts")
def test_a_message_outlives_an_outage_and_arrives_once(
    bed: RunningTestbed, recording_function: Deploy, waiting: Callable[[], int], arm: Arm
) -> None:
    """To a function and to a queue; one attempt is one call."""
    function = recording_function()
    url, arn, name = queue(bed, "fan-out")
    topics = [subscribed(bed, "lambda", function.arn), subscribed(bed, "sqs", arn)]

    def publish() -> None:
        for topic in topics:
            bed.aws.client("sns").publish(TopicArn=topic, Message="order")

    for refused, attempts in outlived(arm, waiting, publish, function.name, name).values():
        assert attempts == refused + 1
    (event,) = function.wait_for_events()
    assert [record["Sns"]["Message"] for record in event["Records"]] == ["order"]
    (message,) = received(bed, url)
    assert json.loads(message["Body"])["Message"] == "order"


@pytest.mark.rule("events.retries", "case.eventbridge-attempts")
def test_an_event_outlives_an_outage_and_arrives_once(
    bed: RunningTestbed, recording_function: Deploy, waiting: Callable[[], int], arm: Arm
) -> None:
    """To a function and to a queue; PutEvents succeeds at once."""
    function = recording_function()
    url, arn, name = queue(bed, "target")
    _, source = ruled(bed, {"Arn": function.arn}, {"Arn": arn})
    for refused, attempts in outlived(arm, waiting, lambda: put(bed, source), function.name, name).values():
        assert attempts == refused + 1
    assert [event["detail"] for event in function.wait_for_events()] == [{"id": 1}]
    assert [json.loads(message["Body"])["detail"] for message in received(bed, url)] == [{"id": 1}]


@pytest.mark.one_engine
@pytest.mark.rule("events.retries", "events.dead-letter-queue")
def test_an_event_that_is_given_up_goes_to_the_dead_letter_queue_with_the_reason(bed: RunningTestbed, arm: Arm) -> None:
    """As often as the RetryPolicy says; the letter has the event as it was, whatever the target would have got."""
    _, arn, name = queue(bed, "target")
    letters, letters_arn, _ = queue(bed, "letters")
    target = {
        "Arn": arn,
        "InputPath": "$.detail",
        "RetryPolicy": {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60},
        "DeadLetterConfig": {"Arn": letters_arn},
    }
    rule, source = ruled(bed, target, {"Arn": arn, "RetryPolicy": {"MaximumRetryAttempts": 0}})
    journal = arm(outage("sqs", "SendMessage", name))
    put(bed, source)
    (letter,) = received(bed, letters)
    assert json.loads(letter["Body"])["source"] == source
    assert {key: each["StringValue"] for key, each in letter["MessageAttributes"].items()} == {
        "RULE_ARN": rule,
        "TARGET_ARN": arn,
        "ERROR_CODE": "THROTTLING",
        "ERROR_MESSAGE": "Request is throttled.",
        "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts",
        "RETRY_ATTEMPTS": "2",
    }
    (dropped,) = journal.wait_for("delivery", event="dropped")
    assert (dropped["source"], dropped["attempts"]) == (rule, 1)
    assert [line["attempts"] for line in journal.wait_for("delivery", event="dead-lettered")] == [3]


@pytest.mark.one_engine
@pytest.mark.rule("sns.dead-letter-queue", "sns.client-errors", "events.dead-letter-queue")
def test_what_cannot_arrive_is_not_tried_again(bed: RunningTestbed, recording_function: Deploy, arm: Arm) -> None:
    """A queue or a function that is gone: the dead-letter queue has it at once."""
    url, arn, _ = queue(bed, "gone")
    function = recording_function()
    letters, letters_arn, _ = queue(bed, "letters")
    topics = [subscribed(bed, "sqs", arn, letters_arn), subscribed(bed, "lambda", function.arn, letters_arn)]
    events, events_arn, _ = queue(bed, "events")
    _, source = ruled(bed, {"Arn": arn, "DeadLetterConfig": {"Arn": events_arn}})
    bed.aws.client("sqs").delete_queue(QueueUrl=url)
    bed.aws.client("lambda").delete_function(FunctionName=function.name)
    journal = arm()
    for number, topic in enumerate(topics):
        bed.aws.client("sns").publish(TopicArn=topic, Message=str(number))
    put(bed, source)
    assert len(journal.wait_for("delivery", event="dead-lettered", attempts=1, count=3)) == 3
    assert {json.loads(message["Body"])["Message"] for message in received(bed, letters)} == {"0", "1"}
    (letter,) = received(bed, events)
    assert letter["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_RESOURCE"
    assert letter["MessageAttributes"]["RETRY_ATTEMPTS"]["StringValue"] == "0"


@pytest.mark.one_engine
@pytest.mark.rule("sns.dead-letter-queue")
def test_each_message_of_a_batch_ends_in_the_dead_letter_queue_after_the_last_attempt(
    bed: RunningTestbed, arm: Arm
) -> None:
    """Here after five; what was sent raw stays raw."""
    _, arn, name = queue(bed, "throttled")
    letters, letters_arn, _ = queue(bed, "letters")
    sns = bed.aws.client("sns")
    topic = subscribed(bed, "sqs", arn, letters_arn)
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    sns.set_subscription_attributes(
        SubscriptionArn=subscription["SubscriptionArn"], AttributeName="RawMessageDelivery", AttributeValue="true"
    )
    few = replace(FAST, sns=replace(FAST.sns, backoff_attempts=0, post_backoff_attempts=0))
    journal = arm(outage("sqs", "SendMessage", name), profile=few)
    colour = {"colour": {"DataType": "Binary", "BinaryValue": b"\xff\x00"}}
    batch = [{"Id": str(n), "Message": str(n), "MessageAttributes": colour} for n in range(3)]
    sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=batch)
    assert len(journal.wait_for("delivery", event="dead-lettered", attempts=5, count=3)) == 3
    messages = received(bed, letters)
    assert {message["Body"] for message in messages} == {"0", "1", "2"}
    assert {message["MessageAttributes"]["colour"]["BinaryValue"] for message in messages} == {b"\xff\x00"}


@pytest.mark.one_engine
@pytest.mark.rule("sns.retries")
def test_a_fifo_topic_keeps_the_order_of_a_group_over_an_outage(bed: RunningTestbed, arm: Arm) -> None:
    """What waits holds back what was published later, and each arrives once."""
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    sqs, sns = bed.aws.client("sqs"), bed.aws.client("sns")
    name = f"{unique('queue')}.fifo"
    url = sqs.create_queue(QueueName=name, Attributes=fifo)["QueueUrl"]
    topic = sns.create_topic(
        Name=f"{unique('topic')}.fifo", Attributes={"FifoTopic": "true", "ContentBasedDeduplication": "true"}
    )["TopicArn"]
    raw = {"RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=deploy.queue_arn(bed.aws, url), Attributes=raw)
    journal = arm(outage("sqs", "SendMessage", name))
    sns.publish(TopicArn=topic, Message="0", MessageGroupId="a")
    journal.wait_for("delivery", event="waiting")
    arm()
    for number in range(1, 5):
        sns.publish(TopicArn=topic, Message=str(number), MessageGroupId="a")
    bodies: list[str] = []
    while len(bodies) < 5 and (messages := received(bed, url)):
        bodies += [message["Body"] for message in messages]
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert bodies == ["0", "1", "2", "3", "4"]


@pytest.mark.one_engine
def test_the_end_of_a_run_forgets_what_waits(
    bed: RunningTestbed,
    recording_function: Deploy,
    run_on_loop: RunOnLoop[Any],
    waiting: Callable[[], int],
    arm: Arm,
) -> None:
    """Nothing of one architecture comes to the next."""
    function = recording_function()
    _, source = ruled(bed, {"Arn": function.arn})
    arm(outage("lambda", "Invoke", function.name))
    put(bed, source)
    assert waiting() == 1
    run_on_loop(bed.plane.call("end"))
    assert waiting() == 0
    assert function.events() == []
