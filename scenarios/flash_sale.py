"""A flash sale: ten times the usual orders for a few seconds, a database that slows down, throttles, and poison.

The same orders go to three ways of building the same thing: store each order while the customer waits, or take it into
a queue or a stream and store it as fast as the database allows.
"""

from pathlib import Path
from random import Random
from typing import Any

from testbed import (
    Architecture,
    Aws,
    Database,
    Db,
    Deployment,
    Poison,
    Queue,
    Scenario,
    SlowPostgres,
    Spike,
    Stream,
    StreamFailures,
    Table,
    Throttle,
    Traffic,
    claims,
    deploy,
)

ORDERS = Path(__file__).parent.parent / "functions" / "orders"

SCHEMA = """
    CREATE TABLE orders (
        id text PRIMARY KEY,
        customer text NOT NULL,
        sku text NOT NULL,
        quantity integer NOT NULL CHECK (quantity > 0),
        total_cents integer NOT NULL
    )
"""

SALE = Spike(base_rate=28, factor=10, before=2, during=10, after=2)
THE_SPIKE = SALE.window("spike")
UNTIL_ALL_IS_DONE = (THE_SPIKE[0], 600.0)  # consumers work on what the spike has left behind


def order(order_id: str, rng: Random) -> dict[str, Any]:
    """What a customer orders."""
    quantity = rng.randint(1, 5)
    return {
        "id": order_id,
        "customer": f"c-{rng.randrange(100_000):05d}",
        "sku": f"sku-{rng.randrange(500):03d}",
        "quantity": quantity,
        "total_cents": quantity * rng.randrange(500, 20_000),
    }


def throttle(
    service: str, operation: str, resource: str, *, probability: float, during: tuple[float, float] = THE_SPIKE
) -> Throttle:
    """One attempt in so many is throttled."""
    return Throttle(
        name=f"{service}-throttle",
        service=service,
        operations=(operation,),
        resources=(resource,),
        probability=probability,
        during=during,
    )


def sync(aws: Aws, db: Db) -> Deployment:
    """API Gateway -> Lambda -> Postgres."""
    store = deploy.function(aws, "orders-sync", ORDERS, "sync.handler", timeout=5, environment={"DATABASE_DSN": db.dsn})
    return Deployment(url=deploy.rest_api(aws, "sync", "POST", "/orders", store), stored=Table("orders"))


def buffered_sqs(aws: Aws, db: Db) -> Deployment:
    """API Gateway -> Lambda -> SQS -> Lambda -> Postgres."""
    sqs = aws.client("sqs")
    dead = sqs.create_queue(QueueName="orders-dead")["QueueUrl"]
    queue = sqs.create_queue(
        QueueName="orders",
        Attributes={
            "VisibilityTimeout": "2",  # AWS asks for six times the function's timeout; a sale on a laptop is short
            "RedrivePolicy": deploy.redrive_policy(aws, dead, max_receive_count=3),
        },
    )["QueueUrl"]
    front = deploy.function(
        aws, "orders-to-queue", ORDERS, "to_queue.handler", timeout=20, environment={"QUEUE_URL": queue}
    )
    deploy.function(
        aws, "orders-from-queue", ORDERS, "from_queue.handler", timeout=2, environment={"DATABASE_DSN": db.dsn}
    )
    aws.client("lambda").create_event_source_mapping(
        FunctionName="orders-from-queue",
        EventSourceArn=deploy.queue_arn(aws, queue),
        BatchSize=5,
        ScalingConfig={"MaximumConcurrency": 10},  # well below what the database can take
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    return Deployment(
        url=deploy.rest_api(aws, "buffered-sqs", "POST", "/orders", front),
        stored=Table("orders"),
        dead_letters=[Queue("orders-dead")],
        sources=[Queue("orders")],
    )


def buffered_kinesis(aws: Aws, db: Db) -> Deployment:
    """API Gateway -> Lambda -> Kinesis -> Lambda -> Postgres."""
    kinesis = aws.client("kinesis")
    kinesis.create_stream(StreamName="orders", ShardCount=4)
    kinesis.get_waiter("stream_exists").wait(StreamName="orders", WaiterConfig={"Delay": 1})
    stream = kinesis.describe_stream_summary(StreamName="orders")["StreamDescriptionSummary"]["StreamARN"]
    failures = aws.client("sqs").create_queue(QueueName="orders-failures")["QueueUrl"]
    front = deploy.function(
        aws, "orders-to-stream", ORDERS, "to_stream.handler", timeout=20, environment={"STREAM_NAME": "orders"}
    )
    deploy.function(
        aws, "orders-from-stream", ORDERS, "from_stream.handler", timeout=30, environment={"DATABASE_DSN": db.dsn}
    )
    aws.client("lambda").create_event_source_mapping(
        FunctionName="orders-from-stream",
        EventSourceArn=stream,
        StartingPosition="TRIM_HORIZON",
        BatchSize=20,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=2,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        DestinationConfig={"OnFailure": {"Destination": deploy.queue_arn(aws, failures)}},
    )
    return Deployment(
        url=deploy.rest_api(aws, "buffered-kinesis", "POST", "/orders", front),
        stored=Table("orders"),
        dead_letters=[StreamFailures("orders-failures", "orders")],
        sources=[Stream("orders")],
    )


BUFFERED = [
    claims.every_order_is_accepted(),
    claims.no_acknowledged_order_is_lost(),
    claims.every_well_formed_order_is_stored_once(),
    claims.exactly_the_poison_is_dead_lettered(),
]

SCENARIO = Scenario(
    name="flash-sale",
    summary="ten times the usual orders meet a slow database with 20 connections",
    database=Database(max_connections=20, schema=SCHEMA),
    traffic=Traffic(arrivals=SALE, order=order),
    chaos=[
        Poison(every=100),
        SlowPostgres(name="slow-postgres", latency_ms=100, jitter_ms=40, during=THE_SPIKE),
    ],
    architectures=[
        Architecture(
            name="sync",
            summary="API Gateway -> Lambda -> Postgres",
            deploy=sync,
            chaos=[throttle("lambda", "Invoke", "orders-sync", probability=0.05)],
            expectations=[
                claims.orders_are_refused_for_known_causes("connection limit", "throttle", "timeout", "poison"),
                claims.no_acknowledged_order_is_lost(),
                claims.no_poison_is_stored(),
            ],
        ),
        Architecture(
            name="buffered-sqs",
            summary="API Gateway -> Lambda -> SQS -> Lambda -> Postgres",
            deploy=buffered_sqs,
            chaos=[
                throttle("sqs", "SendMessage", "orders", probability=0.05),
                throttle("lambda", "Invoke", "orders-from-queue", probability=0.1, during=UNTIL_ALL_IS_DONE),
            ],
            expectations=BUFFERED,
        ),
        Architecture(
            name="buffered-kinesis",
            summary="API Gateway -> Lambda -> Kinesis -> Lambda -> Postgres",
            deploy=buffered_kinesis,
            chaos=[
                throttle("kinesis", "PutRecord", "orders", probability=0.05),
                throttle("lambda", "Invoke", "orders-from-stream", probability=0.05, during=UNTIL_ALL_IS_DONE),
            ],
            expectations=BUFFERED,
        ),
    ],
    drain_seconds=60,
)
