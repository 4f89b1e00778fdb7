"""Tells the data plane when functions, mappings, APIs, streams or tables changed: what it has read is never stale."""

import json
import logging
from typing import Any, Final

from urllib3.exceptions import HTTPError

from . import plane

LOG: Final = logging.getLogger(__name__)
_PATH: Final = "/_testbed/changed"
_READ_SECONDS: Final = 2.0
_OBSERVED: Final = frozenset({"lambda", "apigateway"})
_READ_ONLY: Final = ("Get", "List", "Invoke", "Test")
_RESHAPING: Final = {
    "kinesis": {"CreateStream", "DeleteStream", "UpdateShardCount", "SplitShard", "MergeShards", "UpdateStreamMode"},
    "dynamodb": {
        "CreateTable", "UpdateTable", "DeleteTable", "RestoreTableFromBackup", "RestoreTableToPointInTime",
        "ImportTable",
    },
}  # fmt: skip
"""What changes shards, or the capacity and the indexes of tables: nothing else of these services is read once."""
_NAMES: Final = (
    "FunctionName", "UUID", "restApiId", "LayerName", "Resource", "resourceArn", "usagePlanId", "id",
    "StreamName", "StreamARN", "TableName", "TargetTableName",
)  # fmt: skip
_CREATED: Final = {"CreateEventSourceMapping": "UUID", "CreateRestApi": "id", "ImportRestApi": "id"}
_FIRST_ERROR: Final = 400


class ChangeNotifier:
    """Response handler: after a call that changed state, internal ones included, notify the plane before answering.

    A notification that fails is logged once and does not fail the call: whoever called changed LocalStack's state
    whether the plane knows or not.
    """

    def __init__(self) -> None:
        self._complained = False

    def __call__(self, _chain: Any, context: Any, response: Any) -> None:
        """Notify when the call changed what is deployed, and succeeded."""
        if not context.operation or response.status_code >= _FIRST_ERROR:
            return
        service, operation = context.service.service_name, context.operation.name
        if not changes_state(service, operation):
            return
        resource = changed_resource(operation, context.service_request, context.service_response)
        self._notify({"service": service, "operation": operation, "resource": resource})

    def _notify(self, change: dict[str, str]) -> None:
        headers = {"Content-Type": "application/json"}
        try:
            answer = plane.post(_PATH, json.dumps(change).encode(), headers, read_seconds=_READ_SECONDS)
        except HTTPError as error:
            self._complain(str(error))
        else:
            if answer.status >= _FIRST_ERROR:
                self._complain(f"status {answer.status}")

    def _complain(self, why: str) -> None:
        if not self._complained:
            self._complained = True
            LOG.warning("the data plane was not told of a change, nor perhaps of later ones: %s", why)


def changes_state(service: str, operation: str) -> bool:
    """Whether a call may change what the plane has read."""
    if service in _RESHAPING:
        return operation in _RESHAPING[service]
    return service in _OBSERVED and not operation.startswith(_READ_ONLY)


def changed_resource(operation: str, request: Any, response: Any) -> str:
    """Name or ARN, UUID of the mapping or id of the API that a call changed; empty where it has none.

    That of a function of which only one version was deleted has the version as its qualifier.
    """
    if operation in _CREATED:
        return str((response or {}).get(_CREATED[operation], ""))
    resource = next((str(request[name]) for name in _NAMES if (request or {}).get(name)), "")
    if operation == "DeleteFunction" and request.get("Qualifier"):
        return f"{resource}:{request['Qualifier']}"
    return resource
