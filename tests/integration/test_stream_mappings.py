"""Event source mappings of streams on the real engine: tables, resharding, lanes, filters, buckets."""

import base64
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from observing import JournalReader, RecordingFunction, unique, wait_until

from testbed import StreamFailures
from testbed.records import Places
from testbed.running import RunningTestbed

Deploy = Callable[..., RecordingFunction]

KEYS = (0, 1, 6)  # "key 6" belongs to the upper half of the hash keys, the others to the lower one


def _connect(function: RecordingFunction, arn: str, **options: Any) -> str:
    client = function.aws.client("lambda")
    options = {"StartingPosition": "TRIM_HORIZON"} | options
    uuid: str = client.create_event_source_mapping(FunctionName=function.name, EventSourceArn=arn, **options)["UUID"]
    return uuid


def _table(bed: RunningTestbed) -> tuple[Any, str, str]:
    """A client, the name of a table and the ARN of its stream."""
    client, name = bed.aws.client("dynamodb"), unique("table")
    created = client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    return client, name, created["TableDescription"]["LatestStreamArn"]


def _stream(bed: RunningTestbed, shards: int = 1) -> tuple[Any, str, str]:
    """A client, the name of a stream and its ARN."""
    client, name = bed.aws.client("kinesis"), unique("stream")
    client.create_stream(StreamName=name, ShardCount=shards)
    return client, name, client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]


def _records(function: RecordingFunction) -> list[dict[str, Any]]:
    return [record for event in function.events() for record in event["Records"]]


def _data(function: RecordingFunction) -> list[str]:
    return [base64.b64decode(record["kinesis"]["data"]).decode() for record in _records(function)]


@pytest.mark.rule("stream.dynamodb-event", "stream.dynamodb-source")
def test_changes_of_a_table_reach_the_function(bed: RunningTestbed, recording_function: Deploy) -> None:
    """Insert, change and removal of an item arrive once, in order, with keys and images as AWS's events have them."""
    client, table, arn = _table(bed)
    function = recording_function()
    _connect(function, arn)
    key = {"id": {"S": "1"}}
    client.put_item(TableName=table, Item=key | {"blob": {"B": b"\x00"}, "list": {"L": [{"B": b"\x01"}]}})
    client.update_item(
        TableName=table,
        Key=key,
        UpdateExpression="SET n = :n",
        ExpressionAttributeValues={":n": {"N": "7"}},
    )
    client.delete_item(TableName=table, Key=key)
    wait_until(lambda: len(_records(function)) >= 3, "three changes")
    first, second, third = _records(function)
    inserted = key | {"blob": {"B": "AA=="}, "list": {"L": [{"B": "AQ=="}]}}
    changed = inserted | {"n": {"N": "7"}}
    assert [each["eventName"] for each in (first, second, third)] == ["INSERT", "MODIFY", "REMOVE"]
    images = [
        {name: each["dynamodb"][name] for name in ("Keys", "NewImage", "OldImage") if name in each["dynamodb"]}
        for each in (first, second, third)
    ]
    assert images == [
        {"Keys": key, "NewImage": inserted},
        {"Keys": key, "NewImage": changed, "OldImage": inserted},
        {"Keys": key, "OldImage": changed},
    ]
    assert first["eventSource"] == "aws:dynamodb"
    assert first["eventSourceARN"] == arn
    assert first["dynamodb"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    assert first["dynamodb"]["SizeBytes"] > 0


@pytest.mark.one_engine
def test_a_cancelled_transaction_leaves_the_stream_as_it_was(bed: RunningTestbed, recording_function: Deploy) -> None:
    """What a transaction wrote before it failed is never seen, and what comes after it is."""
    client, table, arn = _table(bed)
    function = recording_function()
    _connect(function, arn)
    client.put_item(TableName=table, Item={"id": {"S": "before"}})
    function.wait_for_events()
    never = {"TableName": table, "Key": {"id": {"S": "x"}}, "ConditionExpression": "attribute_exists(id)"}
    with pytest.raises(client.exceptions.TransactionCanceledException):
        client.transact_write_items(
            TransactItems=[{"Put": {"TableName": table, "Item": {"id": {"S": "never"}}}}, {"ConditionCheck": never}]
        )
    client.put_item(TableName=table, Item={"id": {"S": "after"}})
    function.wait_for_events(2)
    assert [each["dynamodb"]["Keys"]["id"]["S"] for each in _records(function)] == ["before", "after"]


@pytest.mark.rule("stream.destination-metadata")
@pytest.mark.one_engine
def test_a_discarded_change_is_described_in_a_queue(bed: RunningTestbed, recording_function: Deploy) -> None:
    """Of a DynamoDB stream the destination gets DDBStreamBatchInfo, which leads back to the order."""
    client, table, arn = _table(bed)
    sqs = bed.aws.client("sqs")
    dead = unique("dead")
    queue = sqs.create_queue(QueueName=dead)["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    function = recording_function("raise ValueError")
    destination = {"OnFailure": {"Destination": queue_arn}}
    _connect(function, arn, MaximumRetryAttempts=0, DestinationConfig=destination)
    client.put_item(TableName=table, Item={"id": {"S": "1"}})
    told = json.loads(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=15)["Messages"][0]["Body"])
    assert told["DDBStreamBatchInfo"]["streamArn"] == arn
    assert told["DDBStreamBatchInfo"]["batchSize"] == 1
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
    places = Places(emulator_url=bed.engine.localstack_url, admin_dsn="", checkpoints={})
    assert StreamFailures(dead, table).ids(places) == Counter(["1"])


@pytest.mark.rule("stream.destination-s3")
@pytest.mark.one_engine
def test_a_bucket_gets_what_was_discarded(bed: RunningTestbed, recording_function: Deploy) -> None:
    """S3 gets the whole event with the description, under the key that AWS documents."""
    kinesis, name, arn = _stream(bed)
    s3, bucket = bed.aws.client("s3"), unique("bucket")
    s3.create_bucket(Bucket=bucket)
    function = recording_function("raise ValueError")
    uuid = _connect(
        function,
        arn,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{bucket}"}},
    )
    kinesis.put_record(StreamName=name, PartitionKey="k", Data=b"lost otherwise")
    wait_until(lambda: s3.list_objects_v2(Bucket=bucket).get("KeyCount"), "an object")
    key = s3.list_objects_v2(Bucket=bucket)["Contents"][0]["Key"]
    assert key.startswith(f"aws/lambda/{uuid}/shardId-000000000000/2")
    told = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert told["payload"] == function.events()[0]
    assert told["KinesisBatchInfo"]["batchSize"] == 1


@pytest.mark.rule("stream.resharding")
@pytest.mark.one_engine
def test_a_stream_is_split_and_merged_while_it_is_read(bed: RunningTestbed, recording_function: Deploy) -> None:
    """Parents are read to their end before their children; each record of a key is seen once, and in order."""
    kinesis, name, arn = _stream(bed)
    function = recording_function()
    _connect(function, arn)

    def put(*data: str) -> set[str]:
        keys = [{"Data": each.encode(), "PartitionKey": f"key {i}"} for each in data for i in KEYS]
        return {each["ShardId"] for each in kinesis.put_records(StreamName=name, Records=keys)["Records"]}

    assert put("1") == {"shardId-000000000000"}
    kinesis.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127))
    assert put("2") == {"shardId-000000000001", "shardId-000000000002"}
    kinesis.merge_shards(
        StreamName=name, ShardToMerge="shardId-000000000001", AdjacentShardToMerge="shardId-000000000002"
    )
    assert put("3") == {"shardId-000000000003"}
    wait_until(lambda: len(_records(function)) >= 9, "nine records")
    seen: dict[str, list[str]] = {}
    for record in _records(function):
        seen.setdefault(record["kinesis"]["partitionKey"], []).append(
            base64.b64decode(record["kinesis"]["data"]).decode()
        )
    assert seen == {f"key {i}": ["1", "2", "3"] for i in KEYS}


