"""A service behind its limits: requests as boto3 writes them, and an emulator that keeps what reaches it."""

import json
from collections.abc import Mapping
from typing import Any

from multidict import CIMultiDict

from testbed.compute.aws import AwsCallError
from testbed.gateway.classify import Target, resource_name
from testbed.gateway.limits import ServiceLimits
from testbed.gateway.message import Inbound, Reply
from testbed.semantics.profiles import Profile

PREFIXES = {"kinesis": "Kinesis_20131202", "dynamodb": "DynamoDB_20120810"}


class Behind:
    """Limits whose clock stands at ``now`` and whose emulator answers as ``answers`` says, by operation.

    Attributes:
        sent: Documents that reached the emulator, with their operations.
        described: What the plane's own reads are answered, by operation and name; unknown ones are refused.
        reads: Those reads.
    """

    def __init__(self, profile: Profile) -> None:
        self.now = 1000.0
        self.sent: list[tuple[str, Any]] = []
        self.answers: dict[str, Any] = {}
        self.described: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.reads: list[str] = []
        self.limits = ServiceLimits(self, lambda: self.now)
        self.limits.use(profile)

    async def call(self, _service: str, operation: str, params: dict[str, Any], *, caller: str) -> dict[str, Any]:
        """The plane's own read."""
        assert caller == "testbed"
        name = next(iter(params.values()))
        self.reads.append(name)
        if (operation, name) not in self.described:
            raise AwsCallError("ResourceNotFoundException", 400, name)
        return dict(self.described[operation, name])

    async def forward(self, request: Inbound, target: Target) -> Reply:
        """What the emulator answers."""
        document = json.loads(request.body)
        assert "Content-Length" not in request.headers or int(request.headers["Content-Length"]) == len(request.body)
        self.sent.append((target.operation, document))
        answer = self.answers.get(target.operation, {})
        body = json.dumps(answer(document) if callable(answer) else answer).encode()
        return Reply(200, CIMultiDict({"Content-Length": str(len(body)), "x-amz-crc32": "1"}), body)

    async def ask(self, service: str, operation: str, **document: Any) -> tuple[Reply, dict[str, Any]]:
        """The answer to one request, and its document."""
        body = json.dumps(document).encode()
        headers = CIMultiDict({"X-Amz-Target": f"{PREFIXES[service]}.{operation}", "Content-Length": str(len(body))})
        named = document.get("StreamName") or document.get("StreamARN") or document.get("TableName") or ""
        target = Target(service, operation, resource_name(named))
        reply = await self.limits.execute(target, Inbound("POST", "/", headers, body), self.forward)
        if "Content-Length" in reply.headers:
            assert int(reply.headers["Content-Length"]) == len(reply.body)
        return reply, json.loads(reply.body)
