"""What faults do to calls of AWS services beyond an answer: entries that fail, messages early or late, calls twice."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast
from urllib.parse import parse_qs, urlencode

import pytest
from aiohttp import web
from botocore.exceptions import BotoCoreError, ClientError
from gateway_world import Received, World
from multidict import CIMultiDict

from testbed.chaos.call import AwsError
from testbed.chaos.fault import Fault
from testbed.chaos.faults.delivery import EarlyVisibility, LateDelivery
from testbed.chaos.faults.duplicate import Duplicate
from testbed.chaos.faults.invocation import InvocationError
from testbed.chaos.faults.lost_reply import LostReply, Unreachable
from testbed.chaos.faults.partial_failure import PartialFailure
from testbed.chaos.faults.service_error import ServiceError
from testbed.compute.aws import AwsCallError
from testbed.compute.result import InvokeResult
from testbed.gateway.caller import AwsClient
from testbed.gateway.message import Inbound

THROTTLED = "ProvisionedThroughputExceededException"
QUEUE = "http://localhost/000000000000/orders"
TOPIC = "arn:aws:sns:us-east-1:000000000000:orders"
MESSAGES = [{"Id": str(number), "MessageBody": f"m{number}"} for number in range(8)]
RECORDS = [{"Data": str(number), "PartitionKey": str(number)} for number in range(8)]
EVENTS = [{"Source": "s", "DetailType": "d", "Detail": json.dumps({"n": number})} for number in range(8)]
ITEMS = {name: [{"PutRequest": {"Item": {"id": {"S": f"{name}{n}"}}}} for n in range(4)] for name in ("a", "b")}
REFUSED = (b'{"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": "no"}', 400)
Answers = Callable[[Received], bytes]


def respond(world: World, answers: Answers) -> None:
    """Let the emulator answer so."""

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=answers(world.emulator.received[-1]))

    world.emulator.respond = answer


async def call(world: World, service: str, method: str, **params: Any) -> dict[str, Any]:
    """What boto3 makes of the answer."""
    return cast("dict[str, Any]", await asyncio.to_thread(getattr(world.client(service), method), **params))


def sent(world: World) -> list[dict[str, Any]]:
    """Documents that reached the emulator."""
    return [json.loads(each.body) for each in world.emulator.received]


def taken_by_queue(request: Received) -> bytes:
    """SQS takes every entry."""
    entries = json.loads(request.body)["Entries"]
    return json.dumps(
        {"Successful": [{"Id": each["Id"], "MessageId": f"id-{each['Id']}"} for each in entries]}
    ).encode()


async def test_entries_of_sqs_fail(world: World) -> None:
    """The others are sent on as they were; those that failed are named, as the service's fault."""
    respond(world, taken_by_queue)
    world.arm(PartialFailure(service="sqs", code="InternalError"))
    answer = await call(world, "sqs", "send_message_batch", QueueUrl=QUEUE, Entries=MESSAGES)
    (document,) = sent(world)
    happened = [entry["Id"] for entry in answer["Successful"]]
    assert document == {"QueueUrl": QUEUE, "Entries": [entry for entry in MESSAGES if entry["Id"] in happened]}
    assert 0 < len(happened) < 8
    assert sorted(happened + [entry["Id"] for entry in answer["Failed"]]) == [entry["Id"] for entry in MESSAGES]
    assert [entry.pop("Id") for entry in answer["Failed"]]
    assert answer["Failed"][0] == {"Code": "InternalError", "Message": "Request is throttled.", "SenderFault": False}
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    (line,) = world.journal.of("aws")
    assert (line["status"], line["error"], line["cause"]) == (200, None, "error")


@pytest.mark.parametrize("operation", ["delete_message_batch", "change_message_visibility_batch"])
async def test_entries_of_other_batches_of_sqs_fail(world: World, operation: str) -> None:
    """Deletions and changes of visibility are not done where they fail."""
    respond(world, taken_by_queue)
    world.arm(PartialFailure(service="sqs"))
    entries = [{"Id": str(number), "ReceiptHandle": f"h{number}"} for number in range(8)]
    answer = await call(world, "sqs", operation, QueueUrl=QUEUE, Entries=entries)
    assert [entry["Id"] for entry in sent(world)[0]["Entries"]] == [entry["Id"] for entry in answer["Successful"]]
    assert len(answer["Failed"]) == 8 - len(answer["Successful"]) > 0
    assert {entry["Code"] for entry in answer["Failed"]} == {"RequestThrottled"}


