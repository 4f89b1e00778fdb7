"""The way of a request through the gateway: faults act first, then it is executed, and every hop is written down."""

import asyncio
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from gateway_world import ORDER_TRACE, World
from multidict import CIMultiDict

from testbed.chaos.call import AwsError, Decision, Injection
from testbed.chaos.faults.throttle import Throttle
from testbed.chaos.trigger import key
from testbed.compute.result import InvokeResult
from testbed.gateway.classify import Target
from testbed.gateway.message import Inbound, Reply

SEND = Target("sqs", "SendMessage", "orders")


def send_message(host: str = "127.0.0.1:4566", body: str = "hello", trace: str | None = None) -> Inbound:
    """A SendMessage as boto3 writes it."""
    headers = CIMultiDict({"Host": host, "X-Amz-Target": "AmazonSQS.SendMessage"})
    if trace:
        headers["X-Amzn-Trace-Id"] = trace
    document = {"QueueUrl": f"http://{host}/000000000000/orders", "MessageBody": body}
    return Inbound("POST", "/", headers, json.dumps(document).encode())


async def thrown(call: Any, **params: Any) -> ClientError:
    """The error that boto3 raises."""
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(call, **params)
    return caught.value


async def test_a_call_is_forwarded_and_journalled(world: World) -> None:
    """What boto3 sends reaches the emulator as it is, and one line says all about it."""
    world.emulator.answers(b'{"MessageId": "m-1"}')
    sqs = world.client("sqs")
    url = f"http://{world.host}/000000000000/orders"
    answer = await asyncio.to_thread(sqs.send_message, QueueUrl=url, MessageBody="hello")
    assert answer["MessageId"] == "m-1"
    assert json.loads(world.emulator.received[0].body) == {"QueueUrl": url, "MessageBody": "hello"}
    (line,) = world.journal.of("aws")
    assert line.pop("ms") > 0
    assert line.pop("identity").startswith("sqs.SendMessage:orders:")
    assert line == {
        "hop": "aws",
        "service": "sqs",
        "operation": "SendMessage",
        "resource": "orders",
        "caller": "client",
        "status": 200,
        "trace": None,
        "error": None,
        "cause": None,
        "attempt": 1,
    }


async def test_an_error_of_the_emulator_is_named_in_the_journal(world: World) -> None:
    """By its code where the emulator tells one, by its status otherwise."""
    world.emulator.answers(b"{}", 400, **{"x-amzn-errortype": "QueueDoesNotExist:http://internal"})
    await world.gateway.aws(SEND, send_message(), "client")
    world.emulator.answers(b"no", 502)
    await world.gateway.aws(SEND, send_message(), "client")
    assert [(line["status"], line["error"]) for line in world.journal.of("aws")] == [
        (400, "QueueDoesNotExist"),
        (502, "502"),
    ]


