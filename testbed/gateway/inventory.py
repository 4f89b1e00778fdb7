"""What is deployed in LocalStack, and the removal of what a run has left there.

A run on a standing testbed finds what others have deployed. It must not touch that, and must leave nothing beside it.
"""

import json
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Known = Mapping[str, Sequence[str]]
"""What is there: for each kind of resource, the ids that its list operation gives."""

_READ_SECONDS: Final = 10.0
_GONE_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource.

    Attributes:
        name: For people.
        service: As boto3 calls it.
        list: The operation that lists all of them.
        ids: Where the ids are in its answer, in JMESPath.
        delete: The operation that deletes one.
        parameter: Its parameter for the id.
        create: The operation that creates one, as the API calls it; empty where it takes no name.
        create_parameter: Its parameter for the name, which is the last part of the id.
    """

    name: str
    service: str
    list: str
    ids: str
    delete: str
    parameter: str
    create: str = ""
    create_parameter: str = ""


KINDS: Final = (  # in the order of removal: first what creates or uses others
    Kind(
        "stack", "cloudformation", "list_stacks", "StackSummaries[?StackStatus!='DELETE_COMPLETE'].StackName",
        "delete_stack", "StackName", "CreateStack", "StackName",
    ),
    Kind(
        "event source mapping", "lambda", "list_event_source_mappings", "EventSourceMappings[].UUID",
        "delete_event_source_mapping", "UUID",
    ),
    Kind("rule", "events", "list_rules", "Rules[].Name", "delete_rule", "Name", "PutRule", "Name"),
    Kind("REST API", "apigateway", "get_rest_apis", "items[].id", "delete_rest_api", "restApiId"),
    Kind(
        "state machine", "stepfunctions", "list_state_machines", "stateMachines[].stateMachineArn",
        "delete_state_machine", "stateMachineArn", "CreateStateMachine", "name",
    ),
    Kind(
        "function", "lambda", "list_functions", "Functions[].FunctionName",
        "delete_function", "FunctionName", "CreateFunction", "FunctionName",
    ),
    Kind("topic", "sns", "list_topics", "Topics[].TopicArn", "delete_topic", "TopicArn", "CreateTopic", "Name"),
    Kind("queue", "sqs", "list_queues", "QueueUrls[]", "delete_queue", "QueueUrl", "CreateQueue", "QueueName"),
    Kind(
        "stream", "kinesis", "list_streams", "StreamNames[]",
        "delete_stream", "StreamName", "CreateStream", "StreamName",
    ),
    Kind("table", "dynamodb", "list_tables", "TableNames[]", "delete_table", "TableName", "CreateTable", "TableName"),
    Kind("bucket", "s3", "list_buckets", "Buckets[].Name", "delete_bucket", "Bucket", "CreateBucket", "Bucket"),
    Kind(
        "log group", "logs", "describe_log_groups", "logGroups[].logGroupName",
        "delete_log_group", "logGroupName", "CreateLogGroup", "logGroupName",
    ),
)  # fmt: skip


class Inventory:
    """The resources in a LocalStack; all of its methods block.

    Args:
        url: LocalStack itself, not the gateway: no fault hits this, and no journal has it.
    """

    def __init__(self, url: str) -> None:
        import boto3  # noqa: PLC0415 - only a standing testbed needs it
        from botocore.config import Config  # noqa: PLC0415 - the same

        self._url = url
        self._session = boto3.Session("test", "test", region_name="us-east-1")
        self._config = Config(read_timeout=_READ_SECONDS, s3={"addressing_style": "path"}, inject_host_prefix=False)

    def take(self) -> dict[str, list[str]]:
        """Everything that is there now.

        Raises:
            botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError: LocalStack does not tell.
        """
        return {kind.name: self._ids(kind) for kind in self._used_kinds()}

    def remove_others(self, known: Known) -> list[str]:
        """Delete all that is not ``known``; returns what could not be deleted, with the reason, for people."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as with boto3

        left: list[str] = []
        try:
            for kind in self._used_kinds():
                others = set(self._ids(kind)) - set(known.get(kind.name, ()))
                for one in others:
                    try:
                        self._delete(kind, one)
                    except ClientError as error:  # each other one may still go
                        left.append(f"{kind.name} {one}: {error}")
                left += [f"{kind.name} {one} does not go away" for one in self._remaining(kind, others)]
        except (BotoCoreError, ClientError, OSError) as error:
            left.append(f"LocalStack does not tell what is deployed: {error}")
        return left

    def _used_kinds(self) -> list[Kind]:
        """Without those of services that nobody has used yet: asking would load the service, which takes seconds."""
        with urllib.request.urlopen(f"{self._url}/_localstack/health", timeout=_READ_SECONDS) as answer:  # noqa: S310 - LocalStack's own URL
            states = json.load(answer)["services"]
        return [kind for kind in KINDS if states.get(kind.service) != "available"]

    def _client(self, service: str) -> Any:
        return self._session.client(service, endpoint_url=self._url, config=self._config)

    def _ids(self, kind: Kind) -> list[str]:
        pages = self._client(kind.service).get_paginator(kind.list).paginate()
        return [one for one in pages.search(kind.ids) if one is not None]

    def _delete(self, kind: Kind, one: str) -> None:
        client = self._client(kind.service)
        if kind.service == "s3":
            for found in (
                client.get_paginator("list_object_versions")
                .paginate(Bucket=one)
                .search("[Versions, DeleteMarkers][][].{Key: Key, VersionId: VersionId}")
            ):
                client.delete_object(Bucket=one, **found)
        if kind.service == "events":
            targets = client.list_targets_by_rule(Rule=one)["Targets"]
            if targets:
                client.remove_targets(Rule=one, Ids=[target["Id"] for target in targets])
        getattr(client, kind.delete)(**{kind.parameter: one})

    def _remaining(self, kind: Kind, deleted: Iterable[str]) -> set[str]:
        """What of ``deleted`` is still listed: some services delete after they have answered."""
        deadline = time.monotonic() + _GONE_SECONDS
        remaining = set(deleted)
        while remaining and time.monotonic() < deadline:
            remaining &= set(self._ids(kind))
            if remaining:
                time.sleep(_POLL_SECONDS)
        return remaining
