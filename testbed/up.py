"""``testbed up``: a testbed to work with by hand."""

from collections.abc import Callable

from testbed.catalog import load_scenario
from testbed.errors import EngineDiedError
from testbed.running import RunningTestbed, running_testbed
from testbed.scenario import Scenario
from testbed.trial import deployed

_DEFAULT_CONNECTIONS = 20


async def keep_up(name: str | None, *, port: int, max_connections: int | None, tell: Callable[[str], None]) -> None:
    """Start a testbed, deploy a scenario if one is named, say how to use it, and keep it until it is cancelled.

    Args:
        name: Name or path of the scenario; None deploys nothing.
        port: Of the endpoint.
        max_connections: Of Postgres; None for the scenario's, else 20.
        tell: Takes lines for people about what goes on.

    Raises:
        EngineDiedError: A part died.
        UsageError: The port is taken, or the scenario does not work.
        HarnessError: The testbed cannot do its work.
    """
    scenario = load_scenario(name) if name else None
    if max_connections is None:
        max_connections = scenario.database.max_connections if scenario else _DEFAULT_CONNECTIONS
    tell("starting LocalStack and Postgres")
    async with running_testbed(max_connections=max_connections, progress=tell, port=port) as bed:
        await bed.create_database("app")
        print(_how_to_use(bed), flush=True)  # noqa: T201 - the command's answer
        if scenario:
            print(flush=True)  # noqa: T201 - the same
            await _deploy(bed, scenario)
        print("\nCtrl-C stops everything.", flush=True)  # noqa: T201 - the same
        death = await bed.died()
        raise EngineDiedError(death.part, death.how, death.log_tail, hint="start it again")


def _how_to_use(bed: RunningTestbed) -> str:
    return "\n".join(
        [
            f"endpoint   {bed.aws.endpoint_url}",
            f"database   {bed.database('app').dsn}",
            f"logs       {bed.logs}",
            "",
            f"  export AWS_ENDPOINT_URL={bed.aws.endpoint_url} AWS_DEFAULT_REGION=us-east-1",
            "  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test",
            '  python -c \'import boto3; print(boto3.client("sqs").create_queue(QueueName="orders")["QueueUrl"])\'',
        ]
    )


async def _deploy(bed: RunningTestbed, scenario: Scenario) -> None:
    for architecture in scenario.architectures:
        db = await bed.create_database(architecture.name.replace("-", "_"))
        deployment = await deployed(scenario, architecture, bed.aws, db)
        print(  # noqa: T201 - the command's answer
            f"{architecture.name}\n  POST {deployment.url}{scenario.traffic.path}\n  database {db.dsn}", flush=True
        )
