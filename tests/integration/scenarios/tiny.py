"""One second of orders for one good architecture, one that never drains, and some that are wrong."""

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


def stuck(aws: Aws, db: Db) -> Deployment:
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


def unimportable(aws: Aws, db: Db) -> Deployment:
    """API Gateway -> a function that does not load."""
    function = deploy.function(aws, "unimportable", HANDLERS, "cannot_be_imported.handler")
    return Deployment(url=deploy.rest_api(aws, "unimportable", "POST", "/orders", function), stored=Table("orders"))


def java(aws: Aws, db: Db) -> Deployment:
    """A function of a runtime that the testbed does not run."""
    aws.client("lambda").create_function(
        FunctionName="written-in-java",
        Runtime="java21",
        Role="arn:aws:iam::000000000000:role/any",
        Handler="example.Handler",
        Code={"ZipFile": b"PK"},
    )
    raise AssertionError("the testbed took it")


def missing_table(aws: Aws, db: Db) -> Deployment:
    """As `direct`, but the ledger is sent to a table that is not there."""
    return Deployment(url=direct(aws, db).url, stored=Table("no_such_table"))


def architecture(name: str, deploy: Any) -> Architecture:
    """One of them, with the one expectation that they share."""
    return Architecture(
        name=name, summary=str(deploy.__doc__), deploy=deploy, expectations=[claims.no_acknowledged_order_is_lost()]
    )


SCENARIO = Scenario(
    name="tiny",
    summary="one second of orders",
    database=Database(max_connections=10, schema=SCHEMA),
    traffic=Traffic(arrivals=Constant(rate=40, seconds=1), order=order, timeout=5),
    architectures=[
        architecture("direct", direct),
        architecture("stuck", stuck),
        architecture("unimportable", unimportable),
        architecture("java", java),
        architecture("missing-table", missing_table),
    ],
)