async def test_what_the_emulator_refuses_stands_beside_what_fails(world: World) -> None:
    """An entry that is wrong by itself is still told."""
    refused = {"Id": "7", "Code": "InvalidParameterValue", "SenderFault": True}
    respond(world, lambda _: json.dumps({"Successful": [], "Failed": [refused]}).encode())
    world.arm(PartialFailure(service="sqs", share=0.1))
    answer = await call(world, "sqs", "send_message_batch", QueueUrl=QUEUE, Entries=MESSAGES)
    assert [entry["Code"] for entry in answer["Failed"]][:2] == ["InvalidParameterValue", "RequestThrottled"]


async def test_records_of_kinesis_fail_in_their_places(world: World) -> None:
    """Results are in the order of the request."""

    def stored(request: Received) -> bytes:
        records = json.loads(request.body)["Records"]
        results = [{"SequenceNumber": each["PartitionKey"], "ShardId": "shardId-000000000000"} for each in records]
        return json.dumps({"FailedRecordCount": 0, "Records": results}).encode()

    respond(world, stored)
    world.arm(PartialFailure(service="kinesis"))
    answer = await call(world, "kinesis", "put_records", StreamName="orders", Records=RECORDS)
    happened = [record["PartitionKey"] for record in sent(world)[-1]["Records"]]
    results = [record.get("SequenceNumber") for record in answer["Records"]]
    assert results == [str(number) if str(number) in happened else None for number in range(8)]
    failed = [record for record in answer["Records"] if "ErrorCode" in record]
    assert answer["FailedRecordCount"] == len(failed) == 8 - len(happened) > 0
    assert {record["ErrorCode"] for record in failed} == {THROTTLED}
    (line,) = world.journal.of("aws")
    assert (line["records"], line["failed"], line["throttled"]) == (len(happened), len(failed), len(failed))
    assert world.gateway.streamed_in == {"orders": len(happened)}


