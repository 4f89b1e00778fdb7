"""One second of orders for a good architecture, one that never drains, and one under faults."""

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
    Latency,
    LockHeld,
    Poison,
    Queue,
    Scenario,
    Table,
    Throttle,
    Traffic,
    claims,
    deploy,
)
from testbed.chaos.fault import Fault
from testbed.chaos.trigger import at_most
from testbed.scenario import Deploy

ORDERS = Path(__file__).parents[3] / "functions" / "orders"
HANDLERS = Path(__file__).parent / "handlers"
SCHEMA = """
    CREATE TABLE orders (
        id text PRIMARY KEY, customer text NOT NULL, sku text NOT NULL, quantity integer NOT NULL,
        total_cents integer NOT NULL
    )
"""


def order(order_id: str, rng: Random) -> dict[str, Any]:
    """An order of no interest."""
    return {"id": order_id, "customer": "c", "sku": "s", "quantity": rng.randint(1, 9), "total_cents": 100}


def direct(aws: Aws, db: Db) -> Deployment:
    """API Gateway -> Lambda -> Postgres."""
    store = deploy.function(aws, "direct", ORDERS, "sync.handler", environment={"DATABASE_DSN": db.dsn})
    return Deployment(url=deploy.rest_api(aws, "direct", "POST", "/orders", store), stored=Table("orders"))


def stuck(aws: Aws, _db: Db) -> Deployment:
    """API Gateway -> Lambda -> SQS -> a consumer that never succeeds."""
    queue = aws.client("sqs").create_queue(QueueName="stuck")["QueueUrl"]
    front = deploy.function(aws, "stuck-front", ORDERS, "to_queue.handler", environment={"QUEUE_URL": queue})
    deploy.function(aws, "stuck-consumer", HANDLERS, "never_done.handler")
    aws.client("lambda").create_event_source_mapping(
        FunctionName="stuck-consumer", EventSourceArn=deploy.queue_arn(aws, queue)
    )
    return Deployment(
        url=deploy.rest_api(aws, "stuck", "POST", "/orders", front), stored=Table("orders"), sources=[Queue("stuck")]
    )


def chaotic(aws: Aws, db: Db) -> Deployment:
    """As `direct`, under a name of its own for its faults."""
    store = deploy.function(aws, "chaotic", ORDERS, "sync.handler", environment={"DATABASE_DSN": db.dsn})
    return Deployment(url=deploy.rest_api(aws, "chaotic", "POST", "/orders", store), stored=Table("orders"))


def architecture(name: str, deployed: Deploy, *chaos: Fault) -> Architecture:
    """One of them, with the one expectation that they share."""
    return Architecture(
        name=name,
        summary=str(deployed.__doc__),
        deploy=deployed,
        expectations=[claims.no_acknowledged_order_is_lost()],
        chaos=chaos,
    )


SCENARIO = Scenario(
    name="tiny",
    summary="one second of orders",
    database=Database(max_connections=50, schema=SCHEMA),  # one for each order: no limit is met on a slow machine
    traffic=Traffic(arrivals=Constant(rate=40, seconds=1), order=order, timeout=5),
    chaos=[Poison(every=20)],
    architectures=[
        architecture("direct", direct),
        architecture("stuck", stuck),
        architecture(
            "chaotic",
            chaotic,
            Throttle(service="lambda", resources=("chaotic",), probability=0.3),
            Latency(name="counted", service="execute-api", latency_ms=10, when=at_most(5)),
            LockHeld(name="timed", table="orders", at=0.2, seconds=0.2),
        ),
    ],
)
