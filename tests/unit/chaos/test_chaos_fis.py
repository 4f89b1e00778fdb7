"""Experiment templates of AWS Fault Injection Service: which faults they are here, and what is refused."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from testbed.chaos import fis
from testbed.chaos.fault import Fault
from testbed.chaos.faults.invocation import InvocationDelay, InvocationError, InvocationHttpResponse
from testbed.chaos.faults.part_down import PartDown
from testbed.chaos.faults.service_error import ServiceError
from testbed.chaos.faults.throttle import Throttle
from testbed.errors import UsageError

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:orders"
STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/events"
TARGETS = {
    "fns": {"resourceType": "aws:lambda:function", "resourceArns": [FUNCTION, FUNCTION + "-2:live"]},
    "one": {"resourceType": "aws:lambda:function", "resourceArns": [FUNCTION], "selectionMode": "ALL"},
    "streams": {"resourceType": "aws:kinesis:stream", "resourceArns": [STREAM], "selectionMode": "COUNT(5)"},
    "roles": {"resourceType": "aws:iam:role", "resourceArns": ["arn:aws:iam::1:role/r"], "selectionMode": "ALL"},
    "dbs": {"resourceType": "aws:rds:db", "resourceTags": {"a": "b"}, "selectionMode": "ALL"},
}


def action(action_id: str, target: str = "", after: tuple[str, ...] = (), **parameters: str) -> dict[str, Any]:
    """An action as a template has it."""
    found: dict[str, Any] = {"actionId": action_id, "parameters": parameters}
    if target:
        found["targets"] = {"Kind": target}
    if after:
        found["startAfter"] = list(after)
    return found


def template(**actions: Any) -> dict[str, Any]:
    """A whole template."""
    return {"description": "d", "targets": TARGETS, "actions": actions, "stopConditions": [{"source": "none"}]}


def only(made: dict[str, Any]) -> Fault:
    """The fault of one action."""
    [fault] = fis.faults(template(it=made))
    return fault


DELAY = action("aws:lambda:invocation-add-delay", "one", duration="PT1M")
ERROR = action("aws:lambda:invocation-error", "fns", duration="PT2M", preventExecution="false")
FUNCTIONS = ("function", "mapping")


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (DELAY, InvocationDelay(name="it", resources=("orders",), seconds=1.0, during=(0, 60))),
        (
            action(
                "aws:lambda:invocation-add-delay",
                "one",
                duration="PT1H1S",
                startupDelayMilliseconds="2500",
                invocationPercentage="30",
            ),
            InvocationDelay(name="it", resources=("orders",), seconds=2.5, probability=0.3, during=(0, 3601)),
        ),
        (
            ERROR,
            InvocationError(name="it", resources=("orders", "orders-2"), prevent_execution=False, during=(0, 120)),
        ),
        (
            action(
                "aws:lambda:invocation-http-integration-response",
                "one",
                duration="PT90S",
                statusCode="503",
                contentTypeHeader="text/plain",
                preventExecution="true",
            ),
            InvocationHttpResponse(
                name="it",
                resources=("orders",),
                status=503,
                content_type="text/plain",
                prevent_execution=True,
                during=(0, 90),
            ),
        ),
        (
            action(
                "aws:fis:inject-api-throttle-error",
                "roles",
                duration="PT1M",
                service="kinesis",
                operations="PutRecord, PutRecords",
                percentage="90",
            ),
            ServiceError(
                name="it",
                service="kinesis",
                operations=("PutRecord", "PutRecords"),
                callers=FUNCTIONS,
                code="ThrottlingException",
                status=400,
                probability=0.9,
                during=(0, 60),
            ),
        ),
        (
            action(
                "aws:fis:inject-api-throttle-error",
                "roles",
                duration="PT1M",
                service="dynamodb",
                operations="PutItem",
                percentage="100",
            ),
            Throttle(name="it", service="dynamodb", operations=("PutItem",), callers=FUNCTIONS, during=(0, 60)),
        ),
        (
            action(
                "aws:fis:inject-api-internal-error",
                "roles",
                duration="PT1M",
                service="sqs",
                operations="SendMessage",
                percentage="100",
            ),
            ServiceError(name="it", service="sqs", operations=("SendMessage",), callers=FUNCTIONS, during=(0, 60)),
        ),
        (
            action(
                "aws:fis:inject-api-unavailable-error",
                "roles",
                duration="PT1M",
                service="sqs",
                operations="SendMessage",
                percentage="100",
            ),
            ServiceError(
                name="it",
                service="sqs",
                operations=("SendMessage",),
                callers=FUNCTIONS,
                code="ServiceUnavailable",
                status=503,
                during=(0, 60),
            ),
        ),
        (
            action("aws:kinesis:stream-provisioned-throughput-exception", "streams", duration="PT5M", percentage="50"),
            Throttle(
                name="it",
                service="kinesis",
                operations=("GetRecords", "GetShardIterator", "PutRecord", "PutRecords"),
                resources=("events",),
                probability=0.5,
                during=(0, 300),
            ),
        ),
        (
            action("aws:kinesis:stream-expired-iterator-exception", "streams", duration="P1DT1M", percentage="100"),
            ServiceError(
                name="it",
                service="kinesis",
                operations=("GetRecords",),
                resources=("events",),
                code="ExpiredIteratorException",
                status=400,
                message="Iterator expired.",
                during=(0, 86460),
            ),
        ),
        (
            action("aws:rds:reboot-db-instances", "dbs"),
            PartDown(name="it", part="postgres", action="kill", at=0, seconds=30),
        ),
        (
            action("aws:rds:failover-db-cluster", "dbs"),
            PartDown(name="it", part="postgres", action="kill", at=0, seconds=30),
        ),
    ],
)
def test_each_action_is_a_fault(made: dict[str, Any], fault: Fault) -> None:
    """With the parameters of the AWS FIS Actions reference, and their defaults."""
    assert only(made) == fault


def test_actions_follow_each_other_as_the_template_says() -> None:
    """An action begins when all have ended that it starts after; what happens at once has ended at once."""
    made = template(
        last=action("aws:rds:reboot-db-instances", after=("second", "wait")),
        second=DELAY | {"startAfter": ["first"]},
        first=ERROR,
        wait=action("aws:fis:wait", duration="PT10M"),
        after=DELAY | {"startAfter": ["last"]},
    )
    found = {fault.name: fault for fault in fis.faults(made, compress=60, down_seconds=3)}
    assert [*found] == ["last", "second", "first", "after"]
    assert found["first"].during == (0, 2)  # type: ignore[attr-defined]
    assert found["second"].during == (2, 3)  # type: ignore[attr-defined]
    assert found["last"] == PartDown(name="last", part="postgres", action="kill", at=10, seconds=3)
    assert found["after"].during == (10, 11)  # type: ignore[attr-defined]


def test_a_template_may_come_from_a_file_as_aws_prints_it(tmp_path: Path) -> None:
    """The output of get-experiment-template wraps it."""
    file = tmp_path / "template.json"
    file.write_text(json.dumps({"experimentTemplate": template(it=DELAY) | {"id": "EXT1"}}))
    assert fis.faults(file) == fis.faults(str(file)) == [only(DELAY)]


def test_of_several_targets_the_first_are_taken() -> None:
    """FIS chooses at random; here a template does the same every time."""
    arns = [f"{FUNCTION}-{number}" for number in range(5)]
    for mode, names in {"COUNT(2)": ("orders-0", "orders-1"), "PERCENT(50)": ("orders-0", "orders-1")}.items():
        made = template(it=DELAY)
        made["targets"] = {"one": {"resourceArns": arns, "selectionMode": mode}}
        [fault] = fis.faults(made)
        assert fault.resources == names  # type: ignore[attr-defined]


def test_stop_conditions_are_not_watched_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """One that is none is none."""
    made = template(it=DELAY)
    assert fis.experiment(made).notes == ()
    made["stopConditions"] = [{"source": "aws:cloudwatch:alarm", "value": "arn:of:an:alarm"}]
    with caplog.at_level(logging.WARNING):
        fis.faults(made)
    assert caplog.messages == ["stop conditions are not watched here: arn:of:an:alarm"]


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (action("aws:ec2:stop-instances", "one"), r"'aws:ec2:stop-instances' \(it\) has no meaning here"),
        (action("aws:dynamodb:global-table-pause-replication"), "has no meaning here"),
        (action("aws:lambda:invocation-add-delay", "one"), "'duration' is missing"),
        (DELAY | {"parameters": {"duration": "2 minutes"}}, "'2 minutes' is no duration"),
        (DELAY | {"parameters": {"duration": "PT"}}, "'PT' is no duration"),
        (DELAY | {"parameters": {"duration": "PT1M", "invocationPercentage": "0"}}, "not between 1 and 100"),
        (DELAY | {"parameters": {"duration": "PT1M", "startupDelayMilliseconds": "x"}}, "'x' is no number"),
        (ERROR | {"parameters": {"duration": "PT1M"}}, "'preventExecution' is missing"),
        (ERROR | {"parameters": {"duration": "PT1M", "preventExecution": "1"}}, "neither true nor false"),
        (DELAY | {"targets": {}}, "it needs one target, and has 0"),
        (DELAY | {"targets": {"Functions": "none"}}, "there is no target 'none'"),
        (DELAY | {"targets": {"Functions": "dbs"}}, "no resourceArns: tags"),
        (DELAY | {"startAfter": ["it"]}, "starts after itself"),
        (DELAY | {"startAfter": ["nothing"]}, "there is no such action"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(made: dict[str, Any], why: str) -> None:
    """With a hint."""
    with pytest.raises(UsageError, match=why) as refused:
        only(made)
    assert refused.value.hint


def test_what_is_no_template_is_refused(tmp_path: Path) -> None:
    """A file that is not there or no JSON, a document without actions, a factor that makes no sense."""
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    listed = tmp_path / "list.json"
    listed.write_text("[]")
    wrongs: list[Any] = [tmp_path / "gone.json", broken, listed, {}, {"actions": {"a": {}}}]
    for wrong in wrongs:
        with pytest.raises(UsageError, match="is no experiment template"):
            fis.faults(wrong)
    with pytest.raises(UsageError, match="compress=0"):
        fis.faults(template(it=DELAY), compress=0)
