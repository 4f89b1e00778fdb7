"""Faults of Lambda on every way to a function: what the caller sees, what was done, and what is done again."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from beds import RunOnLoop
from observing import JournalReader, RecordingFunction, unique, wait_until

from testbed import deploy, profiles
from testbed.chaos.catalogue import to_json
from testbed.chaos.fault import Fault
from testbed.chaos.faults.environment_lost import EnvironmentKilled, OutOfMemory
from testbed.chaos.faults.invocation import InvocationDelay, InvocationError, InvocationHttpResponse
from testbed.chaos.faults.throttle import Throttle
from testbed.chaos.schedule import named
from testbed.chaos.trigger import at_most, attempts
from testbed.running import RunningTestbed

pytestmark = pytest.mark.one_engine

Deploy = Callable[..., RecordingFunction]
Arm = Callable[..., JournalReader]


@pytest.fixture
def arm(bed: RunningTestbed, run_on_loop: RunOnLoop[Any], tmp_path: Path) -> Iterator[Arm]:
    """Lets faults act, and reads the journal of what follows."""

    def begin(*faults: Fault) -> JournalReader:
        path = tmp_path / "journal.jsonl"
        order = {"architecture": "test", "seed": 1, "faults": to_json(named(faults)), "journal": str(path)}
        run_on_loop(bed.plane.call("begin", **order, zero=time.monotonic()))
        return JournalReader(path)

    run_on_loop(bed.plane.call("profile", profile=profiles.aws.compress(1000).to_json()))
    yield begin
    run_on_loop(bed.plane.call("end"))
    run_on_loop(bed.plane.call("profile", profile=profiles.aws.to_json()))


def post(url: str) -> tuple[int, bytes]:
    """What a client of HTTP gets."""
    request = urllib.request.Request(url, b"{}", {"Content-Type": "application/json"})  # noqa: S310 - our own address
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - the same
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_killed_after_its_work_a_function_has_failed_for_everybody(
    bed: RunningTestbed, recording_function: Deploy, arm: Arm
) -> None:
    """A client, a REST API and a function URL are told so; each time the event was there, and a new environment."""
    function = recording_function("return {'statusCode': 201}")
    api = deploy.rest_api(bed.aws, unique("api"), "POST", "/orders", function.arn)
    client = bed.aws.client("lambda")
    url = client.create_function_url_config(FunctionName=function.name, AuthType="NONE")["FunctionUrl"]
    journal = arm(EnvironmentKilled(moment="after", resources=(function.name,)))
    answer = client.invoke(FunctionName=function.name, Payload=b'"direct"')
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert json.loads(answer["Payload"].read())["errorType"] == "Runtime.ExitError"
    assert post(f"{api}/orders") == (502, b'{"message": "Internal server error"}')
    assert post(url) == (502, b"Internal Server Error")
    assert len(function.events()) == 3
    lines = journal.wait_for("lambda", count=3, function=function.name)
    assert [(line["cause"], line["cold"]) for line in lines] == [("crash", True)] * 3
    assert {line["effect"] for line in journal.lines("fault")} == {"killed after the handler"}


def test_a_batch_whose_function_was_killed_comes_again(
    bed: RunningTestbed, recording_function: Deploy, arm: Arm
) -> None:
    """The mapping deletes nothing, and the same messages are received once more; then they are gone."""
    function = recording_function(timeout=1)
    sqs = bed.aws.client("sqs")
    queue = sqs.create_queue(QueueName=unique("orders"), Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
    journal = arm(EnvironmentKilled(moment="after", callers=("mapping",), when=at_most(1)))
    sqs.send_message(QueueUrl=queue, MessageBody="o-1")
    mapping = bed.aws.client("lambda").create_event_source_mapping(
        FunctionName=function.name, EventSourceArn=deploy.queue_arn(bed.aws, queue)
    )
    first, second = function.wait_for_events(2)
    (one,), (again,) = first["Records"], second["Records"]
    assert one["messageId"] == again["messageId"]
    assert [each["attributes"]["ApproximateReceiveCount"] for each in (one, again)] == ["1", "2"]
    causes = [line["cause"] for line in journal.wait_for("lambda", count=2, function=function.name)]
    assert causes == ["crash", None]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def left() -> int:
        answer = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(number) for number in answer.values())

    wait_until(lambda: not left(), "the message to be deleted")
    bed.aws.client("lambda").delete_event_source_mapping(UUID=mapping["UUID"])


def test_each_attempt_of_an_asynchronous_invoke_is_hit_by_itself(
    bed: RunningTestbed, recording_function: Deploy, arm: Arm
) -> None:
    """Two throttles spend nothing, a kill spends one of three invokes; the acceptance is hit by none of them."""
    function = recording_function()
    journal = arm(
        Throttle(name="t", service="lambda", callers=("async",), when=attempts(1, 2)),
        EnvironmentKilled(name="k", moment="after", when=attempts(3)),
    )
    client = bed.aws.client("lambda")
    accepted = client.invoke(FunctionName=function.name, InvocationType="Event", Payload=b'"o-1"')
    assert accepted["StatusCode"] == 202
    (ended,) = journal.wait_for("async", event="delivered", function=function.name)
    assert ended["attempts"] == 2
    assert function.events() == ["o-1", "o-1"]
    assert len({record["request_id"] for record in function.records()}) == 1
    hits = [(line["fault"], line["caller"], line["attempt"]) for line in journal.lines("fault")]
    assert hits == [
        ("t", f"async:{function.name}", 1),
        ("t", f"async:{function.name}", 2),
        ("k", f"async:{function.name}", 3),
    ]
    assert len({line["identity"] for line in journal.lines("fault")}) == 1


@pytest.mark.parametrize(
    ("fault", "rest", "ran"),
    [
        (OutOfMemory(), 502, True),
        (InvocationError(), 502, False),
        (InvocationError(prevent_execution=False), 502, True),
        (InvocationHttpResponse(status=418), 418, False),
        (InvocationHttpResponse(status=418, prevent_execution=False), 418, True),
        (InvocationDelay(seconds=60), 502, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fault) else str(value),
)
def test_what_a_rest_api_and_a_url_make_of_it(  # noqa: PLR0917 - one case of the table
    bed: RunningTestbed, recording_function: Deploy, arm: Arm, fault: Fault, rest: int, ran: bool
) -> None:
    """A failure of the function is a bad gateway; a response in its place is the response."""
    function = recording_function("return {'statusCode': 201}", timeout=1)
    api = deploy.rest_api(bed.aws, unique("api"), "POST", "/orders", function.arn)
    url = bed.aws.client("lambda").create_function_url_config(FunctionName=function.name, AuthType="NONE")[
        "FunctionUrl"
    ]
    arm(fault)
    assert (post(f"{api}/orders")[0], post(url)[0]) == (rest, rest)
    assert len(function.events()) == 2 * ran
