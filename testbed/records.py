"""Where orders end up: how the ledger reads tables, dead-letter queues, on-failure destinations and sources.

Reading changes nothing: queues are listed through LocalStack's developer endpoint, which counts as no receive.
"""

import json
import urllib.error
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from typing import Any, Final, Protocol

from testbed.errors import HarnessError, UsageError

_REGION: Final = "us-east-1"
_ACCOUNT: Final = "000000000000"
_READ_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Places:
    """What a reader needs to look.

    Attributes:
        emulator_url: LocalStack itself, not the gateway: no fault hits the ledger.
        admin_dsn: The architecture's database, as superuser.
        checkpoints: For each stream by name, the last sequence number that its consumers are done with, by shard id;
            a shard without one is untouched.
    """

    emulator_url: str
    admin_dsn: str
    checkpoints: Mapping[str, Mapping[str, str | None]]

    def client(self, service: str) -> Any:
        """A boto3 client for LocalStack itself."""
        return _session().client(service, endpoint_url=self.emulator_url)


@cache
def _session() -> Any:
    """One for all clients: it keeps the models of services, which take a tenth of a second to read."""
    import boto3  # noqa: PLC0415 - a third of the import time of every scenario, and used at the end of a run only

    return boto3.Session("test", "test", region_name=_REGION)


class Destination(Protocol):
    """Something that holds what was given up."""

    def ids(self, places: Places) -> Counter[str]:
        """Id of each order in it, with how often it is there."""
        ...


class Source(Protocol):
    """Something that holds what is still to be done."""

    def ids(self, places: Places) -> Counter[str]:
        """Id of each order still in it."""
        ...


@dataclass(frozen=True)
class Table:
    """A table of Postgres with one row per stored order.

    Attributes:
        name: Name of the table.
        id_column: The column with the order's id.
    """

    name: str = "orders"
    id_column: str = "id"

    def ids(self, places: Places) -> Counter[str]:
        """Id of each stored order, with its number of rows."""
        import psycopg  # noqa: PLC0415 - as with boto3 above
        from psycopg import sql  # noqa: PLC0415 - the same

        query = sql.SQL("SELECT {id}::text, count(*) FROM {table} GROUP BY 1").format(
            id=sql.Identifier(self.id_column), table=sql.Identifier(self.name)
        )
        with psycopg.connect(places.admin_dsn) as connection:
            try:
                return Counter({str(order_id): count for order_id, count in connection.execute(query)})
            except psycopg.ProgrammingError as error:  # no such table or column
                raise UsageError(
                    f"stored orders cannot be read from table {self.name!r}: {error.diag.message_primary}",
                    "does the scenario's schema create it, and does Deployment(stored=Table(...)) name it?",
                ) from error


@dataclass(frozen=True)
class DynamoDbTable:
    """A table of DynamoDB with one item per stored order; a key on the order's id makes a second one impossible.

    Attributes:
        name: Name of the table.
        id_attribute: The attribute with the order's id.
    """

    name: str = "orders"
    id_attribute: str = "id"

    def ids(self, places: Places) -> Counter[str]:
        """Id of each stored order, with its number of items."""
        client = places.client("dynamodb")
        pages = client.get_paginator("scan").paginate(TableName=self.name, ConsistentRead=True)
        try:
            items = [item for page in pages for item in page["Items"]]
        except client.exceptions.ResourceNotFoundException as error:
            raise UsageError(f"table {self.name!r} does not exist", "does deploy() create it?") from error
        return Counter(str(next(iter(item.get(self.id_attribute, {"": ""}).values()))) for item in items)


@dataclass(frozen=True)
class Queue:
    """A queue whose messages carry the order's id: a source, or a dead-letter queue.

    Attributes:
        name: Name of the queue.
        id_attribute: The message attribute with the id, which even a broken body has.
    """

    name: str
    id_attribute: str = "order_id"

    def ids(self, places: Places) -> Counter[str]:
        """Id of each order in the queue, in flight or not."""
        found: Counter[str] = Counter()
        for message in _messages(places, self.name):
            attribute = message.get("MessageAttributes", {}).get(self.id_attribute, {})
            found[attribute.get("StringValue") or f"message {message['MessageId']}"] += 1
        return found


@dataclass(frozen=True)
class StreamFailures:
    """An on-failure destination of a stream: its messages hold no record, only where in the stream they were.

    The records are read again from the stream, as AWS tells you to (Lambda developer guide, "Retain discarded batches
    for a Kinesis Data Streams event source"). A record of Kinesis has the order's id as its partition key, a change of
    a DynamoDB table as a part of the table's key.

    Attributes:
        queue: Name of the queue that the destination is.
        stream: Name of the Kinesis stream, or of the table.
        id_attribute: The attribute of the table's key with the order's id; Kinesis has none.
    """

    queue: str
    stream: str
    id_attribute: str = "id"

    def ids(self, places: Places) -> Counter[str]:
        """Id in each record that the messages are about."""
        return Counter(order for message in _messages(places, self.queue) for order in self._ids_of(message, places))

    def _ids_of(self, message: Mapping[str, Any], places: Places) -> Iterator[str]:
        match _document(message["Body"]):
            case {"KinesisBatchInfo": dict(batch)}:
                for record in self._kinesis_records(batch, places):
                    yield record["PartitionKey"]
            case {"DDBStreamBatchInfo": dict(batch)}:
                for change in _table_changes(batch, places):
                    yield str(next(iter(change["Keys"].get(self.id_attribute, {"": ""}).values())))
            case _:  # somebody else's
                yield f"message {message['MessageId']}"

    def _kinesis_records(self, batch: Mapping[str, str], places: Places) -> Iterator[dict[str, Any]]:
        kinesis = places.client("kinesis")
        try:
            records = _records(kinesis, self.stream, batch["shardId"], first=batch["startSequenceNumber"])
            yield from takewhile(lambda each: int(each["SequenceNumber"]) <= int(batch["endSequenceNumber"]), records)
        except kinesis.exceptions.ResourceNotFoundException as error:
            raise _no_stream(self.stream) from error


