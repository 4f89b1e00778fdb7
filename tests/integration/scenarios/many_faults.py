"""Two seconds of orders through an API, a queue and two functions, under faults of every hop that the seed decides."""

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
    Duplicate,
    InvocationDelay,
    InvocationError,
    InvocationHttpResponse,
    Latency,
    LostReply,
    Queue,
    Scenario,
    ServiceError,
    Table,
    Throttle,
    Traffic,
    claims,
    deploy,
)
from testbed.chaos.trigger import attempts, every_nth, probability

ORDERS = Path(__file__).parents[3] / "functions" / "orders"
SCHEMA = """
    CREATE TABLE orders (
        id text PRIMARY KEY, customer text NOT NULL, sku text NOT NULL, quantity integer NOT NULL,
        total_cents integer NOT NULL
    )
"""


def order(order_id: str, rng: Random) -> dict[str, Any]:
    """An order of no interest."""
    return {"id": order_id, "customer": "c", "sku": "s", "quantity": rng.randint(1, 9), "total_cents": 100}


def queued(aws: Aws, db: Db) -> Deployment:
    """API Gateway -> Lambda -> SQS -> Lambda -> Postgres."""
    queue = aws.client("sqs").create_queue(QueueName="many")["QueueUrl"]
    front = deploy.function(aws, "front", ORDERS, "to_queue.handler", environment={"QUEUE_URL": queue})
    deploy.function(aws, "back", ORDERS, "from_queue.handler", environment={"DATABASE_DSN": db.dsn})
    aws.client("lambda").create_event_source_mapping(FunctionName="back", EventSourceArn=deploy.queue_arn(aws, queue))
    return Deployment(
        url=deploy.rest_api(aws, "many", "POST", "/orders", front), stored=Table("orders"), sources=[Queue("many")]
    )


SCENARIO = Scenario(
    name="many-faults",
    summary="two seconds of orders",
    database=Database(max_connections=50, schema=SCHEMA),
    traffic=Traffic(arrivals=Constant(rate=40, seconds=2), order=order, timeout=10),
    chaos=[
        Latency(service="execute-api", latency_ms=20, jitter_ms=10, position="after", probability=0.2),
        ServiceError(service="execute-api", when=every_nth(9)),
        Throttle(service="lambda", resources=("front",), when=~probability(0.9)),
        ServiceError(service="lambda", resources=("front",), position="after", probability=0.05),
        InvocationError(resources=("front",), prevent_execution=False, probability=0.05),
        InvocationHttpResponse(resources=("front",), status=418, during=(1, 2), probability=0.1),
        InvocationDelay(resources=("front",), seconds=0.02, probability=0.1),
        Throttle(
            service="sqs", operations=("SendMessage",), callers=("function",), when=attempts(1) & probability(0.2)
        ),
        LostReply(service="sqs", operations=("SendMessage",), callers=("function",), probability=0.1),
        Duplicate(service="sqs", operations=("SendMessage",), probability=0.1),
    ],
    architectures=[
        Architecture(
            name="queued",
            summary="through a queue",
            deploy=queued,
            expectations=[claims.no_acknowledged_order_is_lost()],
        )
    ],
)
