"""The ledger's readers, against answers that LocalStack 4.9.2 really gave."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from testbed.errors import HarnessError, UsageError
from testbed.records import AsyncFailures, Places, Queue, Stream, StreamFailures

MESSAGES = {
    "orders": (
        '{"Messages": [{"MessageId": "1af95c07", "Body": "{\\"id\\": \\"o-1\\"}", "Attributes": {"IsVisible": "true"},'
        ' "MessageAttributes": {"order_id": {"StringValue": "o-1", "DataType": "String"}},'
        ' "ReceiptHandle": "SQS/BACKDOOR/ACCESS"}, {"MessageId": "af8dcb2a", "Body": "no attribute",'
        ' "Attributes": {"IsVisible": "true", "IsDelayed": "true"}, "ReceiptHandle": "SQS/BACKDOOR/ACCESS"}]}'
    ),
    "empty": '{"Messages": []}',
    "given-up": json.dumps(
        {
            "Messages": [
                {
                    "MessageId": "r1",
                    "Body": json.dumps(
                        {
                            "requestContext": {"condition": "RetriesExhausted"},
                            "requestPayload": {"id": "o-1", "order": 7},
                        }
                    ),
                },
                {"MessageId": "d1", "Body": '{"id": "o-2", "order": 8}'},
                {"MessageId": "x0", "Body": "[" * 100_000 + "]" * 100_000},
                {"MessageId": "x1", "Body": '["no order"]'},
                {"MessageId": "x2", "Body": "no JSON"},
            ]
        }
    ),
    "failures": json.dumps(
        {
            "Messages": [
                {
                    "MessageId": "f1",
                    "Body": json.dumps(
                        {
                            "KinesisBatchInfo": {
                                "shardId": "shardId-000000000000",
                                "startSequenceNumber": "2",
                                "endSequenceNumber": "3",
                                "batchSize": 2,
                            }
                        }
                    ),
                },
                {"MessageId": "x1", "Body": '["no batch"]'},
                {"MessageId": "x2", "Body": "no JSON"},
            ]
        }
    ),
    "changes": json.dumps(
        {
            "Messages": [
                {
                    "MessageId": "c1",
                    "Body": json.dumps(
                        {
                            "DDBStreamBatchInfo": {
                                "shardId": "shardId-00000001",
                                "startSequenceNumber": "1",
                                "endSequenceNumber": "3",
                                "batchSize": 3,
                                "streamArn": "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/1",
                            }
                        }
                    ),
                }
            ]
        }
    ),
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """Answers as LocalStack's endpoint for developers does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))  # what is left unread resets the connection
            assert self.headers["X-Amz-Target"] == "AmazonSQS.ReceiveMessage"
            assert "ShowInvisible=true" in self.path  # messages in flight are not lost
            name = self.path.partition("?")[0].rpartition("/")[2]
            body = MESSAGES.get(name, '{"__type": "QueueDoesNotExist"}').encode()
            self.send_response(200 if name in MESSAGES else 400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Not into the output of the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class NotFoundError(Exception):
    """Stands for the modelled exception."""


class RecordedKinesis:
    """One stream, one shard, pages of two; answers shaped as moto's."""

    class exceptions:  # noqa: N801  # as boto3 calls it
        """The client's exceptions."""

        ResourceNotFoundException = NotFoundError

    keys = ("o-1", "o-2", "o-3", "o-4")

    def list_shards(self, StreamName: str) -> dict[str, Any]:  # noqa: N803  # as boto3 calls it
        if StreamName != "orders":
            raise NotFoundError
        return {"Shards": [{"ShardId": "shardId-000000000000"}]}

    def get_shard_iterator(self, **given: str) -> dict[str, str]:
        if given["StreamName"] != "orders":
            raise NotFoundError
        number = int(given.get("StartingSequenceNumber", "1"))
        return {"ShardIterator": str(number + (given["ShardIteratorType"] == "AFTER_SEQUENCE_NUMBER"))}

    def get_records(self, ShardIterator: str) -> dict[str, Any]:  # noqa: N803  # the same
        first = int(ShardIterator)
        numbers = [number for number in (first, first + 1) if number <= len(self.keys)]
        records = [{"SequenceNumber": str(n), "PartitionKey": self.keys[n - 1], "Data": b"x"} for n in numbers]
        return {"Records": records, "NextShardIterator": str(first + len(numbers))}


class RecordedTableStream:
    """The stream of a table; answers shaped as moto's, in one page."""

    keys = ({"id": {"S": "o-1"}}, {"id": {"S": "o-2"}}, {"order": {"N": "3"}}, {"id": {"S": "o-4"}})

    def get_shard_iterator(self, **given: str) -> dict[str, str]:
        assert given["StreamArn"].endswith("table/orders/stream/1")
        return {"ShardIterator": f"{given['ShardIteratorType']} {given['SequenceNumber']}"}

    def get_records(self, ShardIterator: str) -> dict[str, Any]:  # noqa: N803  # the same
        assert ShardIterator == "AT_SEQUENCE_NUMBER 1"
        changes = [{"SequenceNumber": str(n), "Keys": keys} for n, keys in enumerate(self.keys, start=1)]
        return {"Records": [{"eventName": "INSERT", "dynamodb": change} for change in changes]}


class RecordedPlaces(Places):
    """Places whose streams are recorded."""

    def client(self, service: str) -> Any:
        return {"kinesis": RecordedKinesis, "dynamodbstreams": RecordedTableStream}[service]()


def places(emulator_url: str = "", **checkpoints: dict[str, str | None]) -> Places:
    return RecordedPlaces(emulator_url=emulator_url, admin_dsn="", checkpoints=checkpoints)


def test_a_message_is_known_by_its_attribute(emulator: str) -> None:
    """The body may be broken; a message without the attribute counts all the same."""
    assert Queue("orders").ids(places(emulator)) == Counter({"o-1": 1, "message af8dcb2a": 1})


def test_an_empty_queue_holds_nothing(emulator: str) -> None:
    """No message, no id."""
    assert Queue("empty").ids(places(emulator)) == Counter()


def test_a_queue_that_is_not_there_is_the_scenario_s_mistake(emulator: str) -> None:
    """It never counts as an empty one."""
    with pytest.raises(UsageError, match="queue 'nowhere' cannot be read: QueueDoesNotExist"):
        Queue("nowhere").ids(places(emulator))


def test_an_emulator_that_does_not_answer_is_no_empty_queue() -> None:
    """What could not be read is an error of the harness."""
    with pytest.raises(HarnessError, match=r"queue 'orders' cannot be read: .*refused"):
        Queue("orders").ids(places("http://127.0.0.1:9"))


def test_an_event_that_was_given_up_is_known_by_its_id(emulator: str) -> None:
    """In the record for a destination, or in a dead letter; what is neither counts all the same."""
    others = {"message x0": 1, "message x1": 1, "message x2": 1}
    assert AsyncFailures("given-up").ids(places(emulator)) == Counter({"o-1": 1, "o-2": 1, **others})
    by_order = AsyncFailures("given-up", id_of=lambda event: event["order"])
    assert by_order.ids(places(emulator)) == Counter({"7": 1, "8": 1, **others})


def test_a_failure_message_leads_back_to_its_records(emulator: str) -> None:
    """First and last record included, and no other; a message that names no batch counts all the same."""
    others = {"message x1": 1, "message x2": 1}
    assert StreamFailures("failures", "orders").ids(places(emulator)) == Counter({"o-2": 1, "o-3": 1, **others})


def test_a_failure_message_leads_back_to_changes_of_a_table(emulator: str) -> None:
    """By a part of the key; one without it is nobody's order."""
    assert StreamFailures("changes", "orders").ids(places(emulator)) == Counter(["o-1", "o-2", ""])
    by_order = StreamFailures("changes", "orders", id_attribute="order")
    assert by_order.ids(places(emulator)) == Counter(["", "", "3"])


def test_failures_of_a_stream_that_is_not_there_are_the_scenario_s_mistake(emulator: str) -> None:
    """The message has its place, and nothing is to be read there."""
    with pytest.raises(UsageError, match="stream 'nowhere' does not exist"):
        StreamFailures("failures", "nowhere").ids(places(emulator))


@pytest.mark.parametrize(
    ("checkpoints", "left"),
    [
        ({}, ["o-1", "o-2", "o-3", "o-4"]),
        ({"orders": {"shardId-000000000000": None}}, ["o-1", "o-2", "o-3", "o-4"]),
        ({"orders": {"shardId-000000000000": "3"}}, ["o-4"]),
        ({"orders": {"shardId-000000000000": "4"}}, []),
    ],
)
def test_a_stream_holds_what_lies_behind_the_checkpoint(
    checkpoints: dict[str, dict[str, str | None]], left: list[str]
) -> None:
    """Without a checkpoint all of it is still to be done."""
    assert Stream("orders").ids(places(**checkpoints)) == Counter(left)


def test_a_stream_that_is_not_there_is_the_scenario_s_mistake() -> None:
    """It never counts as an empty one."""
    with pytest.raises(UsageError, match="stream 'nowhere' does not exist"):
        Stream("nowhere").ids(places())
