"""Stand-ins for AWS and for the compute plane, and a loop on which time passes only when everybody waits."""

import asyncio
import functools
import json
import math
import selectors
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from testbed.chaos.call import AwsError
from testbed.compute.aws import AwsCallError
from testbed.compute.pollers import MappingStatus, PollerFleet
from testbed.compute.result import InvokeResult
from testbed.semantics.profiles import Profile, aws

EPOCH = 1_700_000_000.0
ACCOUNT = "us-east-1:000000000000"
FUNCTION_ARN = f"arn:aws:lambda:{ACCOUNT}:function:f"


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer instead of waiting for it. Only for code that does no I/O of its own."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(selectors.SelectSelector())
        select = self._selector.select

        def jump(timeout: float | None = None) -> list[Any]:
            if timeout is None:
                raise AssertionError("deadlock: everybody waits, and nobody for a point in time")
            self._now += timeout
            return select(0)

        self._selector.select = jump

    def time(self) -> float:
        return self._now


def virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test on a `VirtualTimeLoop`."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def now() -> float:
    return EPOCH + asyncio.get_running_loop().time()


@dataclass
class Message:
    id: str
    body: str
    attributes: dict[str, Any]
    sent_at: float
    visible_at: float = 0.0
    receives: int = 0
    first_received_at: float = 0.0

    @property
    def group(self) -> str | None:
        return self.attributes.get("MessageGroupId")


@dataclass
class Queue:
    name: str
    visibility_timeout: float = 30.0
    max_receive_count: int | None = None
    dead_letter: "Queue | None" = None
    messages: dict[str, Message] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0  # long polls at this moment
    fifo: bool = False  # a group with messages in flight gives no others

    def send(self, body: str, **attributes: Any) -> str:
        message = Message(f"{self.name}-{len(self.messages)}-{body[:8]}", body, attributes, now())
        self.messages[message.id] = message
        self.arrived.set()
        return message.id

    @property
    def bodies(self) -> list[str]:
        return sorted(message.body for message in self.messages.values())

    async def receive(self, most: int, wait: float, visibility_timeout: float | None) -> list[Message]:
        end = now() + wait
        self.waiting += 1
        try:
            while not (received := self._take(most, visibility_timeout)) and now() < end:
                self.arrived.clear()
                returns = [m.visible_at - now() for m in self.messages.values() if m.visible_at > now()]
                try:
                    async with asyncio.timeout(min([end - now(), *returns])):
                        await self.arrived.wait()
                except TimeoutError:
                    continue
        finally:
            self.waiting -= 1
        return received

    def _take(self, most: int, visibility_timeout: float | None) -> list[Message]:
        taken: list[Message] = []
        held = {m.group for m in self.messages.values() if m.visible_at > now()} if self.fifo else set()
        for message in list(self.messages.values()):
            if message.visible_at > now() or len(taken) == most or (self.fifo and message.group in held):
                continue
            if self.max_receive_count is not None and message.receives >= self.max_receive_count:
                assert self.dead_letter is not None
                del self.messages[message.id]
                self.dead_letter.messages[message.id] = replace(message, visible_at=0)
                continue
            message.receives += 1
            message.first_received_at = message.first_received_at or now()
            message.visible_at = now() + (visibility_timeout or self.visibility_timeout)
            taken.append(message)
        return taken


@dataclass
class Shard:
    id: str
    records: list[dict[str, Any]] = field(default_factory=list)
    closed: bool = False
    parent: str | None = None

    def put(self, data: bytes, key: str = "k") -> str:
        # The decimal numbers have different lengths, so comparing them as text goes wrong.
        number = str(90 + 5 * len(self.records))
        self.records.append(
            {
                "SequenceNumber": number,
                "ApproximateArrivalTimestamp": datetime.fromtimestamp(now(), UTC),
                "Data": data,
                "PartitionKey": key,
            }
        )
        return number


def change(number: str, key: str, event_name: str = "INSERT", **images: Any) -> dict[str, Any]:
    """A record of a DynamoDB stream as boto3 has it."""
    return {
        "eventID": f"id-{number}",
        "eventName": event_name,
        "eventVersion": "1.1",
        "dynamodb": {
            "ApproximateCreationDateTime": datetime.fromtimestamp(now(), UTC),
            "Keys": {"id": {"S": key}},
            "SequenceNumber": number,
            "SizeBytes": 10,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            **images,
        },
    }


