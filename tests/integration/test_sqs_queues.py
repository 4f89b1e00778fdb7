"""What mappings rely on in the engine's queues: visibility, redrive, retention, message groups, batches, limits."""

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from observing import wait_until
from test_mappings import Queue
from test_sqs_mappings import fifo, send_in_order

from testbed import deploy
from testbed.running import RunningTestbed

pytestmark = pytest.mark.one_engine

MIB = 1024 * 1024


def take(queue: Queue, wait: int = 0) -> list[dict[str, Any]]:
    """One ReceiveMessage."""
    client = queue.aws.client("sqs")
    answer = client.receive_message(
        QueueUrl=queue.url, MaxNumberOfMessages=10, WaitTimeSeconds=wait, AttributeNames=["All"]
    )
    messages: list[dict[str, Any]] = answer.get("Messages", [])
    return messages


def refused(call: Any, **params: Any) -> str:
    """The error code of a call."""
    with pytest.raises(ClientError) as error:
        call(**params)
    return str(error.value.response["Error"]["Code"])


@pytest.mark.rule("sqs.change-visibility")
def test_change_message_visibility_counts_from_now(bed: RunningTestbed) -> None:
    """Documented: of 60 s, 10 s set after 15 s make it visible at 25 s. Here 60 s, and 1 s set after half a second."""
    queue = Queue.create(bed.aws, VisibilityTimeout="60")
    queue.send(["a"])
    (message,) = take(queue)
    time.sleep(0.5)
    bed.aws.client("sqs").change_message_visibility(
        QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=1
    )
    changed_at = time.monotonic()
    assert take(queue) == []
    assert [m["Body"] for m in take(queue, wait=10)] == ["a"]
    assert 0.9 < time.monotonic() - changed_at < 9


@pytest.mark.rule("sqs.redrive")
def test_a_message_is_moved_by_the_receive_after_its_last(bed: RunningTestbed) -> None:
    """With a maxReceiveCount of 2 it is delivered twice, stays while nobody receives, and is moved by the next one."""
    dead = Queue.create(bed.aws)
    policy = deploy.redrive_policy(bed.aws, dead.url, max_receive_count=2)
    queue = Queue.create(bed.aws, VisibilityTimeout="0", RedrivePolicy=policy)
    queue.send(["a"])
    counts = [take(queue, wait=1)[0]["Attributes"]["ApproximateReceiveCount"] for _ in range(2)]
    assert counts == ["1", "2"]
    assert (queue.depth(), dead.depth()) == (1, 0)
    assert take(queue) == []
    assert (queue.depth(), dead.depth()) == (0, 1)


@pytest.mark.rule("sqs.redrive-range")
@pytest.mark.parametrize("count", [0, 1001])
def test_a_redrive_policy_moves_after_one_to_a_thousand_receives(bed: RunningTestbed, count: int) -> None:
    """Others are refused."""
    dead = Queue.create(bed.aws)
    policy = {"RedrivePolicy": deploy.redrive_policy(bed.aws, dead.url, max_receive_count=count)}
    client, queue = bed.aws.client("sqs"), Queue.create(bed.aws)
    assert refused(client.set_queue_attributes, QueueUrl=queue.url, Attributes=policy) == "InvalidParameterValue"


@pytest.mark.rule("sqs.retention")
def test_a_message_is_gone_after_its_retention_period(bed: RunningTestbed) -> None:
    """With a period of 1 s, which AWS would refuse, it expires; others stay."""
    queue, lasting = Queue.create(bed.aws, MessageRetentionPeriod="1"), Queue.create(bed.aws)
    queue.send(["a"])
    lasting.send(["a"])
    wait_until(lambda: queue.depth() == 0, "the message to expire")
    assert lasting.depth() == 1


@pytest.mark.rule("sqs.fifo-hold")
def test_a_group_in_flight_is_held_back(bed: RunningTestbed) -> None:
    """While a message of a group is in flight no other of it is given; those of another group are."""
    queue = fifo(bed, VisibilityTimeout="60")
    send_in_order(queue, "a", range(3))
    first = bed.aws.client("sqs").receive_message(QueueUrl=queue.url, MaxNumberOfMessages=1)["Messages"][0]
    send_in_order(queue, "b", range(1))
    assert [m["Body"] for m in take(queue)] == ["b0"]
    assert take(queue) == []
    bed.aws.client("sqs").delete_message(QueueUrl=queue.url, ReceiptHandle=first["ReceiptHandle"])
    assert [m["Body"] for m in take(queue)] == ["a1", "a2"]


@pytest.mark.rule("sqs.deduplication")
def test_what_is_sent_twice_to_a_fifo_queue_is_there_once(bed: RunningTestbed) -> None:
    """Content-based deduplication: the second message is taken and not delivered."""
    queue = fifo(bed)
    send_in_order(queue, "a", range(2))
    send_in_order(queue, "a", range(2))
    wait_until(lambda: queue.depth() == 2, "two messages")
    assert [m["Body"] for m in take(queue)] == ["a0", "a1"]


@pytest.mark.rule("sqs.batch-errors")
def test_batches_fail_in_part_or_as_a_whole(bed: RunningTestbed) -> None:
    """SendMessageBatch: entries in Failed with status 200, and the four codes for a batch as a whole."""
    client, queue = bed.aws.client("sqs"), Queue.create(bed.aws)

    def send(*entries: tuple[str, str]) -> Any:
        given = [{"Id": id_, "MessageBody": body} for id_, body in entries]
        return client.send_message_batch(QueueUrl=queue.url, Entries=given)

    answer = send(("good", "a"), ("bad", "\u0000"))
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert [each["Id"] for each in answer["Successful"]] == ["good"]
    assert [(each["Id"], each["Code"]) for each in answer["Failed"]] == [("bad", "InvalidMessageContents")]
    whole = {
        "TooManyEntriesInBatchRequest": [(str(i), "a") for i in range(11)],
        "BatchRequestTooLong": [(str(i), "x" * (MIB // 2)) for i in range(3)],
        "BatchEntryIdsNotDistinct": [("a", "1"), ("a", "2")],
        "EmptyBatchRequest": [],
    }
    for code, entries in whole.items():
        with pytest.raises(ClientError) as error:
            send(*entries)
        assert error.value.response["Error"]["Code"].endswith(code)


@pytest.mark.rule("sqs.limits")
def test_limits_of_messages_and_receives(bed: RunningTestbed) -> None:
    """A message of 1 MiB is taken, a byte more is not; nobody receives more than ten, or waits longer than 20 s."""
    client, queue = bed.aws.client("sqs"), Queue.create(bed.aws)
    client.send_message(QueueUrl=queue.url, MessageBody="x" * MIB)
    assert refused(client.send_message, QueueUrl=queue.url, MessageBody="x" * (MIB + 1)) == "InvalidParameterValue"
    for params in ({"MaxNumberOfMessages": 11}, {"WaitTimeSeconds": 21}):
        assert refused(client.receive_message, QueueUrl=queue.url, **params)
