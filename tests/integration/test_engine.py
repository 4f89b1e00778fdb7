"""Both engines as they really run: LocalStack with the plugin, Postgres, the guard."""

import asyncio
import io
import json
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aiohttp
import boto3
import psutil
import psycopg
import pytest
import pytest_asyncio
from botocore.config import Config
from botocore.exceptions import ClientError
from engines import find_part, left_behind

from testbed.engine import Engine, EngineOrder, Launcher, PartName, Postgres, RunSpace, choose_launcher, guard
from testbed.errors import UsageError

TOKEN = "secret of this run"  # noqa: S105  # for a stub
ROLE = "arn:aws:iam::000000000000:role/any"


class StubPlane:
    """Answers invokes as the data plane would, and remembers what it was asked and told.

    Args:
        launcher: Says where the engine reaches it.
    """

    def __init__(self, launcher: Launcher) -> None:
        self.invokes: list[tuple[str, dict[str, str], bytes]] = []
        self.changes: list[dict[str, str]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        plane = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                assert (self.path, self.headers["x-testbed-token"]) == ("/_testbed/health", TOKEN)
                self._answer(200, b"{}", {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                assert self.headers["x-testbed-token"] == TOKEN
                if self.path == "/_testbed/changed":
                    plane.changes.append(json.loads(body))
                    self._answer(200, b"{}", {})
                else:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    plane.invokes.append((self.path, headers, body))
                    self._answer(plane.status, b'{"statusCode": 200, "body": "done"}', plane.headers)

            def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Not into the output of the tests."""

        self._server = ThreadingHTTPServer((launcher.caller_address or "127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        address, port = self._server.server_address[:2]
        self.address = f"{address}:{port}"
        self.url = f"http://{launcher.plane_host}:{port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class StubFront:
    """Nobody uses the engine by a front here."""

    async def attach(self, localstack_url: str, postgres: Postgres) -> None:
        """Nobody has to know."""

    async def cut(self, part: PartName) -> None:
        """Nothing goes through it."""

    async def mend(self, part: PartName) -> None:
        """The same."""


async def start(mode: str, space: RunSpace, plane: StubPlane, max_connections: int = 20) -> Engine:
    order = EngineOrder(
        max_connections=max_connections,
        gateway=plane.address,
        plane_url=plane.url,
        plane_token=TOKEN,
        front=StubFront(),
        progress=print,
        logs=space.folder,
    )
    return await (await choose_launcher(mode, print)).start(space, order)


@pytest.fixture(scope="module")
def plane(mode: str) -> Iterator[StubPlane]:
    stub = StubPlane(asyncio.run(choose_launcher(mode, print)))
    yield stub
    stub.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(mode: str, plane: StubPlane) -> AsyncIterator[Engine]:
    async with RunSpace() as space:
        yield await start(mode, space, plane)


class Clients:
    """boto3 clients of an engine; no retries, so that a test sees the first answer."""

    def __init__(self, engine: Engine) -> None:
        self._url = engine.localstack_url

    def __getattr__(self, service: str) -> Any:
        return boto3.client(
            service.rstrip("_"),
            endpoint_url=self._url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106  # LocalStack takes any
            config=Config(retries={"max_attempts": 0}, max_pool_connections=32),
        )


@pytest.fixture(scope="module")
def aws(engine: Engine) -> Clients:
    return Clients(engine)


def zipped(source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("h.py", source)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def function(aws: Clients) -> str:
    code = {"ZipFile": zipped("def f(e, c): return 1")}
    made = aws.lambda_.create_function(FunctionName="fn", Runtime="python3.12", Role=ROLE, Handler="h.f", Code=code)
    aws.lambda_.get_waiter("function_active_v2").wait(FunctionName="fn", WaiterConfig={"Delay": 1})
    return str(made["FunctionArn"])


@pytest.fixture(scope="module")
def queue_arn(aws: Clients) -> str:
    aws.sqs.create_queue(QueueName="orders")
    return "arn:aws:sqs:us-east-1:000000000000:orders"


async def test_both_parts_answer_with_their_versions(engine: Engine, mode: str) -> None:
    """What the engine says about itself is what its parts say."""
    async with aiohttp.request("GET", f"{engine.localstack_url}/_testbed/plugin/health") as answer:
        health = await answer.json()
    assert health["localstack"] == engine.info.emulator_version
    assert health["warm"]
    async with await psycopg.AsyncConnection.connect(engine.postgres.admin_dsn) as connection:
        row = await (await connection.execute("SHOW server_version")).fetchone()
    assert row == (engine.info.postgres_version,)
    assert engine.info.mode == mode


def test_a_function_becomes_active_without_docker(aws: Clients, function: str) -> None:
    """CreateFunction ends in Active, and the code can be fetched again."""
    found = aws.lambda_.get_function(FunctionName=function)
    assert found["Configuration"]["State"] == "Active"
    assert found["Code"]["Location"]


@pytest.mark.usefixtures("function")
def test_an_invoke_is_answered_by_the_plane(aws: Clients, plane: StubPlane) -> None:
    """Path, qualifier, headers and payload reach the plane, and its answer reaches the caller."""
    plane.headers = {"X-Amz-Function-Error": "Unhandled", "X-Amz-Executed-Version": "$LATEST"}
    try:
        answer = aws.lambda_.invoke(FunctionName="fn", Qualifier="$LATEST", Payload=b'{"a": 1}', LogType="Tail")
    finally:
        plane.headers = {}
    assert json.load(answer["Payload"])["body"] == "done"
    assert answer["FunctionError"] == "Unhandled"
    assert answer["ResponseMetadata"]["RequestId"]
    path, headers, payload = plane.invokes[-1]
    assert path == "/2015-03-31/functions/fn/invocations?Qualifier=%24LATEST"
    assert headers["x-amz-log-type"] == "Tail"
    assert headers["x-testbed-caller"] == "emulator"
    assert payload == b'{"a": 1}'


def test_a_throttle_of_the_plane_keeps_its_status(aws: Clients, function: str, plane: StubPlane) -> None:
    """A 429 of the data plane is a modelled exception for whoever called LocalStack."""
    plane.status = 429
    plane.headers = {"x-amzn-ErrorType": "TooManyRequestsException"}
    try:
        with pytest.raises(ClientError) as caught:
            aws.lambda_.invoke(FunctionName=function)
    finally:
        plane.status, plane.headers = 200, {}
    assert caught.value.response["Error"]["Code"] == "TooManyRequestsException"


def test_internal_invokes_reach_the_plane(aws: Clients, function: str, plane: StubPlane) -> None:
    """Step Functions inside LocalStack gets the answer of the data plane."""
    definition = {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": function, "End": True}}}
    machine = aws.stepfunctions.create_state_machine(name="m", definition=json.dumps(definition), roleArn=ROLE)
    done = aws.stepfunctions.start_execution(stateMachineArn=machine["stateMachineArn"], input='{"from": "sfn"}')
    found: dict[str, Any] = {"status": "RUNNING"}
    while found["status"] == "RUNNING":
        found = aws.stepfunctions.describe_execution(executionArn=done["executionArn"])
    assert json.loads(found["output"])["body"] == "done"
    invokes = [payload for path, _, payload in plane.invokes if path.endswith("/invocations")]
    assert json.loads(invokes[-1]) == {"from": "sfn"}  # what tells EventBridge of the execution passes the plane, too


def test_a_mapping_keeps_its_state(aws: Clients, function: str, queue_arn: str) -> None:
    """Create, update, disable, enable and delete each leave the state that AWS would settle on."""
    lambda_ = aws.lambda_
    uuid = lambda_.create_event_source_mapping(
        FunctionName=function, EventSourceArn=queue_arn, ScalingConfig={"MaximumConcurrency": 5}
    )["UUID"]

    def state() -> str:
        return str(lambda_.get_event_source_mapping(UUID=uuid)["State"])

    assert state() == "Enabled"
    lambda_.update_event_source_mapping(UUID=uuid, BatchSize=7)
    assert state() == "Enabled"
    assert lambda_.list_event_source_mappings()["EventSourceMappings"][0]["BatchSize"] == 7
    lambda_.update_event_source_mapping(UUID=uuid, Enabled=False)
    assert state() == "Disabled"
    lambda_.update_event_source_mapping(UUID=uuid, Enabled=True)
    assert state() == "Enabled"
    lambda_.update_event_source_mapping(UUID=uuid, Enabled=False)
    lambda_.delete_event_source_mapping(UUID=uuid)
    assert lambda_.list_event_source_mappings()["EventSourceMappings"] == []


def test_localstack_does_not_poll(aws: Clients, function: str, queue_arn: str, plane: StubPlane) -> None:
    """A message stays in the queue of an enabled mapping: polling is the data plane's."""
    uuid = aws.lambda_.create_event_source_mapping(FunctionName=function, EventSourceArn=queue_arn)["UUID"]
    url = aws.sqs.get_queue_url(QueueName="orders")["QueueUrl"]
    assert url == f"http://{plane.address}/000000000000/orders"  # whoever uses the URL goes through the gateway
    before = len(plane.invokes)
    aws.sqs.send_message(QueueUrl=url, MessageBody="stays")
    messages = aws.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"]
    assert [message["Body"] for message in messages] == ["stays"]
    assert len(plane.invokes) == before
    aws.lambda_.delete_event_source_mapping(UUID=uuid)


def test_a_stack_deploys_and_the_plane_is_told(aws: Clients, plane: StubPlane) -> None:
    """CloudFormation's own calls are notified like any other, before the stack is complete."""
    events = {"S": {"Type": "SQS", "Properties": {"Queue": {"Fn::GetAtt": ["Q", "Arn"]}, "BatchSize": 5}}}
    properties = {"Runtime": "python3.12", "Handler": "index.f", "InlineCode": "def f(e, c): 0", "Events": events}
    template = {
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {
            "Q": {"Type": "AWS::SQS::Queue"},
            "F": {"Type": "AWS::Serverless::Function", "Properties": {**properties, "FunctionName": "stacked"}},
        },
    }
    cloudformation = aws.cloudformation
    capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    cloudformation.create_stack(StackName="s", TemplateBody=json.dumps(template), Capabilities=capabilities)
    cloudformation.get_waiter("stack_create_complete").wait(StackName="s", WaiterConfig={"Delay": 1})
    mapping = aws.lambda_.list_event_source_mappings(FunctionName="stacked")["EventSourceMappings"][0]
    assert mapping["State"] == "Enabled"
    assert {"service": "lambda", "operation": "CreateFunction", "resource": "stacked"} in plane.changes
    told = {"service": "lambda", "operation": "CreateEventSourceMapping", "resource": mapping["UUID"]}
    assert told in plane.changes


def test_only_successful_changes_are_told(aws: Clients, function: str, plane: StubPlane) -> None:
    """A read and a refused write say nothing; a REST API's creation says its id."""
    before = list(plane.changes)
    aws.lambda_.get_function(FunctionName=function)
    with pytest.raises(ClientError):
        aws.lambda_.delete_function(FunctionName="no-such-function")
    assert plane.changes == before
    made = aws.apigateway.create_rest_api(name="shop")["id"]
    assert plane.changes[-1] == {"service": "apigateway", "operation": "CreateRestApi", "resource": made}


def test_conditional_writes_of_dynamodb_exclude_each_other(aws: Clients) -> None:
    """Of many writers that insist on being first, one is; the others get the modelled exception."""
    dynamodb = aws.dynamodb
    dynamodb.create_table(
        TableName="t",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def claim(_writer: int) -> str:
        try:
            dynamodb.put_item(TableName="t", Item={"k": {"S": "x"}}, ConditionExpression="attribute_not_exists(k)")
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return "second"
        return "first"

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(claim, range(64)))
    assert outcomes.count("first") == 1


def test_concurrent_puts_into_a_stream_keep_every_record(aws: Clients) -> None:
    """Each record has a sequence number of its own in its shard and is read back once, in order."""
    kinesis = aws.kinesis
    kinesis.create_stream(StreamName="s", ShardCount=1)

    def put(number: int) -> str:
        data = str(number).encode()
        return str(kinesis.put_record(StreamName="s", PartitionKey="k", Data=data)["SequenceNumber"])

    with ThreadPoolExecutor(16) as pool:
        numbers = list(pool.map(put, range(300)))
    assert len(set(numbers)) == 300
    stream = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
    iterator = kinesis.get_shard_iterator(
        StreamARN=stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    read: list[Any] = []
    while len(read) < 300:
        page = kinesis.get_records(ShardIterator=iterator, Limit=70)
        read += page["Records"]
        iterator = page["NextShardIterator"]
    assert {record["Data"] for record in read} == {str(number).encode() for number in range(300)}
    order = [int(record["SequenceNumber"]) for record in read]
    assert order == sorted(order)
    assert kinesis.get_records(ShardIterator=iterator)["Records"] == []


async def test_an_ordinary_user_gets_three_connections_less(engine: Engine) -> None:
    """max_connections=20 lets ``app`` have 17 connections; the 18th is refused, the superuser still gets in."""
    await engine.postgres.create_database("limits")
    async with AsyncExitStack() as open_connections:
        for _ in range(17):
            await open_connections.enter_async_context(
                await psycopg.AsyncConnection.connect(engine.postgres.dsn("limits"))
            )
        with pytest.raises(psycopg.OperationalError, match="remaining connection slots are reserved"):
            await psycopg.AsyncConnection.connect(engine.postgres.dsn("limits"))
        async with await psycopg.AsyncConnection.connect(engine.postgres.admin_dsn) as admin:
            await admin.execute("SELECT 1")


async def test_a_database_belongs_to_app_and_starts_empty(engine: Engine) -> None:
    """``app`` may create tables in it, and creating the database again empties it."""
    for _ in range(2):
        await engine.postgres.create_database("shop")
        async with await psycopg.AsyncConnection.connect(engine.postgres.dsn("shop")) as connection:
            await connection.execute("CREATE TABLE orders (id text PRIMARY KEY)")


async def test_two_engines_do_not_see_each_other(engine: Engine, aws: Clients, plane: StubPlane, mode: str) -> None:
    """A second run has its own queues and databases, and its end leaves the first one alone."""
    aws.sqs.create_queue(QueueName="only-in-the-first")
    await engine.postgres.create_database("only_in_the_first")
    async with RunSpace() as space:
        other = await start(mode, space, plane, max_connections=5)
        assert "QueueUrls" not in Clients(other).sqs.list_queues()
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            await psycopg.AsyncConnection.connect(other.postgres.dsn("only_in_the_first"))
    assert aws.sqs.list_queues()["QueueUrls"]
    assert not space.folder.exists()


@pytest.mark.parametrize("part", ["LocalStack", "Postgres"])
async def test_a_killed_part_is_reported_by_name(plane: StubPlane, mode: str, part: str) -> None:
    """Killed from outside it ends the wait for a death, with its name, the signal and its log."""
    async with RunSpace() as space:
        await start(mode, space, plane)
        found = find_part(mode, token_of(space), part)
        assert found
        found.kill()
        async with asyncio.timeout(1):
            death = await space.died()
    assert (death.part, death.message) == (part, f"{part} was killed by SIGKILL")
    assert {"LocalStack": "Ready.", "Postgres": "ready to accept connections"}[part] in death.log_tail


async def test_a_failing_part_stops_the_other(plane: StubPlane, mode: str) -> None:
    """Postgres refuses an absurd max_connections in its own words, and LocalStack does not stay."""
    async with RunSpace() as space:
        with pytest.raises(UsageError, match="max_connections=300000"):
            await start(mode, space, plane, max_connections=300_000)
        assert left_behind(token_of(space)) == [str(space.folder)]


def token_of(space: RunSpace) -> str:
    return space.environment[guard.TOKEN_VARIABLE]


PARENT = """
import asyncio, sys
from unittest.mock import AsyncMock
from testbed.engine import EngineOrder, RunSpace, choose_launcher

async def main(mode, address, url):
    space = RunSpace()
    order = EngineOrder(
        max_connections=5,
        gateway=address,
        plane_url=url,
        plane_token="secret of this run",
        front=AsyncMock(),
        progress=print,
        logs=space.folder,
    )
    await (await choose_launcher(mode, print)).start(space, order)
    print("run", space.environment["TESTBED_RUN"], flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


def token_told_by(parent: subprocess.Popen[str]) -> str:
    """What the parent prints once its engine is ready."""
    for line in parent.stdout or ():
        if line.startswith("run "):
            return line.split()[1]
    pytest.fail("the parent did not start")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_survives_the_parent(number: signal.Signals, plane: StubPlane, mode: str) -> None:
    """However the parent ends, its processes and containers end, and its folder goes."""
    command = [sys.executable, "-c", PARENT, mode, plane.address, plane.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        token = token_told_by(parent)
        everything = psutil.Process(parent.pid).children(recursive=True)
        assert all(find_part(mode, token, part) for part in ("LocalStack", "Postgres"))
        parent.send_signal(number)
    _, alive = psutil.wait_procs(everything, timeout=30)
    assert alive == []
    assert left_behind(token) == []