class FakeAws:
    """The operations that pollers use, on queues and streams in memory; `refuse` makes calls fail."""

    def __init__(self) -> None:
        self.queues: dict[str, Queue] = {}
        self.streams: dict[str, list[Shard]] = {}
        self.function = {"Timeout": 3, "Role": "arn:aws:iam::000000000000:role/r"}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refusals: dict[str, list[AwsCallError]] = defaultdict(list)
        self.lost: Counter[str] = Counter()
        self.published: list[dict[str, Any]] = []
        self.objects: dict[str, dict[str, Any]] = {}  # by key
        self.latency = 0.001
        self.retention_hours = 24.0
        self.fail_deletes_of: dict[str, int] = {}  # body -> how often its delete fails on SQS's side
        self.fail_changes_of = ""  # first letters of the bodies whose visibility timeouts cannot be changed

    def queue(self, name: str, **options: Any) -> Queue:
        self.queues[name] = Queue(name, **options)
        return self.queues[name]

    def stream(self, name: str, shards: int = 1) -> list[Shard]:
        self.streams[name] = [Shard(f"shardId-{i:012}") for i in range(shards)]
        return self.streams[name]

    def refuse(self, operation: str, *errors: tuple[str, int]) -> None:
        self.refusals[operation] += [AwsCallError(code, status, "refused") for code, status in errors]

    def lose(self, operation: str, times: int = 1) -> None:
        """Execute the next calls, and let nobody know."""
        self.lost[operation] += times

    def count(self, operation: str) -> int:
        return sum(called == operation for called, _ in self.calls)

    async def call(self, service: str, operation: str, params: dict[str, Any], *, caller: str) -> dict[str, Any]:
        assert caller.startswith("mapping:")
        self.calls.append((operation, params))
        await asyncio.sleep(self.latency)
        if self.refusals[operation]:
            raise self.refusals[operation].pop(0)
        answer: Awaitable[dict[str, Any]] = getattr(self, f"_{service}_{operation}")(**params)
        result = await answer
        if self.lost[operation]:
            self.lost[operation] -= 1
            raise AwsCallError("ConnectionReset", 0, "the connection was reset")
        return result

    async def _lambda_GetFunctionConfiguration(self, FunctionName: str) -> dict[str, Any]:  # noqa: N802, N803 - AWS's
        assert FunctionName == FUNCTION_ARN
        return self.function

    async def _sns_Publish(self, **params: Any) -> dict[str, Any]:  # noqa: N802 - AWS's name
        self.published.append(params)
        return {"MessageId": "m"}

    async def _s3_PutObject(self, **params: Any) -> dict[str, Any]:  # noqa: N802 - AWS's name
        self.objects[params["Key"]] = params
        return {}

    async def _sqs_GetQueueUrl(self, QueueName: str) -> dict[str, Any]:  # noqa: N802, N803 - AWS's names
        if QueueName not in self.queues:
            raise AwsCallError("AWS.SimpleQueueService.NonExistentQueue", 400, "no such queue")
        return {"QueueUrl": f"http://127.0.0.1/000000000000/{QueueName}"}

    def _by_url(self, url: str) -> Queue:
        return self.queues[url.rsplit("/", 1)[1]]

    async def _sqs_GetQueueAttributes(self, **params: Any) -> dict[str, Any]:  # noqa: N802 - AWS's name
        queue = self._by_url(params["QueueUrl"])
        return {"Attributes": {"VisibilityTimeout": str(int(queue.visibility_timeout))}}

    async def _sqs_SendMessage(self, **params: Any) -> dict[str, Any]:  # noqa: N802 - AWS's name
        return {"MessageId": self._by_url(params["QueueUrl"]).send(params["MessageBody"])}

    async def _sqs_ReceiveMessage(self, **params: Any) -> dict[str, Any]:  # noqa: N802 - AWS's name
        assert 1 <= params["MaxNumberOfMessages"] <= 10
        assert 0 <= params["WaitTimeSeconds"] <= 20
        assert params["AttributeNames"] == params["MessageAttributeNames"] == ["All"]
        received = await self._by_url(params["QueueUrl"]).receive(
            params["MaxNumberOfMessages"], params["WaitTimeSeconds"], params.get("VisibilityTimeout")
        )
        return {"Messages": [self._message(message) for message in received]} if received else {}

    def _message(self, message: Message) -> dict[str, Any]:
        shown = {
            "MessageId": message.id,
            "ReceiptHandle": f"{message.id}#{message.receives}",
            "MD5OfBody": "0" * 32,
            "Body": message.body,
            "Attributes": {
                "ApproximateReceiveCount": str(message.receives),
                "SentTimestamp": str(round(message.sent_at * 1000)),
                "SenderId": "000000000000",
                "ApproximateFirstReceiveTimestamp": str(round(message.first_received_at * 1000)),
            },
        }
        for name, value in message.attributes.items():
            kind = "Attributes" if name in {"AWSTraceHeader", "MessageGroupId"} else "MessageAttributes"
            shown[kind] = shown.get(kind, {}) | {name: value}  # type: ignore[operator]
        return shown

    async def _sqs_DeleteMessageBatch(self, **params: Any) -> dict[str, Any]:  # noqa: N802 - AWS's name
        queue = self._by_url(params["QueueUrl"])
        assert 1 <= len(params["Entries"]) <= 10
        done, failed = [], []
        for entry in params["Entries"]:
            message_id, receives = entry["ReceiptHandle"].split("#")
            message = queue.messages.get(message_id)
            if message is not None and self.fail_deletes_of.get(message.body, 0) > 0:
                self.fail_deletes_of[message.body] -= 1
                failed.append({"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"})
                continue
            if message is not None and message.receives == int(receives):
                del queue.messages[message_id]
            done.append({"Id": entry["Id"]})
        return {"Successful": done, "Failed": failed}

    async def _sqs_ChangeMessageVisibilityBatch(self, **params: Any) -> dict[str, Any]:  # noqa: N802 - AWS's name
        queue = self._by_url(params["QueueUrl"])
        assert 1 <= len(params["Entries"]) <= 10
        done, failed = [], []
        for entry in params["Entries"]:
            message_id, receives = entry["ReceiptHandle"].split("#")
            message = queue.messages.get(message_id)
            in_flight = message is not None and message.receives == int(receives) and message.visible_at > now()
            if message is None or not in_flight or message.body[0] in self.fail_changes_of:
                failed.append({"Id": entry["Id"], "SenderFault": True, "Code": "MessageNotInflight"})
                continue
            message.visible_at = now() + entry["VisibilityTimeout"]
            done.append({"Id": entry["Id"]})
        return {"Successful": done, "Failed": failed}

    async def _kinesis_ListShards(self, **params: Any) -> dict[str, Any]:  # noqa: N802 - AWS's name
        """One shard per page, so that paging is used."""
        name, index = params["NextToken"].split("#") if "NextToken" in params else (params["StreamName"], "0")
        shards, at = self.streams[name], int(index)
        shown: dict[str, Any] = {"ShardId": shards[at].id}
        if shards[at].parent:
            shown["ParentShardId"] = shards[at].parent
        more = {"NextToken": f"{name}#{at + 1}"} if at + 1 < len(shards) else {}
        return {"Shards": [shown], **more}

    async def _kinesis_DescribeStreamSummary(self, StreamName: str) -> dict[str, Any]:  # noqa: N802, N803 - AWS's
        assert StreamName in self.streams
        return {"StreamDescriptionSummary": {"RetentionPeriodHours": self.retention_hours}}

    async def _kinesis_GetShardIterator(self, **params: Any) -> dict[str, Any]:  # noqa: N802 - AWS's name
        shard = next(s for s in self.streams[params["StreamName"]] if s.id == params["ShardId"])
        match params["ShardIteratorType"]:
            case "TRIM_HORIZON":
                position = 0
            case "LATEST":
                position = len(shard.records)
            case "AFTER_SEQUENCE_NUMBER":
                numbers = [record["SequenceNumber"] for record in shard.records]
                position = numbers.index(params["StartingSequenceNumber"]) + 1
            case "AT_TIMESTAMP":
                arrivals = [record["ApproximateArrivalTimestamp"] for record in shard.records]
                position = sum(arrival < params["Timestamp"] for arrival in arrivals)
            case other:
                raise AssertionError(other)
        return {"ShardIterator": f"{params['StreamName']}#{shard.id}#{position}"}

    async def _dynamodbstreams_DescribeStream(self, **params: Any) -> dict[str, Any]:  # noqa: N802 - AWS's name
        """One shard per page, so that paging is used."""
        shards = self.streams[params["StreamArn"]]
        ids = [shard.id for shard in shards]
        at = ids.index(params["ExclusiveStartShardId"]) + 1 if "ExclusiveStartShardId" in params else 0
        shown: dict[str, Any] = {"ShardId": ids[at]}
        if shards[at].parent:
            shown["ParentShardId"] = shards[at].parent
        more = {"LastEvaluatedShardId": ids[at]} if at + 1 < len(ids) else {}
        return {"StreamDescription": {"Shards": [shown], **more}}

    async def _dynamodbstreams_GetShardIterator(self, **params: Any) -> dict[str, Any]:  # noqa: N802 - AWS's name
        assert params["ShardIteratorType"] != "AT_TIMESTAMP"
        shard = next(s for s in self.streams[params["StreamArn"]] if s.id == params["ShardId"])
        numbers = [record["dynamodb"]["SequenceNumber"] for record in shard.records]
        starts = {"TRIM_HORIZON": 0, "LATEST": len(numbers)}
        kind = params["ShardIteratorType"]
        position = starts[kind] if kind in starts else numbers.index(params["SequenceNumber"]) + 1
        return {"ShardIterator": f"{params['StreamArn']}#{shard.id}#{position}"}

    async def _dynamodbstreams_GetRecords(self, **params: Any) -> dict[str, Any]:  # noqa: N802 - AWS's name
        assert params["Limit"] <= 1000
        answer = await self._kinesis_GetRecords(**params)
        del answer["MillisBehindLatest"]
        return answer

    async def _kinesis_GetRecords(self, **params: Any) -> dict[str, Any]:  # noqa: N802 - AWS's name
        name, shard_id, position = params["ShardIterator"].split("#")
        shard = next(s for s in self.streams[name] if s.id == shard_id)
        start = int(position)
        records = shard.records[start : start + params["Limit"]]
        at_end = start + len(records) == len(shard.records)
        following = None if shard.closed and at_end else f"{name}#{shard_id}#{start + len(records)}"
        return {
            "Records": records,
            "NextShardIterator": following,
            "MillisBehindLatest": 0 if at_end else 1000,
        }


