"""``testbed up``: a testbed to work with by hand."""

import os
import secrets
import shlex
from collections.abc import Callable

from testbed.catalog import load_scenario
from testbed.errors import EngineDiedError
from testbed.running import RunningTestbed, running_testbed
from testbed.scenario import Scenario
from testbed.trial import deployed

_DEFAULT_CONNECTIONS = 20


async def keep_up(
    name: str | None, *, port: int, engine: str, max_connections: int | None, tell: Callable[[str], None]
) -> None:
    """Start a testbed, deploy a scenario if one is named, say how to use it, and keep it until it is cancelled.

    Args:
        name: Name or path of the scenario; None deploys nothing.
        port: Of the endpoint.
        engine: ``"auto"``, ``"process"`` or ``"container"``.
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
    token = os.environ.get("TESTBED_TOKEN") or secrets.token_urlsafe(24)
    async with running_testbed(
        max_connections=max_connections, progress=tell, port=port, engine=engine, token=token
    ) as bed:
        await bed.create_database("app")
        print(_how_to_use(bed), flush=True)  # noqa: T201 - the command's answer
        if scenario:
            print(flush=True)  # noqa: T201 - the same
            await _deploy(bed, scenario)
        else:  # what is deployed has taken the names that a run would need
            print(_how_to_run(bed, token), flush=True)  # noqa: T201 - the same
        print(_how_to_break(bed, token), flush=True)  # noqa: T201 - the same
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


def _how_to_run(bed: RunningTestbed, token: str) -> str:
    dsn = bed.database("postgres").admin_dsn
    return "\n".join(
        [
            "",
            "In another terminal a scenario runs on it:",
            "",
            f"  export TESTBED_TOKEN={token}",
            f"  testbed run flash-sale --endpoint {bed.aws.endpoint_url} --dsn {shlex.quote(dsn)}",
        ]
    )


def _how_to_break(bed: RunningTestbed, token: str) -> str:
    fault = '{"type": "Throttle", "service": "sqs", "probability": 0.5}'
    return "\n".join(
        [
            "",
            "Faults act until they are removed, or a run begins:",
            "",
            f"  curl -H 'x-testbed-token: {token}' {bed.aws.endpoint_url}/_testbed/chaos -d '{fault}'",
            f"  curl -H 'x-testbed-token: {token}' {bed.aws.endpoint_url}/_testbed/chaos -X DELETE",
        ]
    )


async def _deploy(bed: RunningTestbed, scenario: Scenario) -> None:
    await bed.plane.call("profile", profile=scenario.profile.to_json())
    for architecture in scenario.architectures:
        db = await bed.create_database(architecture.name.replace("-", "_"))
        deployment = await deployed(scenario, architecture, bed.aws, db)
        print(  # noqa: T201 - the command's answer
            f"{architecture.name}\n  POST {deployment.url}{scenario.traffic.path}\n  database {db.dsn}", flush=True
        )
