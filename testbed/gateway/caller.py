"""AWS calls from inside the plane: botocore's serialisers and parsers around the gateway, no socket in between."""

import time
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Final
from urllib.parse import urlencode

from botocore.awsrequest import prepare_request_dict
from botocore.model import OperationModel, StructureShape
from botocore.parsers import ResponseParser, create_parser
from botocore.serialize import create_serializer
from multidict import CIMultiDict

from testbed.compute.aws import AwsCallError
from testbed.gateway.classify import Target, resource_name, service_model
from testbed.gateway.emulator import UNREACHABLE, EmulatorUnreachableError
from testbed.gateway.message import Inbound, Reply
from testbed.trace import HEADER

_REGION: Final = "us-east-1"
_FORM: Final = "application/x-www-form-urlencoded; charset=utf-8"
_NOTHING: Final = StructureShape("Nothing", {"type": "structure", "members": {}})
_RESOURCES: Final = (
    "QueueUrl", "StreamName", "StreamARN", "StreamArn", "FunctionName", "TopicArn", "TableName", "restApiId", "Bucket",
    "stateMachineArn", "DeliveryStreamName",
)  # fmt: skip


Send = Callable[[Target, Inbound, str], Awaitable[Reply]]
"""Answers a request for an operation, made by a caller."""


class AwsClient:
    """An `AwsCaller` that takes the gateway's way, where faults and the journal see it, or another one.

    Attributes:
        host: Host and port of the gateway, as its clients know them.
    """

    def __init__(self, send: Send, host: str) -> None:
        self._send = send
        self.host = host

    async def call(
        self, service: str, operation: str, params: dict[str, Any], *, caller: str, trace: str | None = None
    ) -> dict[str, Any]:
        """Call ``operation``; see `AwsCaller` and `AwsSender`."""
        model = service_model(service).operation_model(operation)
        request = self._request(model, params)
        if trace:
            request.headers[HEADER] = trace
        resource = next((resource_name(params[name]) for name in _RESOURCES if name in params), "")
        try:
            reply = await self._send(Target(service, operation, resource), request, caller)
            await reply.whole()
        except EmulatorUnreachableError as error:
            raise AwsCallError("ServiceUnavailable", 0, str(error)) from error
        if not reply.status:
            raise AwsCallError(reply.error or "ServiceUnavailable", 0, "the connection was reset")
        if reply.cause == UNREACHABLE:
            raise AwsCallError(reply.error or "ServiceUnavailable", 0, reply.body.decode("utf-8", "replace"))
        return _parsed(model, reply)

    def _request(self, model: OperationModel, params: dict[str, Any]) -> Inbound:
        signing_name = model.service_model.signing_name
        day = time.strftime("%Y%m%d", time.gmtime())
        request = _serializer(_protocol(model)).serialize_to_request(params, model)
        prepare_request_dict(request, endpoint_url=f"http://{self.host}")
        body = request["body"]
        if isinstance(body, dict):
            body = urlencode(body, doseq=True)
        headers = CIMultiDict({name: str(value) for name, value in request["headers"].items()})
        if _protocol(model) in {"query", "ec2"}:
            headers["Content-Type"] = _FORM
        headers["Host"] = self.host
        scope = f"test/{day}/{_REGION}/{signing_name}/aws4_request"
        headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
        target = request["url"].removeprefix(f"http://{self.host}")
        return Inbound(request["method"], target, headers, body.encode() if isinstance(body, str) else body)


def _protocol(model: OperationModel) -> str:
    protocol: str = model.service_model.metadata["protocol"]
    return protocol


def _parsed(model: OperationModel, reply: Reply) -> dict[str, Any]:
    wire = {"status_code": reply.status, "headers": reply.headers, "body": reply.body}
    answer: dict[str, Any] = _parser(_protocol(model)).parse(wire, model.output_shape or _NOTHING)
    if error := answer.get("Error") if reply.status >= 300 else None:  # noqa: PLR2004 - botocore draws the line there
        raise AwsCallError(error.get("Code", ""), reply.status, error.get("Message", ""))
    return answer


@cache
def _serializer(protocol: str) -> Any:
    return create_serializer(protocol, include_validation=False)


@cache
def _parser(protocol: str) -> ResponseParser:
    return create_parser(protocol)