@dataclass
class Invocation:
    """One invoke as the fake compute plane saw it."""

    at: float
    event: dict[str, Any]
    identity: str | None
    trace: str | None

    @property
    def bodies(self) -> list[str]:
        return [record["body"] for record in self.event["Records"]]

    @property
    def numbers(self) -> list[str]:
        return [record["kinesis"]["sequenceNumber"] for record in self.event["Records"]]


def returned(value: Any = None) -> InvokeResult:
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    return InvokeResult(200, payload, None, None, None, request_id="r-1")


def raised() -> InvokeResult:
    return InvokeResult(200, b'{"errorMessage":"boom"}', "Unhandled", None, "function error", request_id="r-1")


def throttled() -> InvokeResult:
    error = AwsError("TooManyRequestsException", 429, "Rate Exceeded.")
    return InvokeResult(429, b"", None, error, "throttle")


def failures(ids: Iterable[str]) -> InvokeResult:
    return returned({"batchItemFailures": [{"itemIdentifier": i} for i in ids]})


class FakeInvoker:
    """Answers with ``handler``, which gets the number of the invoke and the event, after ``seconds``."""

    def __init__(self, handler: Callable[[int, dict[str, Any]], InvokeResult] | None = None) -> None:
        self.handler = handler or (lambda _number, _event: returned())
        self.seconds = 0.05
        self.invocations: list[Invocation] = []
        self.running = 0
        self.most_running = 0
        self.most_bytes = 0  # of one event

    async def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        caller: str,
        trace: str | None = None,
        identity: str | None = None,
    ) -> InvokeResult:
        assert (function, caller) == (FUNCTION_ARN, "mapping:u-1")
        invocation = Invocation(now(), json.loads(payload), identity, trace)
        self.invocations.append(invocation)
        number = len(self.invocations)
        self.most_bytes = max(len(payload), self.most_bytes)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        await asyncio.sleep(self.seconds)
        self.running -= 1
        return self.handler(number, invocation.event)


