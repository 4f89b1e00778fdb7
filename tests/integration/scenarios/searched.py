"""A front that forgets what SQS does not take, and one that says so: a search must tell them apart."""

from pathlib import Path

from testbed import Architecture, Aws, Constant, Database, Db, Deployment, Queue, Scenario, Traffic, claims, deploy
from testbed.scenario import Deploy

HANDLERS = Path(__file__).parent / "handlers"


def front(name: str, forgives: str) -> Deploy:
    """API Gateway -> Lambda -> SQS, and nobody reads the queue."""

    def deployed(aws: Aws, _db: Db) -> Deployment:
        queue = aws.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        environment = {"QUEUE_URL": queue, "FORGIVES": forgives}
        function = deploy.function(aws, name, HANDLERS, "to_queue_or_not.handler", environment=environment)
        return Deployment(url=deploy.rest_api(aws, name, "POST", "/orders", function), stored=Queue(name))

    return deployed


SCENARIO = Scenario(
    name="searched",
    summary="a front before a queue",
    database=Database(schema="CREATE TABLE orders (id text PRIMARY KEY)"),
    traffic=Traffic(arrivals=Constant(rate=20, seconds=1), order=lambda order_id, _: {"id": order_id}, timeout=10),
    architectures=[
        Architecture(
            name=name,
            summary=summary,
            deploy=front(name, forgives),
            expectations=[claims.no_acknowledged_order_is_lost()],
        )
        for name, forgives, summary in (
            ("forgetful", "yes", "answers 202 whatever SQS says"),
            ("honest", "no", "answers 503 when SQS does not take an order"),
        )
    ],
)
