"""Ways in which real systems lose, double or hide data: each planted in an architecture, beside the same one mended.

`BUGS` is the table: the tests run it, and docs/planted-bugs.md is made of it (run this file to write the page anew).
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol

from testbed import (
    Architecture,
    AsyncFailures,
    Aws,
    Constant,
    Database,
    Db,
    Deployment,
    Expectation,
    Facts,
    Poison,
    Queue,
    Scenario,
    SlowPostgres,
    Stream,
    StreamFailures,
    Table,
    Throttle,
    Traffic,
    deploy,
    profiles,
)
from testbed.chaos.fault import Fault
from testbed.chaos.faults.environment_lost import EnvironmentKilled
from testbed.chaos.faults.latency import Latency
from testbed.chaos.faults.partial_failure import PartialFailure
from testbed.chaos.faults.postgres_connection import PostgresReset
from testbed.chaos.faults.sql_error import SqlError
from testbed.chaos.trigger import at_most, attempts
from testbed.ledger.reconcile import ANOMALIES
from testbed.records import DynamoDbTable

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "planted-bugs.md"
FUNCTIONS: Final = ROOT / "functions"
SCHEMA: Final = """
    CREATE TABLE orders (id text PRIMARY KEY, customer text, sku text, quantity integer, total_cents integer);
    CREATE TABLE parked (id text PRIMARY KEY, body text);
    CREATE TABLE charges (id text, key text UNIQUE);
