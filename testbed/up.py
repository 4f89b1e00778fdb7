"""``testbed up`` and ``testbed doctor``: a testbed to work with by hand, and what this machine has for it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from testbed.catalog import load_scenario
from testbed.engine import inspect_engine
from testbed.running import RunningTestbed, running_testbed
from testbed.scenario import Scenario

_DEFAULT_CONNECTIONS = 20


async def keep_up(name: str | None, *, port: int, max_connections: int | None, tell: Callable[[str], None]) -> None:
    """Start a testbed, deploy a scenario if one is named, say how to use it, and keep it until it is cancelled.

    Raises:
        EngineDiedError: A part died.
    """
    scenario = load_scenario(name) if name else None
    connections = max_connections or (scenario.database.max_connections if scenario else _DEFAULT_CONNECTIONS)
    with TemporaryDirectory(prefix="testbed-up-") as logs:
        async with running_testbed(max_connections=connections, logs=Path(logs), progress=tell, port=port) as bed:
            await bed.create_database("app")
            print(_how_to_use(bed))  # noqa: T201 - the command's answer
            if scenario:
                await _deploy(bed, scenario)
            print("\nCtrl-C stops everything.", flush=True)  # noqa: T201 - the same
            raise await bed.died()


def _how_to_use(bed: RunningTestbed) -> str:
    return "\n".join(
        [
            f"endpoint   {bed.aws.endpoint_url}",
            f"database   {bed.database('app').dsn}",
            "",
            f"  export AWS_ENDPOINT_URL={bed.aws.endpoint_url} AWS_DEFAULT_REGION=us-east-1",
            "  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test",
            '  python -c \'import boto3; print(boto3.client("sqs").create_queue(QueueName="orders"))\'',
        ]
    )


async def _deploy(bed: RunningTestbed, scenario: Scenario) -> None:
    for architecture in scenario.architectures:
        db = await bed.create_database(architecture.name.replace("-", "_"))
        if scenario.database.schema:
            await asyncio.to_thread(db.execute, scenario.database.schema)
        deployment = await asyncio.to_thread(architecture.deploy, bed.aws, db)
        print(f"{architecture.name}: POST {deployment.url}{scenario.traffic.path}")  # noqa: T201 - the command's answer


def diagnosis() -> tuple[list[str], bool]:
    """What was found, what will be used, what is missing and how to get it; and whether a run can be made."""
    facts = inspect_engine()
    return [f"{name}: {value}" for name, value in vars(facts).items()], True