class World:
    """A fleet with one mapping in the middle of fakes."""

    def __init__(
        self,
        handler: Callable[[int, dict[str, Any]], InvokeResult] | None = None,
        profile: Profile = aws,
    ) -> None:
        self.aws = FakeAws()
        self.invoker = FakeInvoker(handler)
        self.journal: list[dict[str, Any]] = []
        self.fleet = PollerFleet(self.aws, self.invoker, self._record, profile, now)
        self.mapping: dict[str, Any] = {}

    def _record(self, hop: str, **fields: Any) -> None:
        assert hop == "mapping"
        self.journal.append(fields)

    def events(self, event: str) -> list[dict[str, Any]]:
        return [fields for fields in self.journal if fields["event"] == event]

    async def map_queue(self, queue: str, **options: Any) -> None:
        await self.map(f"arn:aws:sqs:{ACCOUNT}:{queue}", BatchSize=10, **options)

    async def map_stream(self, stream: str, **options: Any) -> None:
        arn = f"arn:aws:kinesis:{ACCOUNT}:stream/{stream}"
        await self.map(arn, **({"StartingPosition": "TRIM_HORIZON", "BatchSize": 100} | options))

    async def map(self, source: str, **options: Any) -> None:
        entry = {"UUID": "u-1", "EventSourceArn": source, "FunctionArn": FUNCTION_ARN, "State": "Enabled"}
        self.mapping = entry | options
        await self.fleet.reconcile([self.mapping])

    async def update(self, **options: Any) -> None:
        self.mapping = self.mapping | options
        await self.fleet.reconcile([self.mapping])

    @property
    def status(self) -> MappingStatus:
        (status,) = self.fleet.status()
        return status

    async def until(self, condition: Callable[[], object], within: float = math.inf) -> None:
        """Let time pass until ``condition`` holds; an assertion fails when it does not hold in time."""
        end = now() + min(within, 100_000)
        while not condition():
            assert now() < end, f"did not happen; journal: {self.journal[-5:]}"
            await asyncio.sleep(0.01)