@pytest.mark.parametrize(
    ("service", "operation", "params", "code", "status"),
    [
        ("sqs", "receive_message", {"QueueUrl": "http://q/1/orders"}, "RequestThrottled", 403),
        ("kinesis", "list_shards", {"StreamName": "orders"}, "LimitExceededException", 400),
        ("dynamodb", "get_item", {"TableName": "t", "Key": {}}, "ProvisionedThroughputExceededException", 400),
        ("sns", "publish", {"TopicArn": "arn:aws:sns:us-east-1:0:t", "Message": "m"}, "ThrottlingException", 400),
        ("s3", "get_object", {"Bucket": "b", "Key": "k"}, "SlowDown", 503),
        ("lambda", "invoke", {"FunctionName": "f"}, "TooManyRequestsException", 429),
    ],
)
async def test_a_throttled_call_is_not_executed(  # noqa: PLR0917 - one case of the table
    world: World, service: str, operation: str, params: dict[str, Any], code: str, status: int
) -> None:
    """Neither the emulator nor a function hears of it; boto3 reads the error of the service."""
    world.arm(Throttle(service=service, probability=1.0))
    error = await thrown(getattr(world.client(service), operation), **params)
    assert (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert world.emulator.received == []
    assert world.functions.invokes == []
    assert world.gateway.faults.throttles == 1
    assert [line["error"] for line in world.journal.of("fault")] == [code]
    assert world.journal.of("aws")[0]["cause"] == "throttle"


async def test_a_delay_comes_before_the_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator hears of it when the time is over, not before."""
    heard: list[int] = []
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        heard.append(len(world.emulator.received))

    monkeypatch.setattr("testbed.gateway.faults.asyncio.sleep", sleep)
    monkeypatch.setattr(world.gateway.faults._schedule, "decide", lambda _: Decision((Injection("slow", delay=3.0),)))
    reply = await world.gateway.aws(SEND, send_message(), "client")
    assert (reply.status, waited, heard) == (200, [3.0], [0])
    assert len(world.emulator.received) == 1


async def test_an_injected_throttle_of_lambda_tells_its_reason(world: World) -> None:
    """In the answer and in the journal's line of the invoke."""
    world.arm(Throttle(service="lambda", probability=1.0, reason="CallerRateLimitExceeded"))
    error = await thrown(world.client("lambda").invoke, FunctionName="f")
    assert error.response["Reason"] == "CallerRateLimitExceeded"
    (line,) = world.journal.of("lambda")
    assert (line["function"], line["status"], line["cause"]) == ("f", 429, "throttle")
    assert line["reason"] == "CallerRateLimitExceeded"


async def test_a_throttle_of_lambda_s_own_is_not_counted_as_a_fault(world: World) -> None:
    """The compute plane counts those: once is enough."""
    world.functions.result = InvokeResult(429, b"", None, AwsError("TooManyRequestsException", 429, "no"), "throttle")
    await thrown(world.client("lambda").invoke, FunctionName="f")
    assert world.gateway.faults.throttles == 0


async def test_attempts_are_counted_for_each_identity(world: World) -> None:
    """The same request again is the next attempt, another one its own first."""
    world.arm(Throttle(service="sqs", probability=1.0))
    for body in ("a", "a", "b", "a"):
        await world.gateway.aws(SEND, send_message(body=body), "client")
    assert [line["attempt"] for line in world.journal.of("fault")] == [1, 2, 1, 3]
    world.arm(Throttle(service="sqs", probability=1.0))
    await world.gateway.aws(SEND, send_message(body="a"), "client")
    assert world.journal.of("fault")[-1]["attempt"] == 1


async def identity_of(world: World, request: Inbound, target: Target = SEND) -> str:
    """The identity in the journal."""
    await world.gateway.aws(target, request, "client")
    identity: str = world.journal.of("aws")[-1]["identity"]
    return identity


async def test_identity_does_not_depend_on_the_port(world: World) -> None:
    """Each run has another one, and queue URLs carry it, whatever name the client gave the host."""
    first = await identity_of(world, send_message("127.0.0.1:4566"))
    assert await identity_of(world, send_message("127.0.0.1:55555")) == first
    assert await identity_of(world, send_message("localhost:55555")) == first
    assert await identity_of(world, send_message(body="other")) != first
    form = CIMultiDict({"Host": "a", "Content-Type": "application/x-www-form-urlencoded"})
    bodies = [f"Action=A&QueueUrl=http%3A%2F%2F127.0.0.1%3A{port}%2F0%2Forders" for port in (1, 22222)]
    first, second = [await identity_of(world, Inbound("POST", "/", form, body.encode())) for body in bodies]
    assert first == second


async def test_identity_does_not_depend_on_handles(world: World) -> None:
    """Receipt handles and shard iterators are made up anew in every run."""
    target = Target("sqs", "DeleteMessage", "orders")

    def delete(handle: str) -> Inbound:
        document = {"QueueUrl": "http://h/0/orders", "ReceiptHandle": handle}
        return Inbound("POST", "/", CIMultiDict(), json.dumps(document).encode())

    assert await identity_of(world, delete("one"), target) == await identity_of(world, delete("another"), target)


async def test_identity_of_a_planned_order_is_its_trace(world: World) -> None:
    """Whatever a handler writes into the request: the same order, the same identity."""
    first = await identity_of(world, send_message(body="random 1", trace=ORDER_TRACE))
    assert await identity_of(world, send_message(body="random 2", trace=ORDER_TRACE)) == first
    assert first == "sqs.SendMessage:orders:1-000003e8-0000000000000000000000aa"


async def test_a_foreign_trace_is_no_identity(world: World) -> None:
    """A trace that somebody else began differs from run to run."""
    epoch = "Root=1-67891233-{:024x}"
    first = await identity_of(world, send_message(trace=epoch.format(1)))
    assert await identity_of(world, send_message(trace=epoch.format(2))) == first
    assert world.journal.of("aws")[-1]["trace"] == "1-67891233-000000000000000000000002"


async def test_a_call_belongs_to_the_time_its_order_was_planned(world: World) -> None:
    """Windows of faults follow the plan where there is one, and the clock where there is none."""
    world.arm(Throttle(service="sqs", probability=1.0, during=(0.9, 1.1)))
    planned = await world.gateway.aws(SEND, send_message(trace=ORDER_TRACE), "client")
    world.now = 1.0
    untraced = await world.gateway.aws(SEND, send_message(), "client")
    world.now = 2.0
    late = await world.gateway.aws(SEND, send_message(), "client")
    assert [planned.status, untraced.status, late.status] == [403, 403, 200]


async def test_an_invoke_says_all_that_aws_says(world: World) -> None:
    """Payload, function error, log and version, as boto3 reads them."""
    world.functions.result = InvokeResult(200, b'"no"', "Unhandled", None, "crash", "7", b"log", "request-1")
    answer = await asyncio.to_thread(
        world.client("lambda").invoke, FunctionName="f", Payload=b"{}", Qualifier="live", LogType="Tail",
        ClientContext="eyJhIjogMX0=",
    )  # fmt: skip
    assert (answer["StatusCode"], answer["FunctionError"], answer["ExecutedVersion"]) == (200, "Unhandled", "7")
    assert (answer["LogResult"], answer["Payload"].read()) == ("bG9n", b'"no"')
    assert answer["ResponseMetadata"]["RequestId"] == "request-1"
    (invoke,) = world.functions.invokes
    assert (invoke["function"], invoke["payload"], invoke["caller"]) == ("f", b"{}", "client")
    assert (invoke["qualifier"], invoke["invocation_type"]) == ("live", "RequestResponse")
    assert invoke["client_context"] == '{"a": 1}'
    assert world.emulator.received == []
    assert world.journal.of("aws")[0]["cause"] == "crash"


@pytest.mark.parametrize("context", ["no base64", "bm8gSlNPTg==", "WzFd"])
async def test_a_client_context_that_is_no_object_is_refused(world: World, context: str) -> None:
    """In AWS's words; the function is not asked."""
    client = world.client("lambda")
    with pytest.raises(client.exceptions.InvalidRequestContentException, match="valid Base64-encoded JSON object"):
        await asyncio.to_thread(client.invoke, FunctionName="f", ClientContext=context)
    assert world.functions.invokes == []


async def test_a_function_is_found_by_its_arn(world: World) -> None:
    """Percent-encoded, as boto3 writes it."""
    arn = "arn:aws:lambda:us-east-1:000000000000:function:front:live"
    await asyncio.to_thread(world.client("lambda").invoke, FunctionName=arn, InvocationType="Event")
    assert world.functions.invokes[0]["function"] == arn
    assert world.functions.invokes[0]["invocation_type"] == "Event"
    assert world.journal.of("aws")[0]["resource"] == "front"


async def test_identity_that_a_poller_gives_decides(world: World) -> None:
    """Pollers know their batch better than its content does, which is full of random ids."""
    world.arm(Throttle(service="lambda", probability=1.0))
    for payload in (b"1", b"2"):
        await world.gateway.invoke("f", payload, caller="mapping:u", identity="batch-7")
    assert [(line["identity"], line["attempt"]) for line in world.journal.of("fault")] == [
        ("lambda.Invoke:f:batch-7", 1),
        ("lambda.Invoke:f:batch-7", 2),
    ]


async def test_a_fault_finds_an_order_in_a_batch(world: World) -> None:
    """By its id in the event, whatever trace the batch has."""
    world.arm(Throttle(service="lambda", when=key("o-7")))
    for payload in (b'{"Records": [{"body": "o-6"}, {"body": "o-7"}]}', b'{"Records": [{"body": "o-70"}]}'):
        await world.gateway.invoke("f", payload, caller="mapping:u", trace=ORDER_TRACE)
    assert [line["attempt"] for line in world.journal.of("fault")] == [1]
    assert [each["payload"] for each in world.functions.invokes] == [b'{"Records": [{"body": "o-70"}]}']


async def test_records_taken_by_a_stream_are_counted(world: World) -> None:
    """What was refused, as a whole or in part, is not in the stream."""
    kinesis = world.client("kinesis")
    record = {"Data": b"x", "PartitionKey": "k"}
    world.emulator.answers(b'{"ShardId": "s", "SequenceNumber": "1"}')
    await asyncio.to_thread(kinesis.put_record, StreamName="orders", **record)
    world.emulator.answers(json.dumps({"FailedRecordCount": 1, "Records": []}).encode())
    arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
    await asyncio.to_thread(kinesis.put_records, StreamARN=arn, Records=[record] * 3)
    assert world.gateway.streamed_in == {"orders": 3}
    world.emulator.answers(b'{"__type": "ResourceNotFoundException"}', 400)
    await thrown(kinesis.put_record, StreamName="orders", **record)
    assert world.gateway.streamed_in == {"orders": 3}


async def test_a_put_in_another_encoding_is_forwarded_uncounted(world: World) -> None:
    """Other SDKs write CBOR: the put must not fail because nobody here counts it."""
    world.emulator.answers(b"\xa0")
    headers = CIMultiDict({"X-Amz-Target": "Kinesis_20131202.PutRecords", "Content-Type": "application/x-amz-cbor-1.1"})
    request = Inbound("POST", "/", headers, b"\xa1\x67Records\x80")
    reply = await world.gateway.aws(Target("kinesis", "PutRecords", "orders"), request, "client")
    assert (reply.status, reply.body) == (200, b"\xa0")
    assert world.gateway.streamed_in["orders"] == 0


@pytest.mark.parametrize("body", [b"not json", b"[]", b""])
async def test_a_create_that_makes_no_sense_is_the_emulator_s_to_refuse(world: World, body: bytes) -> None:
    """It says better what is wrong with it."""
    world.emulator.answers(b"{}", 400)
    reply = await world.gateway.aws(
        Target("lambda", "CreateFunction", ""), Inbound("POST", "/x", CIMultiDict(), body), "client"
    )
    assert reply.status == 400
    assert len(world.emulator.received) == 1


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("sqs", "list_queues", {}),
        ("sns", "list_topics", {}),
        ("s3", "list_buckets", {}),
        ("lambda", "list_functions", {}),
        ("ec2", "describe_instances", {}),
        ("cloudwatch", "list_metrics", {}),
    ],
)
async def test_an_emulator_that_is_gone_is_a_503_of_the_service(
    world: World, service: str, operation: str, params: dict[str, Any]
) -> None:
    """boto3 reads it as an error of the service, in each protocol."""
    world.way_to_emulator.url = "http://127.0.0.1:9"
    error = await thrown(getattr(world.client(service), operation), **params)
    assert error.response["Error"]["Code"] == "ServiceUnavailable"
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert "LocalStack does not answer" in error.response["Error"]["Message"]
    assert world.journal.of("aws")[0]["cause"] == "emulator unreachable"