async def test_events_fail_in_their_places(world: World) -> None:
    """As EventBridge's PutEvents tells."""

    def taken(request: Received) -> bytes:
        entries = [{"EventId": each["Detail"]} for each in json.loads(request.body)["Entries"]]
        return json.dumps({"FailedEntryCount": 0, "Entries": entries}).encode()

    respond(world, taken)
    world.arm(PartialFailure(service="events"))
    answer = await call(world, "events", "put_events", Entries=EVENTS)
    happened = [event["Detail"] for event in sent(world)[0]["Entries"]]
    details = [event["Detail"] for event in EVENTS]
    assert [entry.get("EventId") for entry in answer["Entries"]] == [
        each if each in happened else None for each in details
    ]
    assert answer["FailedEntryCount"] == 8 - len(happened) > 0
    assert {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"} in answer["Entries"]


async def test_items_of_dynamodb_are_left_unprocessed(world: World) -> None:
    """With those that the table itself left."""
    left = {"DeleteRequest": {"Key": {"id": {"S": "own"}}}}
    respond(world, lambda _: json.dumps({"UnprocessedItems": {"a": [left]}}).encode())
    world.arm(PartialFailure(service="dynamodb"))
    answer = await call(world, "dynamodb", "batch_write_item", RequestItems=ITEMS)
    (document,) = [document for document in sent(world) if "RequestItems" in document]
    for name, items in ITEMS.items():
        failed = answer["UnprocessedItems"].get(name, [])
        assert [item for item in items if item not in failed] == document["RequestItems"].get(name, [])
    assert answer["UnprocessedItems"]["a"][0] == left
    assert 0 < sum(map(len, document["RequestItems"].values())) < 8


async def test_messages_of_sns_fail(world: World) -> None:
    """In the query protocol, with numbers without a gap."""

    def published(request: Received) -> bytes:
        form = parse_qs(request.body.decode())
        ids = [value[0] for name, value in form.items() if name.endswith(".Id")]
        members = "".join(f"<member><Id>{each}</Id><MessageId>id-{each}</MessageId></member>" for each in ids)
        return (
            '<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishBatchResult>'
            f"<Successful>{members}</Successful><Failed /></PublishBatchResult></PublishBatchResponse>"
        ).encode()

    respond(world, published)
    world.arm(PartialFailure(service="sns", code="InternalError"))
    entries = [{"Id": f"e{number}", "Message": f"<{number}>&"} for number in range(8)]
    answer = await call(world, "sns", "publish_batch", TopicArn=TOPIC, PublishBatchRequestEntries=entries)
    happened = [entry["Id"] for entry in answer["Successful"]]
    assert 0 < len(happened) < 8
    assert sorted(happened + [entry["Id"] for entry in answer["Failed"]]) == [entry["Id"] for entry in entries]
    assert answer["Failed"][0]["Code"] == "InternalError"
    assert answer["Failed"][0]["SenderFault"] is False
    form = parse_qs(world.emulator.received[0].body.decode())
    assert form["TopicArn"] == [TOPIC]
    bodies = [form[f"PublishBatchRequestEntries.member.{n}.Message"][0] for n in range(1, len(happened) + 1)]
    assert bodies == [entry["Message"] for entry in entries if entry["Id"] in happened]


async def test_sqs_in_the_query_protocol(world: World) -> None:
    """As older SDKs write it: lists in the answer have no member of their own."""
    world.emulator.answers(
        b"<SendMessageBatchResponse><SendMessageBatchResult><SendMessageBatchResultEntry><Id>a</Id>"
        b"</SendMessageBatchResultEntry></SendMessageBatchResult></SendMessageBatchResponse>"
    )
    world.arm(PartialFailure(service="sqs", share=0.01))
    fields = {"Action": "SendMessageBatch", "QueueUrl": QUEUE}
    for number in (1, 2):
        fields[f"SendMessageBatchRequestEntry.{number}.Id"] = f"m{number}"
        fields[f"SendMessageBatchRequestEntry.{number}.MessageBody"] = "m"
        fields[f"SendMessageBatchRequestEntry.{number}.MessageAttribute.1.Name"] = "n"
    reply = await world.gateway.handle(form_request(fields))
    form = parse_qs(world.emulator.received[0].body.decode())
    (kept,) = form.pop("SendMessageBatchRequestEntry.1.Id")
    names = {f"SendMessageBatchRequestEntry.1.{name}" for name in ("MessageBody", "MessageAttribute.1.Name")}
    assert set(form) == {"Action", "QueueUrl", *names}
    (failed,) = {"m1", "m2"} - {kept}
    assert f"</SendMessageBatchResultEntry><BatchResultErrorEntry><Id>{failed}</Id>".encode() in reply.body


def form_request(fields: dict[str, str], headers: dict[str, str] | None = None) -> Inbound:
    """A request to SQS in the query protocol."""
    signed = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, Signature=0"
    all_headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": signed, **(headers or {})}
    return Inbound("POST", "/000000000000/orders", CIMultiDict(all_headers), urlencode(fields).encode())


@pytest.mark.parametrize(
    ("service", "method", "params", "failed"),
    [
        ("sqs", "send_message_batch", {"QueueUrl": QUEUE, "Entries": MESSAGES}, "Failed"),
        ("kinesis", "put_records", {"StreamName": "orders", "Records": RECORDS}, "Records"),
        ("events", "put_events", {"Entries": EVENTS}, "Entries"),
        (
            "sns",
            "publish_batch",
            {"TopicArn": TOPIC, "PublishBatchRequestEntries": [{"Id": str(n), "Message": "m"} for n in range(8)]},
            "Failed",
        ),
    ],
)
async def test_where_all_entries_fail_nothing_is_sent(
    world: World, service: str, method: str, params: dict[str, Any], failed: str
) -> None:
    """The answer has status 200 all the same."""
    world.arm(PartialFailure(service=service, share=1))
    answer = await call(world, service, method, **params)
    assert world.emulator.received == []
    assert len(answer[failed]) == 8
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


async def test_dynamodb_refuses_a_batch_of_which_it_takes_nothing(world: World) -> None:
    """With the error for the whole call."""
    world.arm(PartialFailure(service="dynamodb", share=1))
    with pytest.raises(ClientError, match=THROTTLED):
        await call(world, "dynamodb", "batch_write_item", RequestItems=ITEMS)
    assert world.emulator.received == []


def many(count: int, **members: Any) -> list[dict[str, Any]]:
    """So many entries."""
    return [{"Id": f"a-_{number}", **members} for number in range(count)]


def written(count: int) -> dict[str, Any]:
    """So many items for two tables."""
    items = [{"PutRequest": {"Item": {"id": {"S": str(number)}}}} for number in range(count)]
    return {"a": items[::2], "b": items[1::2]}


WHOLE = {
    "sqs": ("AmazonSQS.SendMessageBatch", "Entries"),
    "kinesis": ("Kinesis_20131202.PutRecords", "Records"),
    "events": ("AWSEvents.PutEvents", "Entries"),
    "dynamodb": ("DynamoDB_20120810.BatchWriteItem", "RequestItems"),
}


@pytest.mark.parametrize(
    ("service", "entries", "refused"),
    [
        ("sqs", many(10, MessageBody="m"), False),
        ("sqs", many(11, MessageBody="m"), True),
        ("sqs", many(2, MessageBody="m") * 2, True),
        ("sqs", [*many(2, MessageBody="m"), {"MessageBody": "m"}], True),
        ("sqs", [*many(2, MessageBody="m"), {"Id": None, "MessageBody": "m"}], True),
        ("sqs", [*many(2, MessageBody="m"), {"Id": 7, "MessageBody": "m"}], True),
        ("sqs", [*many(2, MessageBody="m"), {"Id": "", "MessageBody": "m"}], True),
        ("sqs", [*many(2, MessageBody="m"), {"Id": "a b", "MessageBody": "m"}], True),
        ("sqs", [*many(2, MessageBody="m"), {"Id": "x" * 80, "MessageBody": "m"}], False),
        ("sqs", [*many(2, MessageBody="m"), {"Id": "x" * 81, "MessageBody": "m"}], True),
        ("sqs", [*many(2, MessageBody="m"), {"Id": "b"}], True),
        ("sqs", [*many(2, MessageBody="m"), "b"], True),
        ("sqs", many(4, MessageBody="m" * (1 << 18)), False),
        ("sqs", [*many(4, MessageBody="m" * (1 << 18)), {"Id": "b", "MessageBody": "\ud800"}], True),
        ("sqs", many(2, MessageBody="m")[0], True),
        ("sqs", [], True),
        ("kinesis", [{"Data": "YQ==", "PartitionKey": "p"}] * 500, False),
        ("kinesis", [{"Data": "YQ==", "PartitionKey": "p"}] * 501, True),
        ("kinesis", [{"Data": "YQ==", "PartitionKey": "p"}] * 2 + [{"PartitionKey": "p"}], True),
        ("events", [{"Source": "s"}] * 10, False),
        ("events", [{"Source": "s"}] * 11, True),
        ("dynamodb", written(25), False),
        ("dynamodb", written(26), True),
    ],
)
@pytest.mark.parametrize("share", [0.5, 1])
async def test_a_batch_that_breaks_a_rule_is_the_services_to_refuse(
    world: World, service: str, entries: Any, share: float, *, refused: bool
) -> None:
    """A part of it might be taken; it is sent on as it came, and the fault has not fired."""
    world.emulator.answers(*(REFUSED if refused else (b'{"Records": []}',)))
    if service in ("kinesis", "events") and not refused:
        respond(world, taken_in_places)
    world.arm(PartialFailure(service=service, share=share))
    operation, member = WHOLE[service]
    signed = f"AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, Signature=0"
    body = json.dumps({member: entries}).encode()
    request = Inbound("POST", "/", CIMultiDict({"X-Amz-Target": operation, "Authorization": signed}), body)
    reply = await world.gateway.handle(request)
    assert len(world.journal.of("fault")) == (not refused)
    if refused:
        assert (reply.status, [each.body for each in world.emulator.received][-1]) == (400, body)


def taken_in_places(request: Received) -> bytes:
    """Kinesis or EventBridge takes every entry."""
    document = json.loads(request.body)
    member = "Records" if "Records" in document else "Entries"
    return json.dumps({member: [{"SequenceNumber": "1"}] * len(document.get(member, ()))}).encode()


@pytest.mark.parametrize(
    ("queue", "group", "refused"), [("orders.fifo", None, True), ("orders.fifo", "g", False), ("orders", None, False)]
)
async def test_messages_for_a_fifo_queue_are_in_groups(
    world: World, queue: str, group: str | None, *, refused: bool
) -> None:
    """One without refuses its batch."""
    world.emulator.answers(*(REFUSED if refused else (SENT_ONE,)))
    world.arm(PartialFailure(service="sqs", share=0.01))
    entries = [
        *many(2, MessageBody="m", MessageGroupId="g"),
        {"Id": "b", "MessageBody": "m"} | ({"MessageGroupId": group} if group else {}),
    ]
    url = QUEUE.replace("orders", queue)
    reply = await world.gateway.handle(json_request("SendMessageBatch", QueueUrl=url, Entries=entries))
    assert (reply.status, len(world.journal.of("fault"))) == ((400, 0) if refused else (200, 1))
    assert (sent(world)[-1]["Entries"] == entries) is refused


@pytest.mark.parametrize(
    ("ids", "message", "refused"),
    [
        (["a", "b"], "m", False),
        (["a", "a"], "m", True),
        (["a", ""], "m", True),
        (["a", None], "m", True),
        (["a", "b"], None, True),
        (["a", "b"], "m" * (1 << 18), True),
        ([str(number) for number in range(11)], "m", True),
    ],
)
@pytest.mark.parametrize("service", ["sqs", "sns"])
async def test_a_form_that_breaks_a_rule_is_the_services_to_refuse(
    world: World, service: str, ids: list[str | None], message: str | None, *, refused: bool
) -> None:
    """As in JSON; SNS takes a quarter of what SQS takes."""
    refused = refused and not (service == "sqs" and message == "m" * (1 << 18))
    world.emulator.answers(b"<Response/>", 400 if refused else 200)
    world.arm(PartialFailure(service=service))
    operation, entry, body = {
        "sqs": ("SendMessageBatch", "SendMessageBatchRequestEntry.{}.", "MessageBody"),
        "sns": ("PublishBatch", "PublishBatchRequestEntries.member.{}.", "Message"),
    }[service]
    fields = {"Action": operation, "QueueUrl": QUEUE, "TopicArn": TOPIC}
    for number, each in enumerate(ids, start=1):
        members = {"Id": each, body: message, "MessageGroupId": "g"}
        fields |= {entry.format(number) + name: value for name, value in members.items() if value is not None}
    request = form_request(fields)
    request.headers["Authorization"] = request.headers["Authorization"].replace("/sqs/", f"/{service}/")
    reply = await world.gateway.handle(request)
    assert len(world.journal.of("fault")) == (not refused)
    if refused:
        assert (reply.status, [each.body for each in world.emulator.received]) == (400, [request.body])


async def test_a_refused_batch_is_answered_as_it_was(world: World) -> None:
    """An error for the whole call has no place for entries."""
    world.emulator.answers(b'{"__type": "QueueDoesNotExist"}', 400)
    world.arm(PartialFailure(service="sqs", share=0.5))
    with pytest.raises(ClientError, match="QueueDoesNotExist"):
        await call(world, "sqs", "send_message_batch", QueueUrl=QUEUE, Entries=MESSAGES)


HANDLE = b'{"Messages": [{"MessageId": "m", "ReceiptHandle": "h", "Body": "b"}]}'
SENT_ONE = b'{"MessageId": "m", "Successful": [{"Id": "0", "MessageId": "m"}], "Failed": []}'
NONE_SENT = b'{"Successful": [], "Failed": [{"Id": "0", "Code": "InvalidParameterValue", "SenderFault": true}]}'
SEND = ("send_message", {"QueueUrl": QUEUE, "MessageBody": "m"})
SEND_BATCH = ("send_message_batch", {"QueueUrl": QUEUE, "Entries": MESSAGES[:1]})
RECEIVE = ("receive_message", {"QueueUrl": QUEUE})


@pytest.mark.parametrize(
    ("fault", "made", "answers", "fires"),
    [
        (EarlyVisibility(), RECEIVE, [HANDLE, SENT_ONE], True),
        (EarlyVisibility(), RECEIVE, [b'{"Messages": []}'], False),
        (EarlyVisibility(), RECEIVE, [HANDLE, NONE_SENT], False),
        (EarlyVisibility(), RECEIVE, [HANDLE, REFUSED], False),
        (EarlyVisibility(), RECEIVE, [REFUSED], False),
        (LateDelivery(), SEND, [b"{}", SENT_ONE], True),
        (LateDelivery(), SEND, [b"{}", REFUSED], False),
        (LateDelivery(), SEND, [b'{"Attributes": {"DelaySeconds": "900"}}', SENT_ONE], False),
        (LateDelivery(), SEND_BATCH, [b"{}", SENT_ONE], True),
        (LateDelivery(), SEND_BATCH, [b"{}", NONE_SENT], False),
        (PartialFailure(service="sqs", share=1), SEND_BATCH, [], True),
        (PartialFailure(service="sqs"), ("send_message_batch", {"QueueUrl": QUEUE, "Entries": []}), [REFUSED], False),
        (PartialFailure(service="sqs", share=0.1), ("send_message_batch", {"QueueUrl": QUEUE, "Entries": MESSAGES}),
         [REFUSED], False),
        (Duplicate(service="sqs"), SEND, [SENT_ONE, SENT_ONE], True),
        (Duplicate(service="sqs"), SEND, [SENT_ONE, REFUSED], True),
        (Duplicate(service="sqs"), SEND, [REFUSED], False),
        (LostReply(service="sqs"), SEND, [SENT_ONE], True),
        (LostReply(service="sqs"), SEND, [REFUSED], False),
        (ServiceError(service="sqs", position="after"), SEND, [SENT_ONE], True),
        (ServiceError(service="sqs", position="after"), SEND, [REFUSED], False),
    ],
)  # fmt: skip
async def test_a_fault_fires_where_it_makes_a_difference(
    world: World, fault: Fault, made: tuple[str, dict[str, Any]], answers: list[Any], *, fires: bool
) -> None:
    """Not where there is nothing to act on, nor where the call is refused anyway, which its caller is told."""
    left = [(answer, 200) if isinstance(answer, bytes) else answer for answer in answers]

    async def respond(_: web.BaseRequest) -> web.StreamResponse:
        body, status = left.pop(0)
        return web.Response(body=body, status=status, headers={"x-amzn-errortype": "Refused"} if status == 400 else {})

    world.emulator.respond = respond
    world.arm(fault)
    method, params = made
    with suppress(ClientError, BotoCoreError):
        await call(world, "sqs", method, **params)
    assert (len(world.journal.of("fault")), left) == (fires, [])
    (line,) = world.journal.of("aws")
    if answers == [REFUSED]:
        assert (line["status"], line["error"]) == (400, "Refused")


async def test_an_invoke_that_is_refused_is_not_repeated(world: World) -> None:
    """Nor is its reply lost: it is throttled, and its caller knows."""
    throttled = AwsError("TooManyRequestsException", 429, "Rate Exceeded.")
    world.functions.result = InvokeResult(429, b"", None, throttled, "throttle")
    lost = InvocationError(prevent_execution=False)
    world.arm(Duplicate(service="lambda"), LostReply(service="lambda"), lost)
    with pytest.raises(ClientError, match="TooManyRequests"):
        await call(world, "lambda", "invoke", FunctionName="f", Payload=b"1")
    assert len(world.functions.invokes) == 1
    assert world.journal.of("fault") == []


async def test_what_is_received_becomes_visible_again(world: World) -> None:
    """The caller gets it all the same; its timeout is cut short before the answer goes back."""
    messages = [{"MessageId": "m", "ReceiptHandle": f"h{number}", "Body": '"ReceiptHandle":"no"'} for number in (1, 2)]
    world.emulator.answers(json.dumps({"Messages": messages}).encode())
    world.arm(EarlyVisibility())
    answer = await call(world, "sqs", "receive_message", QueueUrl=QUEUE)
    assert len(answer["Messages"]) == 2
    _, change = world.emulator.received
    assert change.headers["X-Amz-Target"] == "AmazonSQS.ChangeMessageVisibilityBatch"
    entries = [{"Id": str(n), "ReceiptHandle": f"h{n + 1}", "VisibilityTimeout": 0} for n in (0, 1)]
    assert json.loads(change.body) == {"QueueUrl": QUEUE, "Entries": entries}
    assert [line["operation"] for line in world.journal.of("aws")] == ["ReceiveMessage"]


@pytest.mark.parametrize(("own", "after", "changed"), [(None, 3, True), (None, 30, False), (2, 3, False), (5, 3, True)])
async def test_a_timeout_is_never_made_longer(world: World, own: int | None, after: int, changed: bool) -> None:
    """That of the request counts, or else the queue's, which is 30 seconds here."""
    answer = {"Messages": [{"ReceiptHandle": "h", "Body": "b"}], "Attributes": {"VisibilityTimeout": "30"}}
    world.emulator.answers(json.dumps(answer).encode())
    world.arm(EarlyVisibility(after=after))
    await call(world, "sqs", "receive_message", QueueUrl=QUEUE, **({} if own is None else {"VisibilityTimeout": own}))
    operations = [each.headers["X-Amz-Target"].partition(".")[2] for each in world.emulator.received]
    assert ("ChangeMessageVisibilityBatch" in operations) is changed


async def test_messages_are_sent_late(world: World) -> None:
    """The delay of the message is added, or that of its queue."""
    world.emulator.answers(b'{"Attributes": {"DelaySeconds": "20"}, "Successful": []}')
    world.arm(LateDelivery(seconds=7))
    await call(world, "sqs", "send_message", QueueUrl=QUEUE, MessageBody="m", DelaySeconds=3)
    assert sent(world)[-1] == {"QueueUrl": QUEUE, "MessageBody": "m", "DelaySeconds": 10}
    entries = [{"Id": "a", "MessageBody": "m"}, {"Id": "b", "MessageBody": "m", "DelaySeconds": 899}]
    await call(world, "sqs", "send_message_batch", QueueUrl=QUEUE, Entries=entries)
    assert [entry["DelaySeconds"] for entry in sent(world)[-1]["Entries"]] == [27, 900]
    fields = {"Action": "SendMessage", "MessageBody": "m & m"}
    await world.gateway.handle(form_request(fields, {"Host": "localhost"}))
    question, late = world.emulator.received[-2:]
    assert json.loads(question.body)["QueueUrl"] == QUEUE
    assert parse_qs(late.body.decode()) == {"Action": ["SendMessage"], "MessageBody": ["m & m"], "DelaySeconds": ["27"]}


def json_request(operation: str, **members: object) -> Inbound:
    """A request to SQS in JSON, whatever botocore would say of it."""
    signed = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, Signature=0"
    headers = {"X-Amz-Target": f"AmazonSQS.{operation}", "Content-Type": "application/x-amz-json-1.0"}
    body = json.dumps({"QueueUrl": QUEUE} | members).encode()
    return Inbound("POST", "/", CIMultiDict({**headers, "Authorization": signed}), body)


@pytest.mark.parametrize("delay", [901, 1000, -1, -3, "abc", "5", True, 2.5, [1]])
async def test_a_delay_that_sqs_refuses_stays_as_it_is(world: World, delay: object) -> None:
    """It is for SQS to say so, of a message by itself and of an entry; its neighbours are late all the same."""
    world.emulator.answers(SENT_ONE)
    world.arm(LateDelivery(seconds=5))
    await world.gateway.handle(json_request("SendMessage", MessageBody="m", DelaySeconds=delay))
    assert [each.get("DelaySeconds") for each in sent(world)] == [delay]
    entry = {"Id": "a", "MessageBody": "m", "DelaySeconds": delay}
    await world.gateway.handle(json_request("SendMessageBatch", Entries=[entry], DelaySeconds="of no meaning"))
    assert sent(world)[-1]["Entries"] == [entry]
    assert world.journal.of("fault") == []
    neighbour = {"Id": "b", "MessageBody": "m", "DelaySeconds": 0}
    await world.gateway.handle(json_request("SendMessageBatch", Entries=[entry, neighbour, {"Id": "c"}]))
    assert [each["DelaySeconds"] for each in sent(world)[-1]["Entries"]] == [delay, 5, 5]
    assert len(world.journal.of("fault")) == 1


@pytest.mark.parametrize("delay", ["901", "1000", "-3", "abc", "", "2.5", "+5", "²"])
async def test_a_delay_that_sqs_refuses_in_a_form_stays_as_it_is(world: World, delay: str) -> None:
    """Its fields are texts, of which digits are a number."""
    world.emulator.answers(SENT_ONE)
    world.arm(LateDelivery(seconds=5))
    await world.gateway.handle(form_request({"Action": "SendMessage", "MessageBody": "m", "DelaySeconds": delay}))
    fields = {"Action": "SendMessageBatch"}
    for number, each in ((1, delay), (2, "7")):
        fields[f"SendMessageBatchRequestEntry.{number}.Id"] = str(number)
        fields[f"SendMessageBatchRequestEntry.{number}.DelaySeconds"] = each
    assert world.journal.of("fault") == []
    await world.gateway.handle(form_request(fields))
    alone, batch = (parse_qs(each.body.decode(), keep_blank_values=True) for each in world.emulator.received)
    assert alone["DelaySeconds"] == [delay]
    assert batch["SendMessageBatchRequestEntry.1.DelaySeconds"] == [delay]
    assert batch["SendMessageBatchRequestEntry.2.DelaySeconds"] == ["12"]
    assert len(world.journal.of("fault")) == 1


@pytest.mark.parametrize("entries", [None, "ab", [3], [], {"Id": "a"}])
async def test_entries_that_are_none_go_through_as_they_came(world: World, entries: object) -> None:
    """SQS says what is wrong with them."""
    world.emulator.answers(*REFUSED)
    world.arm(LateDelivery(seconds=5))
    reply = await world.gateway.handle(json_request("SendMessageBatch", Entries=entries))
    assert (reply.status, sent(world)) == (400, [{"QueueUrl": QUEUE, "Entries": entries}])
    assert world.journal.of("fault") == []


async def test_messages_of_fifo_queues_are_left_alone(world: World) -> None:
    """They take no delay, and the fault has not fired."""
    world.arm(LateDelivery(seconds=7))
    await call(world, "sqs", "send_message", QueueUrl=f"{QUEUE}.fifo", MessageBody="m", MessageGroupId="g")
    assert "DelaySeconds" not in sent(world)[0]
    assert world.journal.of("fault") == []


async def test_a_call_is_executed_twice(world: World) -> None:
    """The caller gets the second answer; a body that is streamed is the same both times."""
    respond(world, lambda _: json.dumps({"MessageId": f"m-{len(world.emulator.received)}"}).encode())
    world.arm(Duplicate(service="sqs"), Duplicate(service="s3"))
    answer = await call(world, "sqs", "send_message", QueueUrl=QUEUE, MessageBody="m")
    assert answer["MessageId"] == "m-2"
    assert sent(world)[0] == sent(world)[1]
    assert len(world.journal.of("aws")) == 1
    world.emulator.received.clear()
    world.emulator.answers(b"")
    body = b"x" * (2 << 20)
    await call(world, "s3", "put_object", Bucket="b", Key="k", Body=body)
    first, second = world.emulator.received
    assert first.body == second.body
    assert body in first.body


async def test_an_invoke_is_executed_twice(world: World) -> None:
    """The function runs two times, for one answer."""
    world.arm(Duplicate(service="lambda", operations=("Invoke",)))
    answer = await call(world, "lambda", "invoke", FunctionName="f", Payload=b"1")
    assert answer["StatusCode"] == 200
    assert [(each["payload"], each["effects"]) for each in world.functions.invokes] == [(b"1", ()), (b"1", ())]
    assert [line["effect"] for line in world.journal.of("fault")] == ["executed twice"]


@pytest.mark.parametrize(
    ("service", "method", "params", "exception"),
    [
        ("sns", "publish", {"TopicArn": TOPIC, "Message": "m"}, "InternalErrorException"),
        ("cloudwatch", "list_metrics", {}, "InternalServiceFault"),
        ("dynamodbstreams", "get_records", {"ShardIterator": "i"}, "InternalServerError"),
        ("ssm", "get_parameter", {"Name": "p"}, "InternalServerError"),
        ("secretsmanager", "get_secret_value", {"SecretId": "s"}, "InternalServiceError"),
        ("kinesis", "put_record", {"StreamName": "s", "Data": b"1", "PartitionKey": "1"}, "InternalFailureException"),
        ("scheduler", "list_schedules", {}, "InternalServerException"),
        ("iam", "list_roles", {}, "ServiceFailureException"),
    ],
)
async def test_a_failure_is_caught_as_the_exception_of_its_service(
    world: World, service: str, method: str, params: dict[str, Any], exception: str
) -> None:
    """In each protocol: forms, JSON, REST and CBOR."""
    world.arm(ServiceError(service=service))
    with pytest.raises(getattr(world.client(service).exceptions, exception)) as caught:
        await asyncio.to_thread(getattr(world.client(service), method), **params)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


async def test_effects_and_a_lost_reply_come_together(world: World) -> None:
    """Two faults on one call: the batch happens in part, twice, and nobody hears of it."""
    respond(world, taken_by_queue)
    world.arm(PartialFailure(service="sqs"), Duplicate(service="sqs"), LostReply(service="sqs"))
    with pytest.raises(Exception, match="Connection"):
        await call(world, "sqs", "send_message_batch", QueueUrl=QUEUE, Entries=MESSAGES)
    first, second = sent(world)
    assert first == second
    assert 0 < len(first["Entries"]) < 8
    (line,) = world.journal.of("aws")
    assert (line["status"], line["error"], line["cause"]) == (0, "ConnectionReset", "reset")


@pytest.mark.parametrize(("fault", "received"), [(LostReply, 1), (Unreachable, 0)])
async def test_the_plane_s_own_calls_see_that_nothing_answers(world: World, fault: Any, received: int) -> None:
    """Pollers, destinations and deliveries take status 0 for a service that does not answer, and try again."""
    world.arm(fault(service="sqs"))
    client = AwsClient(world.gateway.aws, world.host)
    with pytest.raises(AwsCallError) as caught:
        await client.call("sqs", "SendMessage", {"QueueUrl": QUEUE, "MessageBody": "m"}, caller="async:f")
    assert (caught.value.code, caught.value.status) == ("ConnectionReset", 0)
    assert len(world.emulator.received) == received


async def test_what_was_read_for_nobody_counts_nowhere(world: World) -> None:
    """What was put counts, though nobody knows."""
    stored = {"FailedRecordCount": 0, "Records": [{"SequenceNumber": "1", "ShardId": "s"}], "Messages": []}
    world.emulator.answers(json.dumps(stored).encode())
    world.arm(LostReply(service="sqs"), LostReply(service="kinesis", operations=("PutRecords",)))
    client = AwsClient(world.gateway.aws, world.host)
    for service, operation, params in (
        ("sqs", "ReceiveMessage", {"QueueUrl": QUEUE}),
        ("kinesis", "PutRecords", {"StreamName": "orders", "Records": [{"Data": b"1", "PartitionKey": "1"}]}),
    ):
        with pytest.raises(AwsCallError):
            await client.call(service, operation, params, caller="mapping:1")
    received, put = world.journal.of("aws")
    assert "records" not in received
    assert put["records"] == 1
    assert world.gateway.streamed_in == {"orders": 1}
