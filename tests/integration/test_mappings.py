"""Event source mappings on the real engine: what the pollers do to real queues, streams and functions."""

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError
from observing import JournalReader, RecordingFunction, unique, wait_until

from testbed import deploy
from testbed.running import RunningTestbed
from testbed.scenario import Aws

Deploy = Callable[..., RecordingFunction]

PARTIAL = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
FIRST_TIME = "first = [r for r in event['Records'] if r['attributes']['ApproximateReceiveCount'] == '1']"


@dataclass(frozen=True)
class Queue:
    """A queue and its address."""

    aws: Aws
    url: str
    arn: str

    @classmethod
    def create(cls, aws: Aws, **attributes: str) -> "Queue":
        """A queue that nobody else uses."""
        url = aws.client("sqs").create_queue(QueueName=unique("queue"), Attributes=attributes)["QueueUrl"]
        return cls(aws, url, deploy.queue_arn(aws, url))

    def send(self, bodies: Iterable[str]) -> None:
        """Send messages, ten per call."""
        for some in _tens(list(bodies)):
            entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(some)]
            assert not self.aws.client("sqs").send_message_batch(QueueUrl=self.url, Entries=entries).get("Failed")

    def depth(self) -> int:
        """Messages in it, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.aws.client("sqs").get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def bodies(self) -> list[str]:
        """Take what is visible."""
        answer = self.aws.client("sqs").receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
        return [message["Body"] for message in answer.get("Messages", ())]


def _tens(bodies: Sequence[str]) -> list[Sequence[str]]:
    return [bodies[start : start + 10] for start in range(0, len(bodies), 10)]


def connect(function: RecordingFunction, source_arn: str, **options: Any) -> str:
    """Create a mapping; its UUID."""
    client = function.aws.client("lambda")
    created = client.create_event_source_mapping(FunctionName=function.name, EventSourceArn=source_arn, **options)
    uuid: str = created["UUID"]
    return uuid


def received(function: RecordingFunction) -> Counter[str]:
    """How often the function was given each body."""
    return Counter(record["body"] for event in function.events() if "Records" in event for record in event["Records"])


def test_poison_goes_to_the_dead_letter_queue_after_its_receives(
    bed: RunningTestbed, recording_function: Deploy
) -> None:
    """What fails is tried maxReceiveCount times and dead-lettered on the receive after that; the rest is done once."""
    dead = Queue.create(bed.aws)
    policy = deploy.redrive_policy(bed.aws, dead.url, max_receive_count=2)
    queue = Queue.create(bed.aws, VisibilityTimeout="1", RedrivePolicy=policy)
    function = recording_function("if event['Records'][0]['body'] == 'poison':\n    raise ValueError", timeout=1)
    connect(function, queue.arn, BatchSize=1)
    queue.send(["good 1", "poison", "good 2"])
    wait_until(lambda: dead.depth() == 1, "the dead letter")
    assert dead.bodies() == ["poison"]
    assert received(function) == {"good 1": 1, "poison": 2, "good 2": 1}
    assert queue.depth() == 0


def test_only_the_reported_items_of_a_batch_come_back(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy
) -> None:
    """With ReportBatchItemFailures the others are deleted at once, and never seen again."""
    queue = Queue.create(bed.aws, VisibilityTimeout="1")
    function = recording_function(
        f"{FIRST_TIME}\nfailed = [r for r in first if r['body'] in ('3', '7')]\n"
        "return {'batchItemFailures': [{'itemIdentifier': r['messageId']} for r in failed]}",
        timeout=1,
    )
    queue.send(str(i) for i in range(10))
    uuid = connect(function, queue.arn, **PARTIAL)
    wait_until(lambda: queue.depth() == 0, "the queue to be empty")
    assert received(function) == {str(i): 2 if i in {3, 7} else 1 for i in range(10)}
    failed = sum(line["failed"] for line in journal.wait_for("mapping", mapping=uuid, event="batch"))
    assert failed == 2


@pytest.mark.parametrize(
    "answer",
    [
        "{'batchItemFailures': [{'itemIdentifier': ''}]}",
        "{'batchItemFailures': [{'itemIdentifier': 'of no message'}]}",
        "{'batchItemFailures': [{'identifier': first[0]['messageId']}]}",
        "'not an object'",
    ],
)
def test_a_malformed_answer_fails_the_whole_batch(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy, answer: str
) -> None:
    """Nothing counts as processed, everything comes back, and the journal says why."""
    queue = Queue.create(bed.aws, VisibilityTimeout="1")
    function = recording_function(f"{FIRST_TIME}\nif first:\n    return {answer}", timeout=1)
    queue.send(["1", "2", "3"])
    uuid = connect(function, queue.arn, **PARTIAL)
    wait_until(lambda: queue.depth() == 0, "the queue to be empty")
    assert received(function) == {"1": 2, "2": 2, "3": 2}
    assert journal.wait_for("mapping", mapping=uuid, event="malformed response")


@pytest.mark.rule("sqs-mapping.partial-not-enabled")
def test_an_answer_that_nobody_asked_for_is_ignored(bed: RunningTestbed, recording_function: Deploy) -> None:
    """Without ReportBatchItemFailures listed failures are deleted all the same, as on AWS: silent loss."""
    queue = Queue.create(bed.aws)
    ids = "[{'itemIdentifier': r['messageId']} for r in event['Records']]"
    function = recording_function(f"return {{'batchItemFailures': {ids}}}")
    queue.send(["1", "2", "3"])
    connect(function, queue.arn)
    wait_until(lambda: queue.depth() == 0, "the queue to be empty")
    assert received(function) == {"1": 1, "2": 1, "3": 1}


@pytest.mark.rule("sqs-mapping.maximum-concurrency")
def test_maximum_concurrency_is_reached_and_never_exceeded(bed: RunningTestbed, recording_function: Deploy) -> None:
    """Of sixteen invokes that could run at once two do."""
    queue = Queue.create(bed.aws)
    function = recording_function("import time\ntime.sleep(0.1)\nrecord('end', context)")
    queue.send(str(i) for i in range(16))
    connect(function, queue.arn, BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
    wait_until(lambda: function.events().count("end") == 16, "sixteen invokes")
    running = peak = 0
    for record in sorted(function.records(), key=lambda record: record["at"]):
        running += -1 if record["event"] == "end" else 1
        peak = max(peak, running)
    assert peak == 2


def test_throttled_batches_wait_for_the_function(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy
) -> None:
    """While reserved concurrency is zero messages are held, not lost; they are processed once when it is gone."""
    queue = Queue.create(bed.aws)
    function = recording_function(reserved_concurrency=0)
    queue.send(str(i) for i in range(10))
    uuid = connect(function, queue.arn)
    journal.wait_for("mapping", mapping=uuid, event="throttled")
    assert function.events() == []
    bed.aws.client("lambda").delete_function_concurrency(FunctionName=function.name)
    wait_until(lambda: queue.depth() == 0, "the queue to be empty")
    assert received(function) == {str(i): 1 for i in range(10)}


@pytest.mark.rule("sqs-mapping.changes")
def test_changes_of_a_mapping_lose_and_double_nothing(bed: RunningTestbed, recording_function: Deploy) -> None:
    """Created, updated, disabled, enabled, deleted and created again while messages flow: each is processed once."""
    queue, function = Queue.create(bed.aws), recording_function()
    client = bed.aws.client("lambda")
    bodies = [str(i) for i in range(400)]

    def flow() -> None:
        for some in _tens(bodies):
            queue.send(some)
            time.sleep(0.03)

    def more() -> None:
        """Wait until the mapping has moved on, so that each change meets messages in flight."""
        seen = len(function.events())
        wait_until(lambda: len(function.events()) > seen, "more messages")

    flowing = threading.Thread(target=flow)
    flowing.start()
    uuid = connect(function, queue.arn, BatchSize=5)
    more()
    client.update_event_source_mapping(UUID=uuid, BatchSize=2, ScalingConfig={"MaximumConcurrency": 3})
    more()
    client.update_event_source_mapping(UUID=uuid, Enabled=False)
    client.update_event_source_mapping(UUID=uuid, Enabled=True)
    more()
    client.delete_event_source_mapping(UUID=uuid)
    connect(function, queue.arn)
    flowing.join()
    wait_until(lambda: queue.depth() == 0, "the queue to be empty")
    assert received(function) == dict.fromkeys(bodies, 1)


def test_a_disabled_mapping_reads_nothing(bed: RunningTestbed, recording_function: Deploy) -> None:
    """What is sent while the mapping is disabled stays in the queue until it is enabled."""
    queue, function = Queue.create(bed.aws), recording_function()
    uuid = connect(function, queue.arn, Enabled=False)
    other = recording_function()
    queue.send(["waits"])
    elsewhere = Queue.create(bed.aws)
    connect(other, elsewhere.arn)
    elsewhere.send(["passes"])
    other.wait_for_events()
    assert function.events() == []
    bed.aws.client("lambda").update_event_source_mapping(UUID=uuid, Enabled=True)
    function.wait_for_events()
    assert received(function) == {"waits": 1}


@dataclass(frozen=True)
class Stream:
    """A Kinesis stream with one shard."""

    aws: Aws
    name: str
    arn: str

    @classmethod
    def create(cls, aws: Aws) -> "Stream":
        """A stream that nobody else uses."""
        client, name = aws.client("kinesis"), unique("stream")
        client.create_stream(StreamName=name, ShardCount=1)
        arn = client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
        return cls(aws, name, arn)

    def put(self, *data: str) -> list[str]:
        """Put records; their sequence numbers."""
        records = [{"Data": each.encode(), "PartitionKey": "key"} for each in data]
        answer = self.aws.client("kinesis").put_records(StreamName=self.name, Records=records)
        assert answer["FailedRecordCount"] == 0
        return [record["SequenceNumber"] for record in answer["Records"]]


def batches(function: RecordingFunction) -> list[list[str]]:
    """The data of each batch that the function was given, in order."""
    return [
        [base64.b64decode(record["kinesis"]["data"]).decode() for record in event["Records"]]
        for event in function.events()
    ]


def data(function: RecordingFunction) -> list[str]:
    """The data of each record that the function was given, in order."""
    return [each for batch in batches(function) for each in batch]


POISON_RAISES = (
    "import base64\ndata = [base64.b64decode(r['kinesis']['data']).decode() for r in event['Records']]\n"
    "if 'poison' in data:\n    raise ValueError('poison')"
)


@pytest.mark.rule("stream.bisect")
def test_bisection_isolates_the_poison_and_tells_the_destination(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy
) -> None:
    """Halves are tried until the poison is alone; it goes to the on-failure destination, all others are processed."""
    stream, destination = Stream.create(bed.aws), Queue.create(bed.aws)
    function = recording_function(POISON_RAISES)
    numbers = stream.put("1", "2", "3", "poison", "5", "6", "7", "8")
    uuid = connect(
        function, stream.arn, BatchSize=8, StartingPosition="TRIM_HORIZON", BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": destination.arn}},
    )  # fmt: skip
    wait_until(lambda: destination.depth() == 1, "the record at the destination")
    wait_until(lambda: batches(function)[-1][-1] == "8", "the last record")
    told = json.loads(destination.bodies()[0])
    assert told["KinesisBatchInfo"]["startSequenceNumber"] == numbers[3]
    assert told["KinesisBatchInfo"]["endSequenceNumber"] == numbers[3]
    assert told["KinesisBatchInfo"]["streamArn"] == stream.arn
    processed = [data for batch in batches(function) if "poison" not in batch for data in batch]
    assert processed == ["1", "2", "3", "5", "6", "7", "8"]
    assert journal.wait_for("mapping", mapping=uuid, event="bisect")


def test_a_disabled_stream_mapping_keeps_its_place(bed: RunningTestbed, recording_function: Deploy) -> None:
    """Records put while it is disabled are read when it is enabled, each once and in order."""
    stream, function = Stream.create(bed.aws), recording_function()
    client = bed.aws.client("lambda")
    uuid = connect(function, stream.arn, StartingPosition="TRIM_HORIZON")
    stream.put("1", "2", "3")
    wait_until(lambda: data(function) == ["1", "2", "3"], "the first records")
    client.update_event_source_mapping(UUID=uuid, Enabled=False)
    stream.put("4", "5", "6")
    client.update_event_source_mapping(UUID=uuid, Enabled=True, BatchSize=2)
    stream.put("7", "8")
    wait_until(lambda: len(data(function)) >= 8, "all records")
    assert data(function) == [str(i) for i in range(1, 9)]


def test_a_mapping_of_a_queue_that_is_not_there_is_refused(recording_function: Deploy) -> None:
    """LocalStack's own checks of a mapping still hold."""
    function = recording_function()
    with pytest.raises(ClientError, match="InvalidParameterValueException"):
        connect(function, "arn:aws:sqs:us-east-1:000000000000:nowhere")
