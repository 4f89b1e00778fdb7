"""Two seconds of orders for functions that lose their concurrency, or their event source mapping, for a while."""

from pathlib import Path
from random import Random
from typing import Any

from testbed import (
    Architecture,
    Aws,
    Constant,
    Database,
    Db,
    Deployment,
    Queue,
    Scenario,
    Table,
    Traffic,
    claims,
    deploy,
)
from testbed.chaos.faults.taken_away import ConcurrencyTaken, MappingOff
from testbed.chaos.timed import TimedFault
from testbed.scenario import Deploy

ORDERS = Path(__file__).parents[3] / "functions" / "orders"
HANDLERS = Path(__file__).parent / "handlers"
SCHEMA = "CREATE TABLE orders (id text PRIMARY KEY, customer text, sku text, quantity integer, total_cents integer)"


def order(order_id: str, _rng: Random) -> dict[str, Any]:
    """An order of no interest."""
    return {"id": order_id, "customer": "c", "sku": "s", "quantity": 1, "total_cents": 100}


def direct(aws: Aws, db: Db) -> Deployment:
    """API Gateway -> Lambda -> Postgres."""
    store = deploy.function(aws, "taken-direct", ORDERS, "sync.handler", environment={"DATABASE_DSN": db.dsn})
    aws.client("lambda").put_function_concurrency(FunctionName="taken-direct", ReservedConcurrentExecutions=40)
    return Deployment(url=deploy.rest_api(aws, "taken-direct", "POST", "/orders", store), stored=Table("orders"))


def queued(aws: Aws, db: Db) -> Deployment:
    """API Gateway -> Lambda -> SQS -> Lambda -> Postgres."""
    queue = aws.client("sqs").create_queue(QueueName="taken-orders")["QueueUrl"]
    environment = {"QUEUE_URL": queue}
    front = deploy.function(aws, "taken-front", HANDLERS, "to_queue_once.handler", environment=environment)
    deploy.function(aws, "taken-consumer", ORDERS, "from_queue.handler", environment={"DATABASE_DSN": db.dsn})
    aws.client("lambda").create_event_source_mapping(
        FunctionName="taken-consumer",
        EventSourceArn=deploy.queue_arn(aws, queue),
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    return Deployment(
        url=deploy.rest_api(aws, "taken-front", "POST", "/orders", front),
        stored=Table("orders"),
        sources=[Queue("taken-orders")],
    )


def architecture(name: str, deployed: Deploy, fault: TimedFault) -> Architecture:
    """One of them, with the one expectation that they share."""
    return Architecture(
        name=name,
        summary=str(deployed.__doc__),
        deploy=deployed,
        expectations=[claims.no_acknowledged_order_is_lost()],
        chaos=[fault],
    )


SCENARIO = Scenario(
    name="taken-away",
    summary="two seconds of orders",
    database=Database(schema=SCHEMA),
    traffic=Traffic(arrivals=Constant(rate=10, seconds=2), order=order, timeout=5),
    architectures=[
        architecture(
            "taken-direct", direct, ConcurrencyTaken(name="taken", function="taken-direct", at=0.2, seconds=60)
        ),
        architecture("taken-queued", queued, MappingOff(name="off", function="taken-consumer", at=0.2, seconds=1.2)),
    ],
)
