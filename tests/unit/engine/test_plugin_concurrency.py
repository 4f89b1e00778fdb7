"""What the plugin makes of LocalStack's sums of concurrency, and of what the data plane tells of environments."""

from types import SimpleNamespace
from typing import Any

import pytest

from testbed.localstack_plugin.serverless_testbed_plugin.concurrency import state_of, unreserved

PUT_PROVISIONED = "PutProvisionedConcurrencyConfig"


def function(name: str, reserved: int | None = None, **provisioned: int) -> Any:
    """LocalStack's, as far as it is looked at."""
    configs = {
        qualifier: SimpleNamespace(provisioned_concurrent_executions=count) for qualifier, count in provisioned.items()
    }
    return SimpleNamespace(
        function_name=name, reserved_concurrent_executions=reserved, provisioned_concurrency_configs=configs
    )


@pytest.mark.rule("provisioned.counts-against")
@pytest.mark.parametrize(
    ("functions", "left"),
    [
        ([], 1000),
        ([function("a", 400), function("b", 400), function("c")], 200),
        ([function("a", live=300)], 700),
        ([function("a", 400, live=300)], 600),
        ([function("a", 0), function("b", live=1, old=2)], 997),
    ],
)
def test_what_is_provisioned_is_taken_from_the_reservation_or_from_the_account(functions: list[Any], left: int) -> None:
    """Never from both."""
    assert unreserved(1000, functions, "GetAccountSettings", {}) == left


@pytest.mark.parametrize(
    ("functions", "operation", "asked", "most"),
    [
        ([function("a", 400)], "PutFunctionConcurrency", "ReservedConcurrentExecutions", 900),
        ([function("a", live=300)], "PutFunctionConcurrency", "ReservedConcurrentExecutions", 900),
        ([function("a"), function("b", live=300)], "PutFunctionConcurrency", "ReservedConcurrentExecutions", 600),
        ([function("a", live=300)], PUT_PROVISIONED, "ProvisionedConcurrentExecutions", 900),
        ([function("a", live=300, old=50)], PUT_PROVISIONED, "ProvisionedConcurrentExecutions", 850),
        ([function("a"), function("b", 300)], PUT_PROVISIONED, "ProvisionedConcurrentExecutions", 600),
    ],
)
def test_a_request_replaces_what_the_function_had(functions: list[Any], operation: str, asked: str, most: int) -> None:
    """Up to 100 less than the account has besides, and not one more."""

    def is_taken(count: int) -> bool:
        request = {"FunctionName": "a", "Qualifier": "live", asked: count}
        given_back = functions[0].reserved_concurrent_executions if operation == "PutFunctionConcurrency" else None
        return unreserved(1000, functions, operation, request) - count + (given_back or 0) >= 100  # as LocalStack does

    assert (is_taken(most), is_taken(most + 1)) == (True, False)


def test_what_is_provisioned_of_a_reservation_leaves_the_others_what_they_have() -> None:
    """With 900 reserved, 450 of them can be provisioned."""
    request = {"FunctionName": "a", "Qualifier": "live", "ProvisionedConcurrentExecutions": 450}
    assert unreserved(1000, [function("a", 900)], PUT_PROVISIONED, request) - 450 == 100


@pytest.mark.rule("concurrency.reserved-zero")
def test_a_function_can_always_be_turned_off() -> None:
    """Though others, as under a larger quota, have reserved more than there is."""
    request = {"FunctionName": "a", "ReservedConcurrentExecutions": 0}
    assert unreserved(10, [function("a"), function("b", 500)], "PutFunctionConcurrency", request) >= 10


def test_until_the_plane_has_read_a_request_it_is_in_progress() -> None:
    """What an earlier request has brought up is still there, and is not taken for READY."""
    told = {"allocated": 2, "available": 2, "status": "READY", "reason": None, "modified": "then"}
    assert state_of(None, "now") == {"allocated": 0, "available": 0, "status": "IN_PROGRESS"}
    assert state_of(told, "now") == {"allocated": 2, "available": 2, "status": "IN_PROGRESS"}
    assert state_of(told, "then") == {"allocated": 2, "available": 2, "status": "READY", "status_reason": None}
    failed = {"allocated": 0, "available": 0, "status": "FAILED", "reason": "why", "modified": "then"}
    assert state_of(failed, "then")["status_reason"] == "why"
