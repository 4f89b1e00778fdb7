"""Runs on a testbed that stands: `testbed up` in one process, `testbed run` in others."""

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import urllib3
from botocore.exceptions import ClientError
from command import TINY, Command, assert_nothing_is_left, command, ran

from testbed import deploy
from testbed.engine import guard
from testbed.gateway.inventory import KINDS, Inventory
from testbed.scenario import ROLE, Aws

TOKEN = "of-the-test"  # noqa: S105 - of a test


@dataclass
class Stood:
    """A testbed that stands."""

    up: Command
    endpoint: str
    dsn: str

    def run(self, *more: str | Path) -> list[str | Path]:
        """The arguments of a run on it."""
        return ["run", TINY, "--seed", "1", "--endpoint", self.endpoint, "--dsn", self.dsn, *more]

    @property
    def deployed(self) -> dict[str, list[str]]:
        """What there is, as its gateway tells; without the kinds of which there is nothing."""
        return {kind: ids for kind, ids in Inventory(self.endpoint).take().items() if ids}

    @property
    def databases(self) -> set[str]:
        """Databases and roles, but for Postgres's own."""
        with psycopg.connect(self.dsn) as connection:
            rows = connection.execute(
                "SELECT datname FROM pg_database WHERE NOT datistemplate UNION SELECT rolname FROM pg_roles "
                "WHERE rolname !~ '^pg_'"
            )
            return {name for (name,) in rows}

    def gateway(self) -> Any:
        """The process that the runs depend on."""
        return next(each for each in guard.processes(self.up.token()) if "testbed.gateway" in each.cmdline())


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stood]:
    """One for all of these tests; each finds it empty and leaves it so."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = ["up", "--port", str(port), "--engine", "process"]
    with command(tmp_path_factory.mktemp("up"), *arguments, TESTBED_TOKEN=TOKEN, TESTBED_ENGINE="process") as up:
        up.until(lambda: "Ctrl-C stops everything" in up.out, "the start")
        said = re.search(r"testbed run flash-sale --endpoint (\S+) --dsn '(\S+)'", up.out)
        assert said
        assert f"export TESTBED_TOKEN={TOKEN}\n" in up.out
        yield Stood(up, said[1], said[2])


def verdicts(run: Command) -> dict[str, str]:
    """The verdict of each architecture."""
    return {name: found["verdict"] for name, found in run.document("verdict.json")["architectures"].items()}


def test_runs_follow_each_other_and_leave_what_was_there(stood: Stood, tmp_path: Path) -> None:
    """Same names, same databases, same faults: the second finds nothing of the first, and the user's queue stays."""
    sqs = Aws(stood.endpoint).client("sqs")
    queue = sqs.create_queue(QueueName="by-hand")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="kept")
    before, databases = stood.deployed, stood.databases
    assert before == {"queue": [queue]}
    fates = []
    for name in ("first", "second"):
        arguments = stood.run("--architecture", "direct", "--architecture", "chaotic")
        run = ran(tmp_path / name, *arguments, TESTBED_TOKEN=TOKEN)
        assert run.process.returncode == 0, run.err
        assert verdicts(run) == {"direct": "valid", "chaotic": "valid"}
        assert (stood.deployed, stood.databases) == (before, databases)
        assert "not removed" not in run.err
        hops = [json.loads(line) for line in (run.run_folder / "journal.jsonl").read_text().splitlines()]
        assert {"direct", "chaotic"} == {hop["architecture"] for hop in hops}
        assert {"api", "lambda", "postgres", "fault", "sample"} <= {hop["hop"] for hop in hops}
        first = min(hop["t"] for hop in hops if hop["hop"] == "api")
        assert 0 <= first < 2
        assert run.document("manifest.json")["options"]["endpoint"] == stood.endpoint
        assert stood.dsn not in (run.run_folder / "manifest.json").read_text()
        assert run.document("verdict.json")["engine"]["mode"] == "process"
        fates.append(run.document("verdict.json")["architectures"]["chaotic"]["faults"])
    assert fates[0] == fates[1]
    assert fates[0]["fired"] > 0
    assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "kept"
    sqs.delete_queue(QueueUrl=queue)


def ask(stood: Stood, method: str, route: str, order: Any = None) -> Any:
    """Ask a route about faults; the testbed's own with the token."""
    headers = {"x-testbed-token": TOKEN} if route.startswith("_testbed") else {}
    answer = urllib3.request(method, f"{stood.endpoint}/{route}", json=order, headers=headers, timeout=10)
    assert answer.status == 200, answer.data
    return answer.json()


def test_faults_by_hand_act_until_a_run_begins(stood: Stood, tmp_path: Path) -> None:
    """By the testbed's route and by LocalStack's; a run has its own ones alone, and leaves none."""
    sqs = Aws(stood.endpoint).client("sqs")
    queue = sqs.create_queue(QueueName="by-hand")["QueueUrl"]
    at_first = {"type": "ServiceError", "service": "sqs", "operations": ["SendMessage"], "when": {"at_most": 1}}
    assert ask(stood, "POST", "_testbed/chaos", at_first | {"name": "at-first"})["added"] == ["at-first"]
    sqs.send_message(QueueUrl=queue, MessageBody="tried again")
    [told] = ask(stood, "GET", "_testbed/chaos")["faults"]
    assert (told["fired"], told["last"]["resource"], told["last"]["attempt"]) == (1, "by-hand", 1)
    rules = [{"service": "lambda", "error": {"code": "Down"}}, {"service": "s3", "region": "eu-west-1"}]
    assert ask(stood, "POST", "_localstack/chaos/faults", rules) == rules
    assert ask(stood, "POST", "_localstack/chaos/effects", {"latency": 300}) == {"latency": 300}
    started = time.monotonic()
    with pytest.raises(ClientError, match="Down"):
        Aws(stood.endpoint).client("lambda").list_functions()
    assert Aws(stood.endpoint).client("s3").list_buckets()["Buckets"] == []
    assert time.monotonic() - started > 0.6
    run = ran(tmp_path / "run", *stood.run("--architecture", "direct"), TESTBED_TOKEN=TOKEN)
    assert verdicts(run) == {"direct": "valid"}, run.err
    assert ask(stood, "GET", "_testbed/chaos")["faults"] == []
    assert ask(stood, "GET", "_localstack/chaos/faults") == []
    sqs.delete_queue(QueueUrl=queue)