"""
NO_KEY: Final = "ALTER TABLE orders DROP CONSTRAINT orders_pkey"
POISON: Final = Poison(kinds=("broken_json", "database_refuses"), every=6)


_POLL_SECONDS: Final = 0.05


class Way(Protocol):
    """Deploys an architecture whose resources all begin with a name."""

    def __call__(self, name: str, aws: Aws, db: Db) -> Deployment:
        """As `testbed.scenario.Deploy`."""


@dataclass(frozen=True, kw_only=True)
class Queued:
    """API Gateway -> Lambda -> SQS -> Lambda -> a table, with a dead-letter queue.

    Attributes:
        front: Function before the queue, as folder and module in functions/.
        consumer: Function behind it.
        reports: Whether the mapping reads partial batch responses.
        receives: ``maxReceiveCount``; 0 is no dead-letter queue.
        visible_after: The queue's visibility timeout, changed once the mapping is there; 0 leaves it at the consumer's.
        timeout: Of the consumer, in seconds.
        retention: Seconds that the queue keeps a message; 0 is SQS's four days. AWS takes no less than 60, LocalStack
            any: a test has no minute.
        dead_letter_consumer: Function behind the dead-letter queue; empty for none.
        parked: Where that one puts dead letters.
        sql: Changes the schema.
        dynamodb: Whether the consumer writes into a table of DynamoDB.
        batch: ``BatchSize``.
    """

    front: str = "orders/to_queue"
    consumer: str = "orders/from_queue"
    reports: bool = True
    receives: int = 4
    visible_after: int = 0
    timeout: int = 2
    retention: int = 0
    dead_letter_consumer: str = ""
    parked: Sequence[Table] = ()
    sql: str = ""
    dynamodb: bool = False
    batch: int = 10

    def __call__(self, name: str, aws: Aws, db: Db) -> Deployment:
        """Deploy it."""
        sqs = aws.client("sqs")
        attributes = {"VisibilityTimeout": str(self.timeout)}
        dead = f"{name}-dead"
        if self.receives:
            url = sqs.create_queue(QueueName=dead, Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
            attributes["RedrivePolicy"] = deploy.redrive_policy(aws, url, max_receive_count=self.receives)
        if self.retention:
            attributes["MessageRetentionPeriod"] = str(self.retention)
        queue = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        reach = {"DATABASE_DSN": db.dsn, "QUEUE_URL": queue, "TABLE_NAME": name}
        if self.sql:
            db.execute(self.sql)
        if self.dynamodb:
            _table(aws, name)
        front = _function(aws, f"{name}-front", self.front, reach)
        _function(aws, f"{name}-consumer", self.consumer, reach, timeout=self.timeout)
        _consume(aws, f"{name}-consumer", queue, reports=self.reports, batch=self.batch)
        if self.visible_after:
            sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": str(self.visible_after)})
        if self.dead_letter_consumer:
            _function(aws, f"{name}-dead-consumer", self.dead_letter_consumer, reach, timeout=1)
            _consume(aws, f"{name}-dead-consumer", url, reports=False)
        return Deployment(
            url=deploy.rest_api(aws, name, "POST", "/orders", front),
            stored=DynamoDbTable(name) if self.dynamodb else Table("orders"),
            dead_letters=[*([Queue(dead)] if self.receives else []), *self.parked],
            sources=[Queue(name)],
        )


@dataclass(frozen=True, kw_only=True)
class Streamed:
    """API Gateway -> Lambda -> Kinesis -> Lambda -> Postgres.

    Attributes:
        front: As for `Queued`.
        consumer: The same.
        mapping: Parameters of the mapping.
        destination: Whether the mapping has an on-failure destination.
        timeout: Of the consumer, in seconds.
    """

    front: str = "orders/to_stream"
    consumer: str = "orders/from_stream"
    mapping: Mapping[str, Any] = field(
        default_factory=lambda: {
            "MaximumRetryAttempts": 2,
            "BisectBatchOnFunctionError": True,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        }
    )
    destination: bool = True
    timeout: int = 5

    def __call__(self, name: str, aws: Aws, db: Db) -> Deployment:
        """Deploy it."""
        kinesis = aws.client("kinesis")
        kinesis.create_stream(StreamName=name, ShardCount=1)
        while (found := kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"])[
            "StreamStatus"
        ] != "ACTIVE":
            time.sleep(_POLL_SECONDS)
        options = dict(self.mapping)
        failures = f"{name}-failures"
        if self.destination:
            url = aws.client("sqs").create_queue(QueueName=failures)["QueueUrl"]
            options["DestinationConfig"] = {"OnFailure": {"Destination": deploy.queue_arn(aws, url)}}
        reach = {"DATABASE_DSN": db.dsn, "STREAM_NAME": name}
        front = _function(aws, f"{name}-front", self.front, reach)
        _function(aws, f"{name}-consumer", self.consumer, reach, timeout=self.timeout)
        aws.client("lambda").create_event_source_mapping(
            FunctionName=f"{name}-consumer",
            EventSourceArn=found["StreamARN"],
            StartingPosition="TRIM_HORIZON",
            BatchSize=10,
            **options,
        )
        return Deployment(
            url=deploy.rest_api(aws, name, "POST", "/orders", front),
            dead_letters=[StreamFailures(failures, name)] if self.destination else [],
            sources=[Stream(name)],
        )


@dataclass(frozen=True, kw_only=True)
class Direct:
    """API Gateway -> Lambda -> Postgres, and a queue for notifications.

    Attributes:
        handler: As for `Queued`.
        sql: Changes the schema.
        timeout: Of the function, in seconds.
    """

    handler: str
    sql: str = ""
    timeout: int = 10

    def __call__(self, name: str, aws: Aws, db: Db) -> Deployment:
        """Deploy it."""
        queue = aws.client("sqs").create_queue(QueueName=f"{name}-notices")["QueueUrl"]
        if self.sql:
            db.execute(self.sql)
        function = _function(
            aws, name, self.handler, {"DATABASE_DSN": db.dsn, "QUEUE_URL": queue}, timeout=self.timeout
        )
        return Deployment(url=deploy.rest_api(aws, name, "POST", "/orders", function))


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    """API Gateway -> Lambda, asynchronously -> Lambda -> Postgres.

    Attributes:
        destination: Whether the second function has an on-failure destination.
    """

    destination: bool

    def __call__(self, name: str, aws: Aws, db: Db) -> Deployment:
        """Deploy it."""
        store = _function(aws, f"{name}-store", "naive/store_event", {"DATABASE_DSN": db.dsn})
        if self.destination:
            url = aws.client("sqs").create_queue(QueueName=f"{name}-failures")["QueueUrl"]
            aws.client("lambda").put_function_event_invoke_config(
                FunctionName=store, DestinationConfig={"OnFailure": {"Destination": deploy.queue_arn(aws, url)}}
            )
        front = _function(aws, f"{name}-front", "naive/hand_over", {"STORE": f"{name}-store"})
        return Deployment(
            url=deploy.rest_api(aws, name, "POST", "/orders", front),
            dead_letters=[AsyncFailures(f"{name}-failures")] if self.destination else [],
        )


@dataclass(frozen=True, kw_only=True)
class Charged:
    """API Gateway -> Lambda, a client itself -> API Gateway -> Lambda -> Postgres.

    Attributes:
        client: As `Queued.front`.
    """

    client: str

    def __call__(self, name: str, aws: Aws, db: Db) -> Deployment:
        """Deploy it."""
        charge = _function(aws, f"{name}-charge", "naive/charge", {"DATABASE_DSN": db.dsn})
        inner = deploy.rest_api(aws, f"{name}-charge", "POST", "/charges", charge)
        client = _function(aws, f"{name}-client", self.client, {"CHARGE_URL": f"{inner}/charges"})
        return Deployment(url=deploy.rest_api(aws, name, "POST", "/orders", client), stored=Table("charges"))


def _function(aws: Aws, name: str, module: str, environment: Mapping[str, str], *, timeout: int = 10) -> str:
    folder, _, file = module.partition("/")
    return deploy.function(aws, name, FUNCTIONS / folder, f"{file}.handler", timeout=timeout, environment=environment)


def _consume(aws: Aws, function: str, queue: str, *, reports: bool, batch: int = 10) -> None:
    client = aws.client("lambda")
    mapping = client.create_event_source_mapping(
        FunctionName=function,
        EventSourceArn=deploy.queue_arn(aws, queue),
        BatchSize=batch,
        ScalingConfig={"MaximumConcurrency": 2},  # so that orders share batches
        **({"FunctionResponseTypes": ["ReportBatchItemFailures"]} if reports else {}),
    )
    while client.get_event_source_mapping(UUID=mapping["UUID"])["State"] != "Enabled":
        time.sleep(_POLL_SECONDS)


def _table(aws: Aws, name: str) -> None:
    aws.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )


@dataclass(frozen=True, kw_only=True)
class PlantedBug:
    """A bug, the fault that brings it to light, and what the ledger must say.

    Attributes:
        name: In a few words, with hyphens.
        wrong: What is done wrong, and what becomes of the data.
        naive: The architecture with the bug.
        mended: The same without it; None where there is no other way to mend it than not to do it.
        mending: What was changed.
        faults: Makes the faults from the name of the architecture.
        fault: The same in words.
        poison: In the traffic; None for none.
        caught: Every anomaly that there must be, and no other; empty where the verdict must be unknown.
        left: Whether orders must be left in a source.
        orders: How many are sent.
    """

    name: str
    wrong: str
    naive: Way
    mended: Way | None
    mending: str
    fault: str
    caught: tuple[str, ...]
    faults: Callable[[str], Sequence[Fault]] = lambda _: ()
    poison: Poison | None = None
    left: bool = False
    orders: int = 30

    @property
    def scenario(self) -> Scenario:
        """The naive and the mended architecture under the same traffic and faults."""
        ways = {f"{self.name}": self.naive, f"{self.name}-mended": self.mended}
        return Scenario(
            name=self.name,
            summary=self.wrong,
            database=Database(max_connections=MAX_CONNECTIONS, schema=SCHEMA),
            traffic=Traffic(arrivals=Constant(rate=_RATE, seconds=self.orders / _RATE), order=_order, timeout=8),
            chaos=[self.poison] if self.poison else [],
            architectures=[
                Architecture(
                    name=name,
                    summary=self.wrong,
                    deploy=lambda aws, db, name=name, way=way: way(name, aws, db),  # type: ignore[misc]
                    expectations=[_no(anomaly) for anomaly in ANOMALIES],
                    chaos=self.faults(name),
                )
                for name, way in ways.items()
                if way
            ],
            profile=_PROFILE,
            drain_seconds=2 if self.left else 20,
        )


MAX_CONNECTIONS: Final = 30
_RATE: Final = 80
_PROFILE: Final = replace(profiles.aws.compress(20), asynchronous=profiles.aws.asynchronous.compress(300))


def _order(order_id: str, rng: Random) -> dict[str, Any]:
    return {"id": order_id, "customer": "c", "sku": "s", "quantity": rng.randint(1, 9), "total_cents": 100}


def _no(anomaly: str) -> Expectation:
    def check(facts: Facts) -> tuple[bool, str]:
        count = getattr(facts.ledger, anomaly)
        return count == 0, f"{count}: {json.dumps(facts.ledger.examples.get(anomaly, ()))}"

    return Expectation(anomaly, check)


def _kills(name: str) -> Sequence[Fault]:
    """The first two batches fail after the function has done its work."""
    return [EnvironmentKilled(resources=(f"{name}-consumer",), moment="after", when=at_most(2))]


BUGS: Final = (
    PlantedBug(
        name="acknowledge-before-write",
        wrong="the consumer deletes its messages, and writes the rows afterwards",
        naive=Queued(consumer="naive/acknowledge_before_write", receives=9),
        mended=Queued(receives=9),
        mending="the mapping deletes what was stored",
        fault="environments are killed in the middle of a batch, while the database is slow",
        faults=lambda name: [
            SlowPostgres(latency_ms=60),
            EnvironmentKilled(resources=(f"{name}-consumer",), seconds=0.15, when=at_most(3)),
        ],
        caught=("lost",),
    ),
    PlantedBug(
        name="swallow-exceptions",
        wrong="the consumer logs each exception, and returns as if there had been none",
        naive=Queued(consumer="naive/swallow_exceptions"),
        mended=Queued(),
        mending="failures are reported one by one, and tried again",
        fault="Postgres aborts some statements with 40001",
        faults=lambda _: [SqlError(sqlstate="40001", when=at_most(5))],
        caught=("lost",),
    ),
    PlantedBug(
        name="report-to-nobody",
        wrong="the consumer returns a partial batch response, the mapping has no `ReportBatchItemFailures`",
        naive=Queued(consumer="naive/report_to_nobody", reports=False),
        mended=Queued(consumer="naive/report_to_nobody", receives=1),
        mending="the mapping has it",
        fault="poison",
        poison=POISON,
        caught=("lost",),
    ),
    PlantedBug(
        name="empty-item-identifier",
        wrong="the consumer reports failures with an empty `itemIdentifier`, which fails the whole batch",
        naive=Queued(consumer="naive/empty_item_identifier", receives=1),
        mended=Queued(receives=1),
        mending="the identifier is the message's",
        fault="poison",
        poison=POISON,
        caught=("collateral",),
    ),
    PlantedBug(
        name="insert-again",
        wrong="the consumer inserts without a key, and messages are delivered more than once",
        naive=Queued(consumer="naive/insert_again", sql=NO_KEY),
        mended=Queued(),
        mending="a primary key, and `ON CONFLICT DO NOTHING`",
        fault="environments are killed after their handler has returned",
        faults=_kills,
        caught=("duplicated",),
    ),
    PlantedBug(
        name="visibility-too-short",
        wrong="the queue's visibility timeout ends before the work does: others begin it again",
        naive=Queued(consumer="naive/insert_again", sql=NO_KEY, timeout=6, visible_after=1, receives=9),
        mended=Queued(consumer="naive/insert_again", sql=NO_KEY, timeout=6),
        mending="a visibility timeout above the function's",
        fault="a slow database",
        faults=lambda _: [SlowPostgres(latency_ms=250)],
        orders=14,
        caught=("duplicated",),
    ),
    PlantedBug(
        name="one-receive",
        wrong="`maxReceiveCount` is 1, and batches that are throttled have been received",
        naive=Queued(receives=1, timeout=1),
        mended=Queued(receives=9, timeout=1),
        mending="`maxReceiveCount` is 9",
        fault="the consumer is throttled 40 times",
        faults=lambda name: [Throttle(service="lambda", resources=(f"{name}-consumer",), when=at_most(40))],
        caught=("collateral",),
    ),
    PlantedBug(
        name="short-retention",
        wrong="messages expire in the queue while nobody reads it, and there is no dead-letter queue",
        naive=Queued(receives=0, retention=1),
        mended=Queued(),
        mending="SQS's own retention of four days, and a dead-letter queue",
        fault="ReceiveMessage is throttled for three and a half seconds",
        faults=lambda name: [
            Throttle(service="sqs", operations=("ReceiveMessage",), resources=(name,), during=(0, 3.5))
        ],
        caught=("lost",),
    ),
    PlantedBug(
        name="no-stream-destination",
        wrong="the stream's mapping gives batches up after two retries, and has no on-failure destination",
        naive=Streamed(consumer="naive/fail_the_shard", mapping={"MaximumRetryAttempts": 2}, destination=False),
        mended=Streamed(),
        mending="an on-failure destination, bisection, partial batch responses",
        fault="poison",
        poison=POISON,
        caught=("lost",),
    ),
    PlantedBug(
        name="endless-retries",
        wrong="the stream's mapping retries for ever, which is the default: one bad record stops the shard",
        naive=Streamed(consumer="naive/fail_the_shard", mapping={}, destination=False),
        mended=Streamed(),
        mending="two retries, an on-failure destination, bisection, partial batch responses",
        fault="poison",
        poison=POISON,
        caught=(),
        left=True,
    ),
    PlantedBug(
        name="no-async-destination",
        wrong="a function is invoked asynchronously, and has neither a dead-letter queue nor a destination",
        naive=HandedOver(destination=False),
        mended=HandedOver(destination=True),
        mending="an on-failure destination",
        fault="poison",
        poison=POISON,
        caught=("lost",),
    ),
    PlantedBug(
        name="drop-dead-letters",
        wrong="the consumer of the dead-letter queue logs what it reads",
        naive=Queued(dead_letter_consumer="naive/drop_dead_letters", receives=1),
        mended=Queued(dead_letter_consumer="mended/park_dead_letters", receives=1, parked=[Table("parked")]),
        mending="it parks them in a table",
        fault="poison",
        poison=POISON,
        caught=("lost",),
    ),
    PlantedBug(
        name="store-anything",
        wrong="the consumer stores whatever has an id",
        naive=Queued(consumer="naive/store_anything"),
        mended=Queued(receives=1),
        mending="what is no order is refused, and dead-lettered",
        fault="poison",
        poison=POISON,
        caught=("poison_stored",),
    ),
    PlantedBug(
        name="fail-the-batch",
        wrong="one bad record fails its batch, whose healthy orders are dead-lettered with it",
        naive=Queued(consumer="naive/fail_the_batch", receives=1),
        mended=Queued(receives=1),
        mending="failures are reported one by one",
        fault="poison",
        poison=POISON,
        caught=("collateral",),
    ),
    PlantedBug(
        name="put-and-hope",
        wrong="the front takes status 200 of PutRecords for success, and looks at no `FailedRecordCount`",
        naive=Streamed(front="naive/put_and_hope"),
        mended=Streamed(front="mended/put_until_taken"),
        mending="records that failed are put again",
        fault="in some calls of PutRecords a part of the entries fails",
        faults=lambda name: [PartialFailure(service="kinesis", resources=(name,), probability=0.4)],
        caught=("lost",),
    ),
    PlantedBug(
        name="write-batch-and-hope",
        wrong="the consumer ignores the `UnprocessedItems` of BatchWriteItem",
        naive=Queued(consumer="naive/write_batch_and_hope", dynamodb=True),
        mended=Queued(consumer="mended/write_until_done", dynamodb=True),
        mending="they are written again",
        fault="in most calls of BatchWriteItem a part of the entries fails",
        faults=lambda name: [PartialFailure(service="dynamodb", resources=(name,), probability=0.8, when=attempts(1))],
        caught=("lost",),
    ),
    PlantedBug(
        name="retry-the-commit",
        wrong="the handler inserts again when the reply to COMMIT is lost",
        naive=Direct(handler="naive/retry_the_commit", sql=NO_KEY),
        mended=Direct(handler="mended/commit_once"),
        mending="the order's id is the key",
        fault="COMMIT is executed, and the connection breaks before the reply",
        faults=lambda _: [PostgresReset(operations=("Commit",), position="after", when=at_most(2))],
        caught=("duplicated",),
    ),
    PlantedBug(
        name="answer-first",
        wrong="the customer has a 202 before the queue has the order",
        naive=Queued(front="naive/answer_first"),
        mended=Queued(),
        mending="the answer comes after SQS's",
        fault="the first attempt of every third SendMessage is throttled",
        faults=lambda name: [
            Throttle(service="sqs", operations=("SendMessage",), resources=(name,), probability=0.3, when=attempts(1))
        ],
        caught=("lost",),
    ),
    PlantedBug(
        name="retry-without-a-key",
        wrong="a client repeats a request after a 502, and sends no idempotency key",
        naive=Charged(client="naive/retry_without_a_key"),
        mended=Charged(client="mended/retry_with_a_key"),
        mending="it sends the customer's key",
        fault="environments are killed after their handler has returned",
        faults=lambda name: [EnvironmentKilled(resources=(f"{name}-charge",), moment="after", when=at_most(2))],
        caught=("duplicated",),
    ),
    PlantedBug(
        name="refuse-what-is-stored",
        wrong="the handler stores the order, fails at the notification, and answers 503",
        naive=Direct(handler="naive/refuse_what_is_stored"),
        mended=Direct(handler="mended/notify_or_undo"),
        mending="both in one transaction",
        fault="SendMessage is throttled",
        faults=lambda _: [Throttle(service="sqs", operations=("SendMessage",), probability=0.3)],
        caught=("refused_but_stored",),
    ),
    PlantedBug(
        name="work-after-the-write",
        wrong="the handler stores the order, and then waits for something slow until it times out",
        naive=Direct(handler="naive/work_after_the_write", timeout=2),
        mended=None,
        mending="nothing slow after the write",
        fault="some calls of SQS take four seconds",
        faults=lambda _: [Latency(service="sqs", operations=("SendMessage",), latency_ms=4000, probability=0.2)],
        caught=("ghost",),
    ),
    PlantedBug(
        name="make-up-ids",
        wrong="the handler stores orders under ids of its own",
        naive=Direct(handler="naive/make_up_ids"),
        mended=Direct(handler="orders/sync"),
        mending="the customer's id",
        fault="none",
        caught=("lost", "unexpected"),
    ),
)


def page() -> str:
    """docs/planted-bugs.md."""
    return "\n".join([_HEAD, *(_row(bug) for bug in BUGS), ""])


_HEAD: Final = """# Planted bugs, and what caught them

Ways in which real systems lose, double or hide data. Each is planted in an architecture that is deployed for real
(LocalStack, Postgres, boto3, psycopg) and put under a fault; the ledger must call what happened by its
[name](ledger.md), and by no other. The same architecture, mended, must be `valid` under the same fault.

Generated from [tests/integration/planted_bugs.py](../tests/integration/planted_bugs.py), which
[test_planted_bugs.py](../tests/integration/test_planted_bugs.py) runs.

| planted bug | what is wrong | the fault | what caught it | mended by |
|---|---|---|---|---|"""


def _row(bug: PlantedBug) -> str:
    caught = ", ".join(f"`{name}`" for name in bug.caught) or "`left`, and the verdict `unknown`"
    return f"| {bug.name} | {bug.wrong} | {bug.fault} | {caught} | {bug.mending} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
