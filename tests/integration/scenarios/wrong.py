"""Architectures that cannot work, each for a reason that its author must be told."""

from pathlib import Path

from testbed import Architecture, Aws, Constant, Database, Db, Deployment, Scenario, Table, Traffic, claims, deploy

HANDLERS = Path(__file__).parent / "handlers"


def unimportable(aws: Aws, _db: Db) -> Deployment:
    """API Gateway -> a function that does not load."""
    function = deploy.function(aws, "unimportable", HANDLERS, "cannot_be_imported.handler")
    return Deployment(url=deploy.rest_api(aws, "unimportable", "POST", "/orders", function), stored=Table("orders"))


def java(aws: Aws, _db: Db) -> Deployment:
    """A function of a runtime that the testbed does not run."""
    aws.client("lambda").create_function(
        FunctionName="written-in-java",
        Runtime="java21",
        Role="arn:aws:iam::000000000000:role/any",
        Handler="example.Handler",
        Code={"ZipFile": b"PK"},
    )
    raise AssertionError("the testbed took it")


SCENARIO = Scenario(
    name="wrong",
    summary="nothing works",
    database=Database(max_connections=10, schema="CREATE TABLE orders (id text PRIMARY KEY)"),
    traffic=Traffic(arrivals=Constant(rate=40, seconds=0.5), order=lambda order_id, _: {"id": order_id}),
    architectures=[
        Architecture(name=name, summary="wrong", deploy=deployed, expectations=[claims.no_acknowledged_order_is_lost()])
        for name, deployed in (("unimportable", unimportable), ("java", java))
    ],
)
