"""Settings of SQS mappings on the real engine: filters, FIFO queues, limits, and what Lambda refuses."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from observing import JournalReader, RecordingFunction, unique, wait_until
from test_mappings import Queue, connect, received

from testbed import deploy
from testbed.running import RunningTestbed

Deploy = Callable[..., RecordingFunction]

pytestmark = pytest.mark.one_engine

BUYS = {"Filters": [{"Pattern": json.dumps({"body": {"type": ["buy"]}})}]}


def fifo(bed: RunningTestbed, **attributes: str) -> Queue:
    """A FIFO queue that nobody else uses."""
    name = f"{unique('queue')}.fifo"
    options = {"FifoQueue": "true", "ContentBasedDeduplication": "true", **attributes}
    url = bed.aws.client("sqs").create_queue(QueueName=name, Attributes=options)["QueueUrl"]
    return Queue(bed.aws, url, deploy.queue_arn(bed.aws, url))


def send_in_order(queue: Queue, groups: str, numbers: range) -> None:
    """For each number a message to each group: a0, b0, a1, b1, ..."""
    for number in numbers:
        entries = [{"Id": g, "MessageBody": f"{g}{number}", "MessageGroupId": g} for g in groups]
        assert not queue.aws.client("sqs").send_message_batch(QueueUrl=queue.url, Entries=entries).get("Failed")


def order(function: RecordingFunction, group: str) -> list[str]:
    """The messages of a group as the function was given them."""
    bodies = [record["body"] for event in function.events() if "Records" in event for record in event["Records"]]
    return [body for body in bodies if body[0] == group]


def most_at_once(function: RecordingFunction) -> int:
    """Invokes at the same time, of a function that records "end" when it ends."""
    running = peak = 0
    for record in sorted(function.records(), key=lambda record: record["at"]):
        running += -1 if record["event"] == "end" else 1
        peak = max(peak, running)
    return peak


@pytest.mark.rule("sqs-mapping.filter-deletes")
def test_a_filter_deletes_what_it_does_not_let_through(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy
) -> None:
    """The function sees what matches; the rest is gone, and the journal says how much."""
    queue, function = Queue.create(bed.aws), recording_function()
    buys = [json.dumps({"type": "buy", "i": i}) for i in range(5)]
    queue.send([*buys, *(json.dumps({"type": "sell", "i": i}) for i in range(7)), "not json"])
    uuid = connect(function, queue.arn, FilterCriteria=BUYS)
    wait_until(lambda: queue.depth() == 0, "the queue to be empty")
    assert received(function) == dict.fromkeys(buys, 1)
    wait_until(
        lambda: sum(line["records"] for line in journal.lines("mapping", mapping=uuid, event="filtered")) == 8,
        "eight messages that were filtered out",
    )


@pytest.mark.rule("sqs-mapping.fifo-concurrency", "case.fifo-groups")
@pytest.mark.parametrize(("maximum", "at_once"), [(10, 6), (4, 4)])
def test_a_fifo_queue_runs_as_many_as_it_has_groups(
    bed: RunningTestbed, recording_function: Deploy, maximum: int, at_once: int
) -> None:
    """Developer guide: six groups and a MaximumConcurrency of 10 are six at once; of 4, four. Each in order."""
    queue = fifo(bed)
    function = recording_function("import time\ntime.sleep(0.3)\nrecord('end', context)")
    send_in_order(queue, "abcdef", range(30))
    connect(function, queue.arn, ScalingConfig={"MaximumConcurrency": maximum})
    wait_until(lambda: queue.depth() == 0, "the queue to be empty")
    assert most_at_once(function) == at_once
    for group in "abcdef":
        assert order(function, group) == [f"{group}{i}" for i in range(30)]


@pytest.mark.rule("sqs-mapping.fifo-retry")
def test_a_failed_group_is_retried_before_its_later_messages(bed: RunningTestbed, recording_function: Deploy) -> None:
    """What failed comes again, in order, before what was sent after it."""
    queue = fifo(bed, VisibilityTimeout="1")
    function = recording_function(
        "records = event['Records']\n"
        "if any(r['body'][0] == 'a' and r['attributes']['ApproximateReceiveCount'] == '1' for r in records):\n"
        "    raise ValueError('the first time')",
        timeout=1,
    )
    send_in_order(queue, "a", range(3))
    connect(function, queue.arn)
    function.wait_for_events()
    send_in_order(queue, "ab", range(3, 5))
    wait_until(lambda: queue.depth() == 0, "the queue to be empty")
    assert order(function, "a")[:6] == ["a0", "a1", "a2", "a0", "a1", "a2"]
    tried = order(function, "a")
    assert tried.index("a3") > 5
    assert list(dict.fromkeys(tried)) == [f"a{i}" for i in range(5)]
    assert list(dict.fromkeys(order(function, "b"))) == ["b3", "b4"]


@pytest.mark.rule("sqs-mapping.over-pull", "case.over-pull")
@pytest.mark.parametrize("maximum", [None, 2])
def test_over_pull_dead_letters_what_was_never_tried(
    bed: RunningTestbed, recording_function: Deploy, maximum: int | None
) -> None:
    """Reserved concurrency below the pollers' dead-letters untried messages; with MaximumConcurrency there are none.

    Five batches are read at once, and within the visibility timeout of 2 s the function can start three of them. Each
    throttled batch has spent the one receive that it had.
    """
    dead = Queue.create(bed.aws)
    policy = deploy.redrive_policy(bed.aws, dead.url, max_receive_count=1)
    queue = Queue.create(bed.aws, VisibilityTimeout="2", RedrivePolicy=policy)
    function = recording_function("import time\ntime.sleep(0.8)", reserved_concurrency=maximum or 1, timeout=2)
    bodies = {str(i) for i in range(5)}
    queue.send(bodies)
    options = {"ScalingConfig": {"MaximumConcurrency": maximum}} if maximum else {}
    connect(function, queue.arn, BatchSize=1, **options)
    wait_until(lambda: queue.depth() == 0, "the queue to be empty")
    untried = bodies - received(function).keys()
    assert bool(untried) is (maximum is None)
    assert untried <= set(dead.bodies())


def _refusals(bed: RunningTestbed) -> dict[str, tuple[str, dict[str, Any]]]:
    standard, short = Queue.create(bed.aws).arn, Queue.create(bed.aws, VisibilityTimeout="9").arn
    ordered = fifo(bed).arn
    pollers = {"MinimumPollers": 2, "MaximumPollers": 4}
    wild = {"Filters": [{"Pattern": json.dumps({"body": [{"wildcard": "*"}]})}]}
    return {
        "Queue visibility timeout: 9 seconds is less than Function timeout: 10 seconds": (short, {}),
        "Maximum batch window": (standard, {"BatchSize": 11}),
        "Maximum batch size of a FIFO queue is 10": (ordered, {"BatchSize": 11, "MaximumBatchingWindowInSeconds": 1}),
        "Batching window is not supported for FIFO queues": (ordered, {"MaximumBatchingWindowInSeconds": 1}),
        "cannot be used together": (
            standard,
            {"ScalingConfig": {"MaximumConcurrency": 5}, "ProvisionedPollerConfig": pollers},
        ),
        "MinimumPollers of a queue is at least 2": (standard, {"ProvisionedPollerConfig": {"MinimumPollers": 1}}),
        "greater than or equal to MinimumPollers": (
            standard,
            {"ProvisionedPollerConfig": {"MinimumPollers": 5, "MaximumPollers": 4}},
        ),
        "Invalid filter pattern definition": (standard, {"FilterCriteria": wild}),
        "Filters are limited to 5": (standard, {"FilterCriteria": {"Filters": BUYS["Filters"] * 6}}),
    }


@pytest.mark.rule("sqs-mapping.validation", "sqs-mapping.visibility", "filter.invalid")
def test_what_lambda_refuses_is_refused(bed: RunningTestbed, recording_function: Deploy) -> None:
    """Each is an InvalidParameterValueException, when a mapping is created and when it is changed to it."""
    function = recording_function()
    client = bed.aws.client("lambda")
    for problem, (queue, options) in _refusals(bed).items():
        with pytest.raises(ClientError, match="InvalidParameterValueException") as refused:
            connect(function, queue, **options)
        assert problem in str(refused.value)
    queue = Queue.create(bed.aws)
    uuid = connect(function, queue.arn)
    bed.aws.client("sqs").set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": "9"})
    with pytest.raises(ClientError, match="Queue visibility timeout: 9 seconds is less than Function timeout"):
        client.update_event_source_mapping(UUID=uuid, BatchSize=5)


@pytest.mark.rule("sqs-mapping.provisioned")
def test_provisioned_mode_is_kept_and_used(bed: RunningTestbed, recording_function: Deploy) -> None:
    """LocalStack stores ProvisionedPollerConfig; two pollers run twenty invokes at once, at most and from the start."""
    queue = Queue.create(bed.aws)
    function = recording_function("import time\ntime.sleep(1)\nrecord('end', context)")
    queue.send(str(i) for i in range(40))
    config = {"MinimumPollers": 2, "MaximumPollers": 2}
    uuid = connect(function, queue.arn, BatchSize=1, ProvisionedPollerConfig=config)
    listed = bed.aws.client("lambda").get_event_source_mapping(UUID=uuid)
    assert listed["ProvisionedPollerConfig"] == config
    wait_until(lambda: queue.depth() == 0, "the queue to be empty")
    assert 10 < most_at_once(function) <= 20  # without it five, and five more after a second