def _own_id(event: Any) -> object:
    return event["id"]


@dataclass(frozen=True)
class AsyncFailures:
    """A queue that is the on-failure destination, or the dead-letter queue, of an asynchronous function.

    A destination gets a record with the event in it, a dead-letter queue the event itself.

    Attributes:
        queue: Name of the queue.
        id_of: Gives the order's id of an event; by default its member ``"id"``.
    """

    queue: str
    id_of: Callable[[Any], object] = _own_id

    def ids(self, places: Places) -> Counter[str]:
        """Id of each order that the function was given up on."""
        found: Counter[str] = Counter()
        for message in _messages(places, self.queue):
            try:
                found[str(self.id_of(_event_of(_document(message["Body"]))))] += 1
            except (ValueError, LookupError, TypeError, AttributeError):  # somebody else's message
                found[f"message {message['MessageId']}"] += 1
        return found


@dataclass(frozen=True)
class Stream:
    """A Kinesis stream as a source; the partition key of each record is the order's id.

    Attributes:
        name: Name of the stream.
    """

    name: str

    def ids(self, places: Places) -> Counter[str]:
        """Partition key of each record behind the checkpoints of the consumers."""
        kinesis = places.client("kinesis")
        checkpoints = places.checkpoints.get(self.name, {})
        found: Counter[str] = Counter()
        try:
            shards = kinesis.list_shards(StreamName=self.name)["Shards"]
        except kinesis.exceptions.ResourceNotFoundException as error:
            raise _no_stream(self.name) from error
        for shard in shards:
            after = checkpoints.get(shard["ShardId"])
            for record in _records(kinesis, self.name, shard["ShardId"], after=after):
                found[record["PartitionKey"]] += 1
        return found


def _event_of(document: Any) -> Any:
    """The event in an invocation record; ``document`` itself where it is none."""
    is_record = isinstance(document, dict) and {"requestContext", "requestPayload"} <= document.keys()
    return document["requestPayload"] if is_record else document


def _document(body: str) -> Any:
    """What a message says in JSON; None where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _messages(places: Places, queue: str) -> list[dict[str, Any]]:
    import urllib.request  # noqa: PLC0415 - as with boto3 above

    url = f"{places.emulator_url}/_aws/sqs/messages/{_REGION}/{_ACCOUNT}/{queue}?ShowInvisible=true&ShowDelayed=true"
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.ReceiveMessage"}
    request = urllib.request.Request(url, b"{}", headers)  # noqa: S310 - our own loopback URL
    try:
        with urllib.request.urlopen(request, timeout=_READ_SECONDS) as response:  # noqa: S310 - the same
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        raise UsageError(f"queue {queue!r} cannot be read: {_said(error)}", "does deploy() create it?") from error
    except OSError as error:
        raise HarnessError(f"queue {queue!r} cannot be read: {error}") from error
    messages: list[dict[str, Any]] = answer.get("Messages") or []
    return messages


def _said(error: "urllib.error.HTTPError") -> str:
    """What AWS's JSON error document says, where it is one."""
    try:
        document = json.load(error)
        return str(document.get("message") or document["__type"])
    except (ValueError, KeyError, AttributeError):
        return f"HTTP {error.code}"


def _records(
    kinesis: Any, stream: str, shard: str, *, first: str | None = None, after: str | None = None
) -> Iterator[dict[str, Any]]:
    if first is not None:
        start = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": first}
    elif after is not None:
        start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": after}
    else:
        start = {"ShardIteratorType": "TRIM_HORIZON"}
    return _read(kinesis, kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, **start)["ShardIterator"])


def _table_changes(batch: Mapping[str, str], places: Places) -> Iterator[dict[str, Any]]:
    """What DynamoDB's stream says of each change in ``batch``."""
    streams = places.client("dynamodbstreams")
    iterator = streams.get_shard_iterator(
        StreamArn=batch["streamArn"],
        ShardId=batch["shardId"],
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        SequenceNumber=batch["startSequenceNumber"],
    )["ShardIterator"]
    changes = (record["dynamodb"] for record in _read(streams, iterator))
    return takewhile(lambda each: int(each["SequenceNumber"]) <= int(batch["endSequenceNumber"]), changes)


def _read(client: Any, iterator: str | None) -> Iterator[dict[str, Any]]:
    """The records of a shard, up to the first page that has none."""
    while iterator:
        answer = client.get_records(ShardIterator=iterator)
        yield from answer["Records"]
        if not answer["Records"]:
            return
        iterator = answer.get("NextShardIterator")


def _no_stream(name: str) -> UsageError:
    return UsageError(f"stream {name!r} does not exist", "does deploy() create it?")
