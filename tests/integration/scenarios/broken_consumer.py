"""A consumer that acknowledges before it writes meets a slow database: the ledger must call its orders lost."""

from pathlib import Path

from testbed import (
    Architecture,
    Aws,
    Constant,
    Database,
    Db,
    Deployment,
    Queue,
    Scenario,
    SlowPostgres,
    Table,
    Traffic,
    claims,
    deploy,
)

FUNCTIONS = Path(__file__).parents[3] / "functions"


def acknowledges_before_it_writes(aws: Aws, db: Db) -> Deployment:
    """API Gateway -> Lambda -> SQS -> Lambda, the wrong way round, -> Postgres."""
    sqs = aws.client("sqs")
    dead = sqs.create_queue(QueueName="naive-dead")["QueueUrl"]
    queue = sqs.create_queue(
        QueueName="naive",
        Attributes={"VisibilityTimeout": "1", "RedrivePolicy": deploy.redrive_policy(aws, dead, max_receive_count=2)},
    )["QueueUrl"]
    front = deploy.function(
        aws, "naive-front", FUNCTIONS / "orders", "to_queue.handler", environment={"QUEUE_URL": queue}
    )
    deploy.function(
        aws,
        "naive-consumer",
        FUNCTIONS / "naive",
        "acknowledge_before_write.handler",
        timeout=1,
        environment={"DATABASE_DSN": db.dsn, "QUEUE_URL": queue},
    )
    aws.client("lambda").create_event_source_mapping(
        FunctionName="naive-consumer", EventSourceArn=deploy.queue_arn(aws, queue), BatchSize=10
    )
    return Deployment(
        url=deploy.rest_api(aws, "naive", "POST", "/orders", front),
        stored=Table("orders"),
        dead_letters=[Queue("naive-dead")],
        sources=[Queue("naive")],
    )


SCENARIO = Scenario(
    name="broken-consumer",
    summary="a consumer that acknowledges before it writes",
    database=Database(schema="CREATE TABLE orders (id text PRIMARY KEY)"),
    traffic=Traffic(arrivals=Constant(rate=40, seconds=3), order=lambda order_id, _: {"id": order_id}),
    chaos=[SlowPostgres(name="slow-postgres", latency_ms=300, during=(0, 6))],
    architectures=[
        Architecture(
            name="naive",
            summary="deletes each message, then writes it",
            deploy=acknowledges_before_it_writes,
            expectations=[claims.every_order_is_accepted(), claims.no_acknowledged_order_is_lost()],
        )
    ],
    drain_seconds=30,
)
