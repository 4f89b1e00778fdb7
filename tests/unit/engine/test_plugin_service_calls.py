"""Which calls inside LocalStack go through the gateway."""

from types import SimpleNamespace
from typing import Any

import pytest

from testbed.localstack_plugin.serverless_testbed_plugin.plane import CALLER_HEADER
from testbed.localstack_plugin.serverless_testbed_plugin.service_calls import is_for_another_service


def call(service: str, operation: str, principal: str | None, *, internal: bool = True, seen: bool = False) -> Any:
    """LocalStack's context of a request, as far as it is looked at."""
    return SimpleNamespace(
        service=SimpleNamespace(service_name=service),
        operation=SimpleNamespace(name=operation),
        is_internal_call=internal,
        internal_request_params={"service_principal": principal} if principal else {},
        request=SimpleNamespace(headers={CALLER_HEADER: "emulator"} if seen else {}),
    )


@pytest.mark.parametrize(
    ("context", "passes"),
    [
        (call("sqs", "SendMessage", "states"), True),
        (call("sqs", "SendMessage", "apigateway"), True),
        (call("kinesis", "PutRecords", "dynamodb"), True),
        (call("events", "PutEvents", None), True),
        (call("sns", "Publish", None), True),
        (call("sns", "CreateTopic", None), False),
        (call("sqs", "CreateQueue", None), False),
        (call("sts", "AssumeRole", "states"), False),
        (call("sqs", "SendMessage", "states", seen=True), False),
        (call("sqs", "SendMessage", None, internal=False), False),
    ],
)
def test_what_a_service_does_for_its_users_goes_through_the_gateway(context: Any, passes: bool) -> None:
    """Once; what LocalStack does for itself, and what clients call, does not."""
    assert is_for_another_service(context) is passes


def test_a_request_without_an_operation_stays() -> None:
    """LocalStack's own routes, for example."""
    assert not is_for_another_service(SimpleNamespace(operation=None))