def deploy_one_of_each(aws: Aws, folder: Path) -> None:
    """A resource of each kind, with what makes it hard to delete."""
    (folder / "handler.py").write_text("def handler(event, context):\n    pass\n")
    function = deploy.function(aws, "one", folder, "handler.handler")
    deploy.rest_api(aws, "one", "POST", "/one", function)
    queue = deploy.queue_arn(aws, aws.client("sqs").create_queue(QueueName="one")["QueueUrl"])
    aws.client("lambda").create_event_source_mapping(FunctionName="one", EventSourceArn=queue)
    aws.client("kinesis").create_stream(StreamName="one", ShardCount=1)
    aws.client("sns").create_topic(Name="one")
    aws.client("dynamodb").create_table(
        TableName="one",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="one")
    s3.put_bucket_versioning(Bucket="one", VersioningConfiguration={"Status": "Enabled"})
    for _ in range(2):
        s3.put_object(Bucket="one", Key="a/b", Body=b"x")
    s3.delete_object(Bucket="one", Key="a/b")
    aws.client("events").put_rule(Name="one", EventPattern='{"source": ["one"]}')
    aws.client("events").put_targets(Rule="one", Targets=[{"Id": "q", "Arn": queue}])
    aws.client("stepfunctions").create_state_machine(
        name="one", definition='{"StartAt": "a", "States": {"a": {"Type": "Pass", "End": true}}}', roleArn=ROLE
    )
    aws.client("logs").create_log_group(logGroupName="/one")
    template = {"Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "of-a-stack"}}}}
    aws.client("cloudformation").create_stack(StackName="one", TemplateBody=json.dumps(template))
    aws.client("cloudformation").get_waiter("stack_create_complete").wait(StackName="one", WaiterConfig={"Delay": 1})


def test_every_kind_of_resource_can_be_removed(stood: Stood, tmp_path: Path) -> None:
    """By LocalStack as it is, rules with targets and buckets with versions included."""
    deploy_one_of_each(Aws(stood.endpoint), tmp_path)
    assert stood.deployed.keys() == {kind.name for kind in KINDS}
    assert Inventory(stood.endpoint).remove_others({}) == []
    assert stood.deployed == {}


def test_a_name_that_is_taken_is_the_user_s_to_free(stood: Stood, tmp_path: Path) -> None:
    """The run neither uses nor removes the queue of that name; what it had deployed before that goes."""
    sqs = Aws(stood.endpoint).client("sqs")
    queue = sqs.create_queue(QueueName="stuck")["QueueUrl"]
    run = ran(tmp_path / "run", *stood.run("--architecture", "stuck"), TESTBED_TOKEN=TOKEN)
    assert run.process.returncode == 64
    assert "testbed: queue 'stuck' exists already on the standing testbed\n  hint: delete it there" in run.err
    assert stood.deployed == {"queue": [queue]}
    sqs.delete_queue(QueueUrl=queue)


def test_an_interrupted_run_leaves_nothing(stood: Stood, tmp_path: Path) -> None:
    """Neither resources nor databases, while a second run had to wait; its journal is kept."""
    databases = stood.databases
    with command(tmp_path / "run", *stood.run("--architecture", "stuck"), TESTBED_TOKEN=TOKEN) as run:
        run.until_traffic()
        second = ran(tmp_path / "second", *stood.run(), TESTBED_TOKEN=TOKEN)
        assert second.process.returncode == 64
        assert "another run is using the standing testbed" in second.err
        run.process.send_signal(signal.SIGINT)
        assert run.wait() == 2
    assert (stood.deployed, stood.databases) == ({}, databases)
    assert (run.run_folder / "journal.jsonl").stat().st_size


def test_a_killed_run_is_forgotten(stood: Stood, tmp_path: Path) -> None:
    """The gateway removes what it had deployed, and the next run its databases."""
    databases = stood.databases
    with command(tmp_path / "run", *stood.run("--architecture", "stuck"), TESTBED_TOKEN=TOKEN) as run:
        run.until_traffic()
    assert stood.deployed
    stood.up.until(lambda: not stood.deployed, "the end of the lease")
    after = ran(tmp_path / "after", *stood.run("--architecture", "direct"), TESTBED_TOKEN=TOKEN)
    assert after.process.returncode == 0, after.err
    assert stood.databases == databases


def test_a_gateway_that_is_gone_ends_the_run(stood: Stood, tmp_path: Path) -> None:
    """Verdict unknown: nobody knows where the orders are. What stood ends too, and leaves nothing."""
    token = stood.up.token()
    with command(tmp_path / "run", *stood.run("--architecture", "stuck"), TESTBED_TOKEN=TOKEN) as run:
        run.until_traffic()
        stood.gateway().kill()
        assert run.wait() == 2
    assert "testbed: the standing testbed at http://127.0.0.1:" in run.err
    assert verdicts(run) == {"stuck": "unknown"}
    assert stood.up.wait() == 2
    assert_nothing_is_left(token)