async def test_an_emulator_that_is_gone_is_a_503_for_everybody_else(world: World) -> None:
    """What is no AWS request gets JSON."""
    world.way_to_emulator.url = ""
    reply = await world.gateway.handle(Inbound("GET", "/_localstack/health", CIMultiDict()))
    assert reply.status == 503
    assert json.loads(reply.body) == {"message": "LocalStack does not answer: it is still starting"}


async def test_what_is_not_aws_is_forwarded_without_a_line(world: World) -> None:
    """LocalStack's own routes."""
    world.emulator.answers(b"ok")
    reply = await world.gateway.handle(Inbound("GET", "/_localstack/health", CIMultiDict()))
    assert isinstance(reply, Reply)
    assert await reply.whole() == b"ok"
    assert world.journal.hops == []


async def test_the_code_of_functions_is_read_past_faults_and_journal(world: World) -> None:
    """It comes from S3 here, which Lambda does not need for it."""
    world.arm(Throttle(service="*", probability=1.0))
    world.emulator.answers(b"PK")
    headers = CIMultiDict({"Host": "s3.localhost", "x-testbed-caller": "compute"})
    reply = await world.gateway.handle(Inbound("GET", "/awslambda-us-east-1-tasks/code?X-Amz-Signature=0", headers))
    assert (reply.status, await reply.whole()) == (200, b"PK")
    assert world.journal.hops == []


