"""What a scenario is made of."""

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from testbed import (
    Architecture,
    Aws,
    Constant,
    Db,
    Deployment,
    PartDown,
    Poison,
    Queue,
    Scenario,
    SlowPostgres,
    Spike,
    Throttle,
    Traffic,
    claims,
)
from testbed.chaos.fault import CallFault
from testbed.chaos.trigger import Trigger
from testbed.errors import UsageError


def no_deploy(aws: Aws, db: Db) -> Deployment:
    raise NotImplementedError


def architecture(name: str, *chaos: Throttle) -> Architecture:
    return Architecture(name=name, summary="", deploy=no_deploy, expectations=[], chaos=chaos)


def scenario(**changes: Any) -> Scenario:
    fields: dict[str, Any] = {
        "name": "s",
        "summary": "",
        "traffic": Traffic(arrivals=Constant(rate=10, seconds=2), order=lambda order_id, _: {"id": order_id, "n": 1}),
        "architectures": [architecture("a"), architecture("b")],
    }
    return Scenario(**fields | changes)


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_architectures_need_names_of_their_own(names: list[str]) -> None:
    """A verdict is keyed by them."""
    with pytest.raises(UsageError, match="architectures with a name of their own"):
        scenario(architectures=[architecture(name) for name in names])


def test_one_poison_is_enough() -> None:
    """Two of them could spoil the same order."""
    with pytest.raises(UsageError, match="more than one Poison"):
        scenario(chaos=[Poison(every=2), Poison(every=3)])


def test_poison_of_one_architecture_is_refused() -> None:
    """The orders are the same for all: it would never be planted."""
    poisoned = replace(architecture("a"), chaos=[Poison(every=2)])
    with pytest.raises(UsageError, match="has Poison in an architecture"):
        scenario(architectures=[poisoned])


def test_only_keeps_the_order_that_was_asked_for() -> None:
    """The first named runs first."""
    assert [each.name for each in scenario().only(["b", "a"]).architectures] == ["b", "a"]
    assert scenario().only([]).architectures == scenario().architectures


def test_only_names_what_there_is() -> None:
    """An unknown architecture is an error, not an empty run."""
    with pytest.raises(UsageError, match="no architecture 'c'") as caught:
        scenario().only(["c"])
    assert caught.value.hint == "its architectures: a, b"


def test_scaling_keeps_rates_and_stretches_time() -> None:
    """The same overload for half as long; fault windows move along, everywhere."""
    sale = Spike(base_rate=5, factor=10, before=1, during=2, after=1)
    throttle = Throttle(service="sqs", probability=1, during=(1, 3))
    whole = scenario(
        traffic=Traffic(arrivals=sale, order=lambda order_id, _: {"id": order_id}),
        chaos=[Poison(every=10), SlowPostgres(latency_ms=1, during=(1, 3)), SlowPostgres(name="all", latency_ms=1)],
        architectures=[architecture("a", throttle)],
    )
    half = whole.scaled(0.5)
    stages = [(getattr(stage, "rate", None), stage.seconds) for stage in half.traffic.arrivals.stages]
    assert stages == [(5, 0.5), (50, 1.0), (5, 0.5)]
    assert [getattr(fault, "during", "no window") for fault in half.chaos] == ["no window", (0.5, 1.5), None]
    assert getattr(half.architectures[0].chaos[0], "during", None) == (0.5, 1.5)


def test_scaling_stretches_what_happens_at_a_time() -> None:
    """Its beginning and its length."""
    whole = scenario(chaos=[PartDown(part="postgres", at=4, seconds=2)])
    assert list(whole.scaled(0.5).chaos) == [PartDown(part="postgres", at=2, seconds=1)]
    assert whole.without_chaos().chaos == ()


def test_poison_that_kills_brings_its_faults_of_invokes() -> None:
    """For the very orders that were planned so; without poison, and after --no-chaos, there are none."""
    armed, requests = scenario(chaos=[Poison(every=5, kinds=("crashes", "nul"))]).planned(1)
    [_, fault] = armed.chaos
    assert isinstance(fault, CallFault)
    assert isinstance(fault.when, Trigger)
    assert fault.when.to_json() == {"key": [each.id for each in requests if each.poison == "crashes"]}
    calm = armed.without_chaos()
    assert calm.planned(1) == (calm, calm.traffic.plan(1, None))


