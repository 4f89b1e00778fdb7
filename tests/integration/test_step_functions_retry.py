"""Retriers of state machines, which LocalStack carries out, see throttles of the data plane and wait as they say."""

import json
from collections.abc import Callable
from itertools import pairwise

import pytest
from observing import JournalReader, RecordingFunction, unique, wait_until

from testbed.running import RunningTestbed
from testbed.scenario import ROLE


@pytest.mark.one_engine
@pytest.mark.rule("step-functions.retry", "step-functions.lambda-throttle")
def test_a_throttled_task_is_retried_as_its_retrier_says(
    bed: RunningTestbed, journal: JournalReader, recording_function: Callable[..., RecordingFunction]
) -> None:
    """Interval 1 s, rate 10, at most 1 s: two retries one second apart; in vain, as nothing may run."""
    function = recording_function()
    bed.aws.client("lambda").put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    retrier = {
        "ErrorEquals": ["Lambda.TooManyRequestsException"],
        "IntervalSeconds": 1, "BackoffRate": 10.0, "MaxAttempts": 2, "MaxDelaySeconds": 1,
    }  # fmt: skip
    task = {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Retry": [retrier], "End": True,
        "Parameters": {"FunctionName": function.name},
    }  # fmt: skip
    client = bed.aws.client("stepfunctions")
    definition = json.dumps({"StartAt": "Task", "States": {"Task": task}})
    machine = client.create_state_machine(name=unique("machine"), definition=definition, roleArn=ROLE)
    arn = client.start_execution(stateMachineArn=machine["stateMachineArn"], input="{}")["executionArn"]
    wait_until(lambda: client.describe_execution(executionArn=arn)["status"] != "RUNNING", "the execution")
    assert client.describe_execution(executionArn=arn)["error"] == "Lambda.TooManyRequestsException"
    attempts = [line["t"] for line in journal.wait_for("lambda", count=3, function=function.name, status=429)]
    first, second = (after - before for before, after in pairwise(attempts))
    assert len(attempts) == 3
    assert first > 0.99
    assert 0.99 < second < 8  # 10 s without the maximum
    assert function.records() == []
