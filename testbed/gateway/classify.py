"""Which service, operation and resource an HTTP request means, by botocore's own models.

Every protocol of AWS is told apart by what it puts on the wire: JSON by ``X-Amz-Target``, query by the form field
``Action``, RPC v2 by its path, REST by method and path. The service comes from the credential scope of the signature
(AWS Signature Version 4, which presigned URLs carry in their query), and where nobody has signed, from what the
emulator goes by too: the version that a form names, the path of a queue or a function, a bucket and a key.
"""

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import botocore
import botocore.session
from botocore.model import OperationModel, ServiceModel

from testbed.gateway.message import Inbound

_SCOPE: Final = re.compile(r"Credential=[^/]+/[0-9]{8}/[^/]+/([^/]+)/aws4_request")
RPC_V2_PATH: Final = re.compile(r"/service/([^/]+)/operation/([^/]+)")
"""The path of a request in RPC v2: the service by its target prefix in JSON, and the operation."""

_FORM: Final = "application/x-www-form-urlencoded"
_UPLOAD: Final = "multipart/form-data"
_QUEUE_PATH: Final = re.compile(r"(/queue/[a-z0-9-]+)?/[0-9]{12}/[a-zA-Z0-9_-]+(\.fifo)?")
_OBJECT_PATH: Final = re.compile(r"/[a-z0-9][a-z0-9.-]+/.+")
_BUCKET_HOST: Final = re.compile(r"([a-z0-9][a-z0-9.-]+)\.s3\.")
_METADATA_HEAD_BYTES: Final = (
    8192  # the metadata stands at the head of each model: no need to unpack the megabytes after it
)

