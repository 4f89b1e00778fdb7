"""What Kinesis and DynamoDB refuse when they are overloaded: nothing that is refused is stored, all else is."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from beds import RunOnLoop
from botocore.config import Config
from botocore.exceptions import ClientError
from observing import JournalReader, unique

from testbed.running import RunningTestbed
from testbed.scenario import REGION
from testbed.semantics.dynamodb_capacity import DynamoDbProfile
from testbed.semantics.kinesis_shard import KinesisProfile
from testbed.semantics.profiles import Profile, aws

NO_REFILL = {"write_records": 0.001, "burst_seconds": 2000}  # two records, and no more
THROTTLED = "ProvisionedThroughputExceededException"
FIRST, SECOND = "0", str(2**127)  # hash keys of the first shard of two, and of the second
UseProfile = Callable[[Profile], None]


@pytest.fixture
def use(bed: RunningTestbed, run_on_loop: RunOnLoop[Any]) -> Iterator[UseProfile]:
    """Lets the data plane go by other numbers until the test ends."""

    def use_it(profile: Profile) -> None:
        run_on_loop(bed.plane.call("profile", profile=profile.to_json()))

    yield use_it
    use_it(aws)


def client_of(bed: RunningTestbed, service: str, *, attempts: int = 1) -> Any:
    """A client that tries that often."""
    session = boto3.Session("test", "test", region_name=REGION)
    config = Config(retries={"total_max_attempts": attempts})
    return session.client(service, endpoint_url=bed.aws.endpoint_url, config=config)


def first_refusal(call: Callable[[int], object]) -> Any:
    """What boto3 says of the first of forty calls, with their numbers, that is refused."""
    for number in range(40):
        try:
            call(number)
        except ClientError as error:
            return error.response
    pytest.fail("forty calls were not refused")


@pytest.fixture
def stream(bed: RunningTestbed) -> str:
    """A stream of two shards."""
    name = unique("limited")
    kinesis = client_of(bed, "kinesis")
    kinesis.create_stream(StreamName=name, ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName=name)
    return name


def stored(bed: RunningTestbed, stream: str) -> dict[str, list[bytes]]:
    """What is in each shard."""
    kinesis = client_of(bed, "kinesis", attempts=5)
    found = {}
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        start = {"ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = kinesis.get_shard_iterator(StreamName=stream, **start)["ShardIterator"]
        found[shard["ShardId"]] = [each["Data"] for each in kinesis.get_records(ShardIterator=iterator)["Records"]]
    return found


@pytest.mark.one_engine
@pytest.mark.rule("kinesis.put-records-partial", "kinesis.put-records-client", "case.put-records")
def test_a_put_of_three_with_one_throttled(
    bed: RunningTestbed, use: UseProfile, stream: str, journal: JournalReader
) -> None:
    """The documented case: status 200 and FailedRecordCount 1, the records in order; boto3 tries none of them again."""
    use(replace(aws, kinesis=KinesisProfile(write_records=1, burst_seconds=1)))
    records = [
        {"Data": data, "PartitionKey": "k", "ExplicitHashKey": key}
        for data, key in ((b"a", FIRST), (b"b", FIRST), (b"c", SECOND))
    ]
    answer = client_of(bed, "kinesis", attempts=5).put_records(StreamName=stream, Records=records)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert answer["FailedRecordCount"] == 1
    assert [entry.get("ShardId") for entry in answer["Records"]] == [
        "shardId-000000000000", None, "shardId-000000000001",
    ]  # fmt: skip
    where = f"shard shardId-000000000000 in stream {stream} under account 000000000000."
    assert answer["Records"][1] == {"ErrorCode": THROTTLED, "ErrorMessage": f"Rate exceeded for {where}"}
    assert stored(bed, stream) == {"shardId-000000000000": [b"a"], "shardId-000000000001": [b"c"]}
    (line,) = journal.wait_for("aws", operation="PutRecords", resource=stream)
    assert (line["status"], line["error"], line["cause"]) == (200, None, "limit")


@pytest.mark.one_engine
@pytest.mark.rule("kinesis.put-record-error")
def test_a_hot_shard_throttles_while_its_neighbour_does_not(
    bed: RunningTestbed, use: UseProfile, stream: str, journal: JournalReader
) -> None:
    """By partition key, as producers do it."""
    use(replace(aws, kinesis=KinesisProfile(**NO_REFILL)))
    kinesis = client_of(bed, "kinesis")
    shards = {kinesis.put_record(StreamName=stream, Data=b"1", PartitionKey=key)["ShardId"] for key in "ab"}
    assert len(shards) == 2
    refused = first_refusal(lambda _: kinesis.put_record(StreamName=stream, Data=b"2", PartitionKey="a"))
    assert (refused["Error"]["Code"], refused["ResponseMetadata"]["HTTPStatusCode"]) == (THROTTLED, 400)
    kinesis.put_record(StreamName=stream, Data=b"2", PartitionKey="b")
    assert list(stored(bed, stream).values()) == [[b"1", b"2"], [b"1", b"2"]]
    journal.wait_for("aws", operation="PutRecord", resource=stream, status=400, error=THROTTLED, cause="limit")


@pytest.mark.one_engine
def test_new_shards_are_known_at_once(bed: RunningTestbed, use: UseProfile, stream: str) -> None:
    """After a reshard the record is refused in the name of an open shard, not of one that it went to before."""
    use(replace(aws, kinesis=KinesisProfile(**NO_REFILL)))
    kinesis = client_of(bed, "kinesis")
    for _ in range(2):
        kinesis.put_record(StreamName=stream, Data=b"a", PartitionKey="a")
    kinesis.update_shard_count(StreamName=stream, TargetShardCount=1, ScalingType="UNIFORM_SCALING")
    for key in "ab":
        kinesis.put_record(StreamName=stream, Data=b"b", PartitionKey=key)
    with pytest.raises(ClientError, match="shardId-000000000002 in stream"):
        kinesis.put_record(StreamName=stream, Data=b"no", PartitionKey="a")


@pytest.mark.one_engine
@pytest.mark.rule("kinesis.read-calls")
def test_the_sixth_read_of_a_second_is_refused(bed: RunningTestbed, stream: str) -> None:
    """Calls take so little time that six of them are in the same second; an SDK that retries gets what is there."""
    kinesis = client_of(bed, "kinesis")
    start = {"ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(StreamName=stream, **start)["ShardIterator"]
    refused = first_refusal(lambda _: kinesis.get_records(ShardIterator=iterator))
    assert refused["Error"]["Code"] == THROTTLED
    patient = client_of(bed, "kinesis", attempts=5).get_records(ShardIterator=iterator)
    assert patient["Records"] == []


@pytest.mark.one_engine
@pytest.mark.rule("kinesis.on-demand-start")
def test_an_on_demand_stream_starts_with_four_shards(bed: RunningTestbed) -> None:
    """4 MiB/s in, as each takes 1 MiB/s."""
    kinesis, name = client_of(bed, "kinesis"), unique("limited")
    kinesis.create_stream(StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    kinesis.get_waiter("stream_exists").wait(StreamName=name)
    assert len(kinesis.list_shards(StreamName=name)["Shards"]) == 4


@pytest.fixture
def table(bed: RunningTestbed) -> str:
    """A table of 5 read and 5 write units."""
    name = unique("limited")
    client_of(bed, "dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
    )
    return name


def ids(bed: RunningTestbed, table: str) -> set[str]:
    """The keys that are stored."""
    items = client_of(bed, "dynamodb", attempts=5).scan(TableName=table)["Items"]
    return {item["id"]["S"] for item in items}


@pytest.mark.rule("dynamodb.throttle-error")
def test_a_table_throttles_when_its_burst_is_used_up(
    bed: RunningTestbed, use: UseProfile, table: str, journal: JournalReader
) -> None:
    """Ten items of 1 KB within its burst of two seconds; boto3 knows the error as a throttle and tries again."""
    use(replace(aws, dynamodb=DynamoDbProfile(burst_seconds=2)))
    dynamodb = client_of(bed, "dynamodb")
    taken: set[str] = set()

    def put(number: int) -> None:
        dynamodb.put_item(TableName=table, Item={"id": {"S": str(number)}})
        taken.add(str(number))

    response = first_refusal(put)
    assert len(taken) >= 10
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (THROTTLED, 400)
    (reason,) = response["ThrottlingReasons"]
    assert reason["reason"] == "TableWriteProvisionedThroughputExceeded"
    assert reason["resource"].endswith(f":table/{table}")
    patient, retries = client_of(bed, "dynamodb", attempts=5), 0
    while not retries:
        answer = patient.put_item(TableName=table, Item={"id": {"S": "patient"}})
        retries = answer["ResponseMetadata"]["RetryAttempts"]
    assert ids(bed, table) == taken | {"patient"}
    journal.wait_for("aws", operation="PutItem", resource=table, status=400, error=THROTTLED, cause="limit")


@pytest.mark.rule("dynamodb.batch-write")
def test_what_a_batch_has_no_capacity_for_comes_back_and_is_not_stored(
    bed: RunningTestbed, use: UseProfile, table: str
) -> None:
    """Two of eight are written; a batch of which nothing can be written is refused."""
    use(replace(aws, dynamodb=DynamoDbProfile(burst_seconds=1)))
    dynamodb = client_of(bed, "dynamodb")
    puts = [{"PutRequest": {"Item": {"id": {"S": str(number)}, "text": {"S": "x" * 2000}}}} for number in range(8)]
    answer = dynamodb.batch_write_item(RequestItems={table: puts})
    assert answer["UnprocessedItems"] == {table: puts[2:]}  # two items of 2 units, and no third
    assert ids(bed, table) == {"0", "1"}
    refused = first_refusal(lambda _: dynamodb.batch_write_item(RequestItems={table: puts[2:]}))
    assert refused["Error"]["Code"] == THROTTLED


def test_an_update_owes_what_its_item_turns_out_to_be(bed: RunningTestbed, use: UseProfile, table: str) -> None:
    """20 KB are 20 units; the answer is as if nobody had asked for the item."""
    use(replace(aws, dynamodb=DynamoDbProfile(burst_seconds=30)))
    dynamodb = client_of(bed, "dynamodb")
    key = {"id": {"S": "a"}}
    dynamodb.put_item(TableName=table, Item={**key, "text": {"S": "x" * 100_000}})
    change = {"UpdateExpression": "SET n = :n", "ExpressionAttributeValues": {":n": {"N": "1"}}}
    answer = dynamodb.update_item(TableName=table, Key=key, **change)
    assert "Attributes" not in answer
    with pytest.raises(ClientError):
        dynamodb.update_item(TableName=table, Key=key, **change)
    assert dynamodb.get_item(TableName=table, Key=key)["Item"]["n"] == {"N": "1"}
