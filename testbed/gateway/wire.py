"""AWS errors on the wire: one error, written in the protocol that the caller spoke."""

import json
import re
import uuid
from typing import Any, Final
from xml.sax.saxutils import escape

from multidict import CIMultiDict

from testbed.chaos.call import AwsError
from testbed.gateway.cbor import encoded
from testbed.gateway.classify import Target, service_model
from testbed.gateway.message import Inbound, Reply

REQUEST_ID_HEADER: Final = "x-amzn-RequestId"
_SERVER_FAULT: Final = 500
_XML_CODE: Final = re.compile(rb"<Code>([^<]+)</Code>")


def error_reply(error: AwsError, target: Target, request: Inbound, cause: str | None = None) -> Reply:
    """``error`` as the service of ``target`` would answer ``request``: the shapes are those of botocore's parsers."""
    request_id = str(uuid.uuid4())
    headers: CIMultiDict[str] = CIMultiDict({REQUEST_ID_HEADER: request_id})
    protocol = _spoken(target.service, request)
    if protocol in {"json", "rest-json"}:
        headers["x-amzn-ErrorType"] = error.code
        if service_model(target.service).metadata.get("awsQueryCompatible") is not None:
            headers["x-amzn-query-error"] = f"{error.code};{_fault(error)}"
        headers["Content-Type"] = "application/json" if protocol == "rest-json" else "application/x-amz-json-1.0"
        body = json.dumps({"__type": error.code, "message": error.message, **error.members}).encode()
    elif protocol == "smithy-rpc-v2-cbor":
        headers["Content-Type"] = "application/cbor"
        headers["smithy-protocol"] = "rpc-v2-cbor"
        body = encoded({"__type": error.code, "message": error.message})
    elif target.service == "s3":
        headers["Content-Type"] = "application/xml"
        body = _xml("<Error>" + _code_and_message(error) + f"<RequestId>{request_id}</RequestId></Error>")
    elif protocol == "ec2":
        headers["Content-Type"] = "text/xml"
        inner = f"<Errors><Error>{_code_and_message(error)}</Error></Errors><RequestID>{request_id}</RequestID>"
        body = _xml(f"<Response>{inner}</Response>")
    else:
        headers["Content-Type"] = "text/xml"
        inner = f"<Error><Type>{_fault(error)}</Type>{_code_and_message(error)}</Error>"
        body = _xml(f"<ErrorResponse>{inner}<RequestId>{request_id}</RequestId></ErrorResponse>")
    return Reply(error.status, headers, body, error=error.code, cause=cause)


def error_code(reply: Reply) -> str:
    """The AWS error code of an answer that is an error; its status where it names none, as the answers to HEAD do."""
    if named := reply.headers.get("x-amzn-errortype"):
        return named.partition(":")[0]
    found = _XML_CODE.search(reply.body)
    return found[1].decode() if found else str(reply.status)


def _spoken(service: str, request: Inbound) -> str:
    """The protocol of this very request: several services take more than one."""
    if "X-Amz-Target" in request.headers:
        return "json"
    if request.headers.get("smithy-protocol") == "rpc-v2-cbor":
        return "smithy-rpc-v2-cbor"
    protocol: str = service_model(service).metadata["protocol"]
    return "query" if protocol in {"json", "smithy-rpc-v2-cbor"} else protocol


def _fault(error: AwsError) -> str:
    return "Receiver" if error.status >= _SERVER_FAULT else "Sender"


def _code_and_message(error: AwsError) -> str:
    return f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"


def _xml(document: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{document}'.encode()


def json_reply(status: int, document: Any, **headers: str) -> Reply:
    """A JSON document as API Gateway and the testbed's own routes answer it."""
    return Reply(status, CIMultiDict({"Content-Type": "application/json", **headers}), json.dumps(document).encode())
