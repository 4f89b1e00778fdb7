"""What faults take as the name of a service."""

from collections.abc import Callable

import pytest

from testbed import Latency, Throttle
from testbed.chaos.catalogue import faults_from_json
from testbed.chaos.trigger import service, trigger_from_json
from testbed.errors import UsageError


@pytest.mark.parametrize("name", ["sqs", "stepfunctions", "events", "execute-api", "postgres", "*"])
def test_a_service_is_what_a_call_may_be_of(name: str) -> None:
    """A name of botocore, and what is none of AWS's services to botocore."""
    assert service(name).to_json() == {"service": [name]}
    if name != "postgres":
        assert Latency(service=name, latency_ms=1).service == name


@pytest.mark.parametrize(
    "made",
    [
        lambda name: Throttle(name="t", service=name),
        service,
        lambda name: service("sqs", name),
        lambda name: trigger_from_json({"service": [name]}),
        lambda name: faults_from_json([{"type": "Throttle", "service": name}]),
    ],
)
@pytest.mark.parametrize(
    ("name", "said"),
    [("SQS", "as 'sqs' is"), ("step-functions", "as 'stepfunctions' is"), ("EventBridge", "EventBridge is 'events'")],
)
def test_a_name_that_no_service_has_is_refused(made: Callable[[str], object], name: str, said: str) -> None:
    """Nothing would ever be hit; what may be meant is said."""
    with pytest.raises(UsageError, match=f"'{name}' is no service by botocore's names.*{said}"):
        made(name)