async def test_a_rest_api_is_read_past_the_journal(world: World) -> None:
    """A request to an API that is not there asks the emulator, and journals its own hop alone."""
    world.emulator.answers(b'{"message": "no"}', 404, **{"x-amzn-errortype": "NotFoundException"})
    reply = await world.gateway.handle(Inbound("GET", "/_aws/execute-api/abc/live/x", CIMultiDict()))
    assert reply.status == 403
    assert [line["hop"] for line in world.journal.hops] == ["api"]


async def test_requests_to_an_api_that_differ_in_their_query_are_two(world: World) -> None:
    """Without a planned order, path, query and body tell requests apart."""
    world.arm(Throttle(service="execute-api", probability=1.0))
    for target in ("/x?id=1", "/x?id=2", "/x?id=1"):
        await world.gateway.handle(Inbound("GET", f"/_aws/execute-api/abc/live{target}", CIMultiDict()))
    first, second, third = world.journal.of("fault")
    assert first["identity"] != second["identity"]
    assert (first["identity"], 2) == (third["identity"], third["attempt"])
    other_api = Inbound("GET", "/_aws/execute-api/another/live/x?id=1", CIMultiDict())
    await world.gateway.handle(other_api)
    assert world.journal.of("fault")[-1]["identity"] == first["identity"]  # ids of APIs are random