@pytest.mark.rule("stream.parallelization")
@pytest.mark.one_engine
def test_a_poison_key_blocks_its_lane_only(
    bed: RunningTestbed, recording_function: Deploy, journal: JournalReader
) -> None:
    """With a ParallelizationFactor the keys of other lanes go on, in order, while one key is retried for ever."""
    kinesis, name, arn = _stream(bed)
    function = recording_function("if event['Records'][0]['kinesis']['partitionKey'] == 'bad':\n    raise ValueError")
    keys = ["bad", *(f"good {i}" for i in range(9))]
    kinesis.put_records(
        StreamName=name,
        Records=[{"Data": str(n).encode(), "PartitionKey": key} for n in range(3) for key in keys],
    )
    uuid = _connect(function, arn, ParallelizationFactor=10, BatchSize=1)

    def done() -> dict[str, list[str]]:
        seen: dict[str, list[str]] = {}
        for record in _records(function):
            data = base64.b64decode(record["kinesis"]["data"]).decode()
            seen.setdefault(record["kinesis"]["partitionKey"], []).append(data)
        return seen

    wait_until(lambda: sum(each == ["0", "1", "2"] for each in done().values()) >= 5, "the keys of other lanes")
    wait_until(lambda: "bad" in done(), "the bad key")
    assert set(done()["bad"]) == {"0"}
    assert all(line["iterator_age_ms"] > 0 for line in journal.wait_for("mapping", mapping=uuid, event="batch"))


@pytest.mark.rule("stream.filter")
@pytest.mark.one_engine
def test_records_that_do_not_match_are_passed_over(bed: RunningTestbed, recording_function: Deploy) -> None:
    """FilterCriteria leave records out, which are done with that: what comes behind them is read."""
    kinesis, name, arn = _stream(bed)
    function = recording_function()
    filters = {"Filters": [{"Pattern": json.dumps({"data": {"kind": ["wanted"]}})}]}
    _connect(function, arn, FilterCriteria=filters)
    kinds = ["other", "wanted", "other", "wanted"]
    kinesis.put_records(
        StreamName=name,
        Records=[
            {"Data": json.dumps({"kind": kind, "n": n}).encode(), "PartitionKey": "k"} for n, kind in enumerate(kinds)
        ],
    )
    wait_until(lambda: len(_data(function)) >= 2, "two records")
    assert [json.loads(each)["n"] for each in _data(function)] == [1, 3]