# Members that name what a request is about, the most telling first.
_RESOURCE_MEMBERS: Final = (
    "QueueUrl", "QueueName", "StreamName", "StreamARN", "TableName", "FunctionName", "TopicArn", "TargetArn",
    "stateMachineArn", "executionArn", "Bucket", "restApiId", "EventBusName", "Rule", "SecretId", "logGroupName",
    "StackName", "RoleName", "UserName", "KeyId", "DeliveryStreamName", "DomainName", "ClusterIdentifier", "AlarmName",
    "Namespace", "Name", "name", "ResourceArn", "resourceArn", "ResourceARN",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """What an AWS request is.

    Attributes:
        service: botocore's name of the service, for example ``"stepfunctions"``.
        operation: Name of the operation, for example ``"SendMessage"``.
        resource: Name of what it is about (no ARN, no URL); empty where the request names nothing.
    """

    service: str
    operation: str
    resource: str


def classify(request: Inbound) -> Target | None:
    """The operation that ``request`` calls; None when it is not an AWS request, or of a service unknown to botocore.

    A streamed body is not looked at: operations that stream say all in their path and headers.
    """
    query = parse_qs(request.target.partition("?")[2], keep_blank_values=True)
    candidates = _signed_services(request, query)
    if target := request.headers.get("X-Amz-Target"):
        return _json_target(target, request.body, candidates)
    if found := RPC_V2_PATH.fullmatch(request.path):
        return _rpc_v2_target(found[1], found[2], candidates)
    content_type = request.headers.get("Content-Type", "")
    if request.method == "POST" and content_type.startswith(_FORM):
        form = parse_qs(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        return _query_target(form, candidates, request.path)
    if request.method == "POST" and content_type.startswith(_UPLOAD):  # a browser's, which botocore has no model of
        return Target("s3", "PostObject", _path_of_object(request).split("/")[1])
    return _rest_target(request, query, candidates or _unsigned_services(request))


def signed_services(request: Inbound) -> tuple[str, ...]:
    """The services that the signature of ``request`` may mean, the likeliest first; none where it is not signed."""
    return _signed_services(request, parse_qs(request.target.partition("?")[2], keep_blank_values=True))


def _signed_services(request: Inbound, query: Mapping[str, list[str]]) -> tuple[str, ...]:
    scope = request.headers.get("Authorization", "") or "Credential=" + query.get("X-Amz-Credential", [""])[0]
    if found := _SCOPE.search(scope):
        return _index().by_signing_name.get(found[1], ())
    if "AWSAccessKeyId" in query:  # presigned in the old way, which only S3 still takes
        return ("s3",)
    return ()


def _unsigned_services(request: Inbound) -> tuple[str, ...]:
    """The services that a request by path may be for."""
    if request.path.startswith("/2015-03-31/functions"):
        return ("lambda",)
    return ("s3",) if _OBJECT_PATH.fullmatch(_path_of_object(request)) else ()


def _path_of_object(request: Inbound) -> str:
    """The path with the bucket in front, which some clients put into the host."""
    host = _BUCKET_HOST.match(request.headers.get("Host", ""))
    return f"/{host[1]}{request.path}" if host else request.path


def json_service(target_prefix: str) -> str | None:
    """The service that takes JSON with this prefix in ``X-Amz-Target``."""
    services = _index().by_target_prefix.get(target_prefix, ())
    return next((name for name in services if "json" in _index().protocols[name]), None)


def _json_target(target: str, body: bytes, candidates: tuple[str, ...]) -> Target | None:
    prefix, _, operation = target.rpartition(".")
    services = _index().by_target_prefix.get(prefix, ())
    service = next((name for name in services if name in candidates), services[0] if services else None)
    if service is None:
        return None
    return Target(service, operation, _resource_of_members(_json_object(body)))


def _rpc_v2_target(shape_name: str, operation: str, candidates: tuple[str, ...]) -> Target | None:
    services = [name for name in candidates if "smithy-rpc-v2-cbor" in _index().protocols[name]]
    by_prefix = _index().by_target_prefix.get(shape_name, ())
    service = by_prefix[0] if by_prefix else (services[0] if services else None)
    return Target(service, operation, "") if service else None


def _query_target(form: Mapping[str, list[str]], candidates: tuple[str, ...], path: str) -> Target | None:
    operation = form.get("Action", [""])[0]
    if not candidates:
        at_queue = ("sqs",) if _QUEUE_PATH.fullmatch(path) else ()
        candidates = at_queue or _index().by_form_version.get(form.get("Version", [""])[0], ())
    for service in candidates:
        if service in _index().forms and operation in service_model(service).operation_names:
            members = {name: values[0] for name, values in form.items()}
            return Target(service, operation, _resource_of_members(members) or unquote(path.rpartition("/")[2]))
    return None


def _rest_target(request: Inbound, query: Mapping[str, list[str]], candidates: tuple[str, ...]) -> Target | None:
    path = _path_of_object(request) if "s3" in candidates else request.path
    for route in _routes(candidates):
        if labels := route.match(request, path, query):
            resource = next(iter(labels.values()), "") or _resource_of_members(_json_object(request.body))
            return Target(route.service, route.operation, resource_name(unquote(resource)))
    return None


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body) if body else {}
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _resource_of_members(members: Mapping[str, Any]) -> str:
    for name in _RESOURCE_MEMBERS:
        if isinstance(value := members.get(name), str):
            return resource_name(value)
    if isinstance(tables := members.get("RequestItems"), dict):  # BatchWriteItem, BatchGetItem
        return ",".join(sorted(tables))
    if isinstance(items := members.get("TransactItems"), list):  # TransactWriteItems, TransactGetItems
        return _named("TableName", (action for item in items if isinstance(item, dict) for action in item.values()))
    if isinstance(entries := members.get("Entries"), list):
        return _named("EventBusName", entries, "default")  # PutEvents: an event without a bus goes to the default one
    return ""


def _named(member: str, parts: Iterable[Any], default: str | None = None) -> str:
    """What ``parts`` of a request name, each for itself."""
    names = {part.get(member, default) for part in parts if isinstance(part, dict)}
    return ",".join(sorted(resource_name(name) for name in names if isinstance(name, str)))


@lru_cache(maxsize=4096)
def resource_name(identifier: str) -> str:
    """The bare name in an ARN, a URL or a name: the last part, which for all but log groups is the name."""
    if identifier.startswith("arn:"):
        parts = identifier.split(":")
        if parts[2] == "lambda" and len(parts) > 6:  # noqa: PLR2004 - arn:aws:lambda:region:account:function:name[:qualifier]
            return parts[6]
        if parts[2] == "dynamodb" and parts[5].startswith("table/"):
            return parts[5].split("/")[1]  # of a stream too, whose label is a moment with colons
        return parts[-1].rpartition("/")[2] or parts[-1]
    if "://" in identifier:
        return identifier.rpartition("/")[2]
    return identifier


class _Route:
    """One REST operation: what its path, its query and its headers must look like."""

    def __init__(self, service: str, operation: OperationModel) -> None:
        self.service = service
        self.operation: str = operation.name
        self._method: str = operation.http["method"]
        uri, _, query = operation.http["requestUri"].partition("?")
        self._path = re.compile(_path_pattern(uri) + "/?")
        self._fixed_query = {key: value for key, _, value in (part.partition("=") for part in query.split("&") if part)}
        self._required_query, self._required_headers = _required_members(operation)
        literals = sum(not part.startswith("{") for part in uri.split("/") if part)
        self.precedence = (
            operation.deprecated,  # S3 has old names for what is the same on the wire
            -len(self._fixed_query) - len(self._required_query) - len(self._required_headers),
            -literals,
            "+}" in uri,
            len(uri),
        )

    def match(self, request: Inbound, path: str, query: Mapping[str, list[str]]) -> dict[str, str] | None:
        """The labels of ``path``, ``{"": ""}`` where it has none; None when ``request`` is another operation."""
        if request.method != self._method or not (found := self._path.fullmatch(path)):
            return None
        for key, value in self._fixed_query.items():
            if key not in query or (value and value != query[key][0]):
                return None
        if any(name not in query for name in self._required_query):
            return None
        if any(name not in request.headers for name in self._required_headers):
            return None
        return found.groupdict() or {"": ""}


def _path_pattern(uri: str) -> str:
    labels = iter(range(100))

    def label(found: re.Match[str]) -> str:
        return f"(?P<l{next(labels)}>{'.+' if found[0].endswith('+}') else '[^/]+'})"

    pieces = re.split(r"(\{[^}]+\})", uri.rstrip("/"))
    return "".join(
        re.sub(r"\{[^}]+\}", label, piece) if piece.startswith("{") else re.escape(piece) for piece in pieces
    )


def _required_members(operation: OperationModel) -> tuple[list[str], list[str]]:
    query: list[str] = []
    headers: list[str] = []
    shape = operation.input_shape
    if shape is None:
        return query, headers
    for name in shape.required_members:
        member = shape.members[name]
        place = member.serialization.get("location")
        wire_name = member.serialization.get("name", name)
        if place == "querystring":
            query.append(wire_name)
        elif place == "header" and wire_name.lower() != "content-type":
            headers.append(wire_name)
    return query, headers


@cache
def _routes(services: tuple[str, ...]) -> tuple[_Route, ...]:
    models = [(name, service_model(name)) for name in services if _index().protocols[name][0].startswith("rest")]
    routes = [
        _Route(name, model.operation_model(operation)) for name, model in models for operation in model.operation_names
    ]
    return tuple(sorted(routes, key=lambda route: route.precedence))


@cache
def service_model(service: str) -> ServiceModel:
    """Botocore's model of ``service``, loaded once."""
    return _session().get_service_model(service)


@cache
def _session() -> botocore.session.Session:
    return botocore.session.Session()


@dataclass(frozen=True)
class _Index:
    by_signing_name: Mapping[str, tuple[str, ...]]
    by_target_prefix: Mapping[str, tuple[str, ...]]
    by_form_version: Mapping[str, tuple[str, ...]]
    protocols: Mapping[str, tuple[str, ...]]
    forms: frozenset[str]


@cache
def _index() -> _Index:
    signing: dict[str, list[str]] = defaultdict(list)
    prefixes: dict[str, list[str]] = defaultdict(list)
    versions: dict[str, list[str]] = defaultdict(list)
    protocols: dict[str, tuple[str, ...]] = {}
    for service, metadata in _metadata():
        signing[metadata.get("signingName") or metadata["endpointPrefix"]].append(service)
        if prefix := metadata.get("targetPrefix"):
            prefixes[prefix].append(service)
        protocols[service] = tuple(metadata.get("protocols") or [metadata["protocol"]])
        if {"query", "ec2"} & set(protocols[service]) or "awsQueryCompatible" in metadata:
            versions[metadata["apiVersion"]].append(service)
    by_signing_name = {
        key: tuple(sorted(names, key=lambda name: (name != key, name))) for key, names in signing.items()
    }
    by_prefix, by_version = ({key: tuple(names) for key, names in each.items()} for each in (prefixes, versions))
    return _Index(by_signing_name, by_prefix, by_version, protocols, frozenset().union(*by_version.values()))


def _metadata() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and metadata of each service that botocore knows: 0.1 s for all, against 20 s for the whole models."""
    decoder = json.JSONDecoder()
    for folder in sorted((Path(botocore.__file__).parent / "data").iterdir()):
        versions = sorted(folder.glob("*/service-2.json.gz"))
        if not versions:
            continue
        with gzip.open(versions[-1]) as packed:
            head = packed.read(_METADATA_HEAD_BYTES).decode("utf-8", "ignore")
        start = head.index("{", head.index('"metadata"'))
        yield folder.name, decoder.raw_decode(head[start:])[0]
