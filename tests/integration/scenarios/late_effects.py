"""Orders on their way while nothing is busy: in a state machine that waits, or in a call that nobody awaits."""

import json
from pathlib import Path
from random import Random
from typing import Any, Final

from testbed import (
    Architecture,
    Aws,
    Constant,
    Database,
    Db,
    Deployment,
    Latency,
    LockHeld,
    Queue,
    Scenario,
    SlowPostgres,
    Traffic,
    claims,
    deploy,
)
from testbed.chaos.fault import Fault
from testbed.scenario import ROLE, Deploy

ORDERS: Final = Path(__file__).parents[3] / "functions" / "orders"
HANDLERS: Final = Path(__file__).parent / "handlers"
SCHEMA: Final = (
    "CREATE TABLE orders (id text PRIMARY KEY, customer text, sku text, quantity integer, total_cents integer)"
)
TIMEOUT: Final = 1  # seconds of the functions that give up
LATE: Final = 2500  # milliseconds, of what they do not wait for


def order(order_id: str, _rng: Random) -> dict[str, Any]:
    """An order of no interest."""
    return {"id": order_id, "customer": "c", "sku": "s", "quantity": 1, "total_cents": 100}


def waiting(aws: Aws, db: Db) -> Deployment:
    """API Gateway -> Lambda -> Step Functions, which waits -> Lambda -> Postgres."""
    deploy.function(aws, "late-store", ORDERS, "sync.handler", environment={"DATABASE_DSN": db.dsn})
    store = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": "late-store", "Payload.$": "$"},
        "End": True,
    }
    states = {"Wait": {"Type": "Wait", "Seconds": 2, "Next": "Store"}, "Store": store}
    definition = json.dumps({"StartAt": "Wait", "States": states})
    machines = aws.client("stepfunctions")
    machine = machines.create_state_machine(name="late", definition=definition, roleArn=ROLE)["stateMachineArn"]
    front = deploy.function(aws, "late-begin", HANDLERS, "to_machine.handler", environment={"MACHINE": machine})
    return Deployment(url=deploy.rest_api(aws, "late-waiting", "POST", "/orders", front))


def queued(aws: Aws, db: Db) -> Deployment:
    """API Gateway -> Lambda, which is over before it has sent -> SQS -> Lambda -> Postgres."""
    queue = aws.client("sqs").create_queue(QueueName="late-orders")["QueueUrl"]
    front = deploy.function(
        aws, "late-front", HANDLERS, "to_queue_once.handler", timeout=TIMEOUT, environment={"QUEUE_URL": queue}
    )
    deploy.function(aws, "late-consumer", ORDERS, "from_queue.handler", environment={"DATABASE_DSN": db.dsn})
    aws.client("lambda").create_event_source_mapping(
        FunctionName="late-consumer",
        EventSourceArn=deploy.queue_arn(aws, queue),
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    url = deploy.rest_api(aws, "late-queued", "POST", "/orders", front)
    return Deployment(url=url, sources=[Queue("late-orders")])


def direct(name: str) -> Deploy:
    """API Gateway -> Lambda, which is over before it has stored -> Postgres."""

    def deployed(aws: Aws, db: Db) -> Deployment:
        environment = {"DATABASE_DSN": db.dsn}
        store = deploy.function(aws, name, ORDERS, "sync.handler", timeout=TIMEOUT, environment=environment)
        return Deployment(url=deploy.rest_api(aws, name, "POST", "/orders", store))

    return deployed


def architecture(name: str, deployed: Deploy, *chaos: Fault) -> Architecture:
    """One of them."""
    return Architecture(
        name=name,
        summary="an order is late",
        deploy=deployed,
        expectations=[claims.no_acknowledged_order_is_lost()],
        chaos=chaos,
    )


SCENARIO = Scenario(
    name="late-effects",
    summary="ten orders that come late",
    database=Database(max_connections=40, schema=SCHEMA),
    traffic=Traffic(arrivals=Constant(rate=20, seconds=0.5), order=order, timeout=5),
    architectures=[
        architecture("late-waiting", waiting),
        architecture(
            "late-queued", queued, Latency(name="late", service="sqs", operations=("SendMessage",), latency_ms=LATE)
        ),
        architecture(
            "late-stored", direct("late-stored"), SlowPostgres(name="late", operations=("Query",), latency_ms=LATE)
        ),
        architecture(
            "late-unlocked", direct("late-unlocked"), LockHeld(name="locked", at=0, seconds=60, table="orders")
        ),
    ],
)