def test_without_chaos_nothing_is_spoiled() -> None:
    """Faults and poison go, of the scenario and of each architecture."""
    chaotic = scenario(
        chaos=[Poison(every=2)], architectures=[architecture("a", Throttle(service="sqs", probability=1))]
    )
    calm = chaotic.without_chaos()
    assert calm.poison is None
    assert calm.chaos == ()
    assert calm.architectures[0].chaos == ()


def test_the_plan_is_the_seed_s() -> None:
    """The same seed gives the same requests, another one others; every so many is poisoned."""
    traffic = scenario().traffic
    assert traffic.plan(1, Poison(every=5)) == traffic.plan(1, Poison(every=5))
    assert traffic.plan(1, None) != traffic.plan(2, None)
    poisoned = [request for request in traffic.plan(1, Poison(every=5)) if request.poison]
    assert len(poisoned) == 4


def test_a_request_is_a_post_that_can_be_recognised() -> None:
    """The body is the order, the id its idempotency key, and the path the scenario's."""

    def order(order_id: str, rng: Random) -> dict[str, Any]:
        return {"id": order_id, "n": rng.randint(1, 9)}

    request = Traffic(arrivals=Constant(rate=1, seconds=1), order=order, path="/buy").plan(1, None)[0]
    assert (request.method, request.url_path, request.poison) == ("POST", "/buy", None)
    assert json.loads(request.body)["id"] == request.id == request.headers["Idempotency-Key"]


def test_clients_talk_to_the_one_endpoint() -> None:
    """Only ``endpoint_url`` differs from AWS; the address of a stage is below it."""
    aws = Aws("http://127.0.0.1:1")
    assert aws.client("sqs").meta.endpoint_url == "http://127.0.0.1:1"
    assert aws.rest_api_url("abc", "live") == "http://127.0.0.1:1/restapis/abc/live/_user_request_"


def test_an_order_that_cannot_be_made_is_the_scenario_s_mistake() -> None:
    """With the line that failed."""
    traffic = replace(scenario().traffic, order=lambda order_id, _: {"id": order_id, "n": 1 / 0})
    with pytest.raises(UsageError, match="the traffic of scenario 's' cannot be planned") as refused:
        scenario(traffic=traffic).planned(1)
    assert "test_scenario.py" in refused.value.message


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": ""}, "is no URL"),
        ({"url": "localhost:4566/x"}, "is no URL"),
        ({"url": None}, "is no URL"),
        ({"stored": "orders"}, r"Deployment\(stored='orders'\) does not say where orders are"),
        ({"dead_letters": ["dead"]}, "dead_letters"),
        ({"sources": Queue("orders")}, "sources"),
    ],
)
def test_a_deployment_that_leads_nowhere_is_refused(given: dict[str, Any], said: str) -> None:
    """At once, and not when all the traffic is over."""
    with pytest.raises(UsageError, match=said):
        Deployment(**{"url": "http://127.0.0.1:1", **given})


def test_what_is_no_list_is_refused() -> None:
    """A comma that is missing behind the only entry is what it mostly is."""
    claim = claims.no_acknowledged_order_is_lost()
    with pytest.raises(UsageError, match=r"architecture 'a': expectations=.* is no list of Expectations"):
        Architecture(name="a", summary="", deploy=no_deploy, expectations=claim)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"chaos=.* is no list of Faults"):
        Architecture(name="a", summary="", deploy=no_deploy, expectations=[claim], chaos=["Throttle"])  # type: ignore[list-item]
    with pytest.raises(UsageError, match=r"scenario 's': architectures=.* is no list of Architectures"):
        scenario(architectures="a")
    with pytest.raises(UsageError, match=r"scenario 's': chaos=.* is no list of Faults"):
        scenario(chaos=Throttle(service="sqs"))


@pytest.mark.parametrize(
    "changes",
    [{"name": "../evil"}, {"name": ""}, {"name": "my shop"}, {"drain_seconds": -1}, {"drain_seconds": float("nan")}],
)
def test_names_and_times_that_lead_nowhere_are_refused(changes: dict[str, Any]) -> None:
    """A run folder is named after its scenario; a drain takes some time."""
    with pytest.raises(UsageError):
        scenario(**changes)
    with pytest.raises(UsageError, match="a name has letters"):
        scenario(architectures=[architecture("a/b")])
