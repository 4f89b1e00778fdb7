"""Documented numbers of what LocalStack carries out, asked of its own code, whose waits and clock are taken over."""

import asyncio
import json
import subprocess
from typing import Any

import pytest
from engines import ENGINES

from testbed.engine.installation import Installation, choose, ensure_installed
from testbed.engine.localstack import PLUGIN_FOLDER

RETRIER = """
import json, time
from types import SimpleNamespace
from unittest.mock import MagicMock

waits = []
time.sleep = waits.append
from localstack.services.stepfunctions.asl.component.common.retry import retrier_decl as asl

def waits_of(**more):
    waits.clear()
    environment = MagicMock(stack=[], heap={})
    error = SimpleNamespace(eval=lambda environment: environment.stack.append(True))
    interval, attempts, rate = asl.IntervalSecondsDecl(3), asl.MaxAttemptsDecl(3), asl.BackoffRateDecl(2.0)
    retrier = asl.RetrierDecl(error, interval, attempts, rate, **more)
    retrier.eval(environment)
    while environment.stack.pop() is asl.RetrierOutcome.Executed:
        retrier.eval(environment)
    return list(waits)

print(json.dumps([waits_of(), waits_of(max_delay_seconds=asl.MaxDelaySecondsDecl(5))]))
"""
CLOCK = """
import json, time

DAY = 86400
clock = 1e9

def tick():
    global clock
    clock += 1e-3
    return clock

time.time = tick
"""
RETENTION = f"""{CLOCK}
from serverless_testbed_plugin.retention import expire_messages_as_sqs_does
from localstack.services.sqs.models import FifoQueue, StandardQueue

expire_messages_as_sqs_does()

def days_there(kind, name, **of_a_group):
    global clock
    sent, clock = clock, clock + DAY  # a day in the source queue
    dead = kind(name, "us-east-1", "000000000000", dict(MessageRetentionPeriod=str(4 * DAY)))
    source = dict(SentTimestamp=str(int(sent * 1000)), DeadLetterQueueSourceArn="arn:aws:sqs:us-east-1:0:source")
    dead.put(dict(MessageId="1", Body="", Attributes=source), **of_a_group)
    moved = clock
    heap = dead.visible.queue if kind is StandardQueue else dead.message_groups["g"].messages
    while heap:
        clock += 3600
        dead.remove_expired_messages()
    return round((clock - moved) / DAY, 1)

fifo = days_there(FifoQueue, "dead.fifo", message_group_id="g", message_deduplication_id="d")
print(json.dumps([days_there(StandardQueue, "dead"), fifo]))
"""
VISIBILITY = f"""{CLOCK}
from localstack.services.sqs.models import StandardQueue

queue = StandardQueue("q", "us-east-1", "000000000000", dict(VisibilityTimeout="60"))
queue.put(dict(MessageId="1", Body="", Attributes=dict()))
received = clock
handle = queue.receive().receipt_handles[0]
clock = received + 15
queue.update_visibility_timeout(handle, 10)
while queue.inflight:
    clock += 0.1
    queue.requeue_inflight_messages()
print(json.dumps(round(clock - received)))
"""


@pytest.fixture(scope="module")
def localstack() -> Installation:
    """The one that the process engine runs."""
    if "process" not in ENGINES.tested:
        pytest.skip("only containers are tested")
    installation = choose()
    asyncio.run(ensure_installed(installation, print, {}))
    return installation


def answer(localstack: Installation, script: str) -> Any:
    """What ``script`` prints, JSON, in LocalStack's interpreter."""
    ask = [str(localstack.interpreter), "-P", "-c", script]
    told = subprocess.run(
        ask, env={"PYTHONPATH": str(PLUGIN_FOLDER)}, capture_output=True, text=True, check=False, timeout=60
    )
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


@pytest.mark.one_engine
@pytest.mark.rule("step-functions.retry", "case.step-functions-retry")
def test_a_retrier_waits_twice_as_long_each_time_up_to_its_maximum(localstack: Installation) -> None:
    """Developer guide: interval 3 s, rate 2, 3 attempts are 3, 6, 12 s; with MaxDelaySeconds 5 they are 3, 5, 5."""
    assert answer(localstack, RETRIER) == [[3, 6, 12], [3, 5, 5]]


@pytest.mark.one_engine
@pytest.mark.rule("sqs.retention", "case.dead-letter-retention")
def test_a_dead_letter_keeps_its_age_in_a_standard_queue(localstack: Installation) -> None:
    """SQS developer guide: after a day in the source queue a retention of 4 days leaves 3; a FIFO queue begins anew."""
    assert answer(localstack, RETENTION) == [3, 4]


@pytest.mark.one_engine
@pytest.mark.rule("sqs.change-visibility", "case.visibility")
def test_a_changed_visibility_timeout_counts_from_the_change(localstack: Installation) -> None:
    """SQS developer guide: of 60 s, 10 s set after 15 s make the message visible at 25 s."""
    assert answer(localstack, VISIBILITY) == 25
