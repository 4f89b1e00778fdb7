"""The limits that are set for REST APIs: method settings of stages, and usage plans with their API keys.

Both are read from the emulator once and kept until it says that they changed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from testbed.compute.aws import AwsCaller
from testbed.compute.kept import kept
from testbed.semantics.rest_api_limits import Limit, Quota

CALLER: Final = "testbed"
_EVERY: Final = ("/*", "*")
_Period = Literal["DAY", "WEEK", "MONTH"]


class StageLimits:
    """The throttles of one stage: each of its methods has one of its own, set for it or for all.

    Args:
        scope: Id of the API and name of the stage.
        settings: ``methodSettings`` of GetStage; keys are ``*/*`` and ``~1orders~1{id}/GET``, a slash escaped.
    """

    def __init__(self, scope: tuple[str, str], settings: Mapping[str, Mapping[str, Any]]) -> None:
        self._scope = scope
        self._settings = {_resource_and_method(key): setting for key, setting in settings.items()}
        self._limits: dict[tuple[str, str], tuple[Limit, ...]] = {}

    def of(self, resource: str, method: str) -> tuple[Limit, ...]:
        """The throttle of a method as it was deployed, ``"ANY"`` included; none where nothing is set."""
        key = (resource, method)
        if key not in self._limits:
            setting = self._settings.get(key, self._settings.get(_EVERY, {}))
            rate, burst = setting.get("throttlingRateLimit"), setting.get("throttlingBurstLimit")
            self._limits[key] = _limits((*self._scope, *key), rate, burst)
        return self._limits[key]


@dataclass(frozen=True, slots=True)
class Client:
    """The owner of an API key, on one stage.

    Attributes:
        key: Id of the API key.
        limits: Throttle of the client by the usage plan.
        method_limits: The plan's throttles of single methods of the stage.
        quota: Of the client; None where the plan has none.
    """

    key: str
    limits: tuple[Limit, ...]
    method_limits: Mapping[tuple[str, str], tuple[Limit, ...]]
    quota: Quota | None

    def limits_of(self, resource: str, method: str) -> tuple[Limit, ...]:
        """What holds for the client's requests to a method."""
        return (*self.method_limits.get((resource, method), ()), *self.limits)


class UsagePlans:
    """Who may call methods that require an API key, and how often.

    Args:
        aws: Reads the plans and the keys.
    """

    def __init__(self, aws: AwsCaller) -> None:
        self._aws = aws
        self._known: dict[None, asyncio.Task[dict[tuple[str, str, str], Client]]] = {}

    def forget(self) -> None:
        """They may have changed."""
        self._known.clear()

    async def client(self, api: str, stage: str, key: str | None) -> Client | None:
        """Whose API key ``key`` is on this stage; None where it is nobody's, or is disabled.

        Raises:
            AwsCallError: The emulator did not answer.
        """
        if not key:
            return None
        clients = await kept(self._known, None, self._read)
        return clients.get((api, stage, key))

    async def _read(self) -> dict[tuple[str, str, str], Client]:
        keys = await self._all("GetApiKeys", {"includeValues": True})
        enabled = {key["id"]: key["value"] for key in keys if key.get("enabled")}
        clients: dict[tuple[str, str, str], Client] = {}
        for plan in await self._all("GetUsagePlans", {}):
            members = await self._all("GetUsagePlanKeys", {"usagePlanId": plan["id"]})
            for member in (member["id"] for member in members if member["id"] in enabled):
                for stage in plan.get("apiStages") or ():
                    place = (stage["apiId"], stage["stage"], enabled[member])
                    clients.setdefault(place, _client(plan, stage, member))
        return clients

    async def _all(self, operation: str, params: dict[str, Any]) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        while True:
            answer = await self._aws.call("apigateway", operation, params | {"limit": 500}, caller=CALLER)
            items += answer.get("items") or ()
            if not answer.get("position"):
                return items
            params = params | {"position": answer["position"]}


def _client(plan: Mapping[str, Any], stage: Mapping[str, Any], key: str) -> Client:
    """Throttles and quota of one key: its requests to all stages of the plan together, those of a method apart."""
    own, throttle, quota = (plan["id"], key), plan.get("throttle") or {}, plan.get("quota") or {}
    method_limits = {
        (place := _resource_and_method(name)): _limits(
            (*own, stage["apiId"], stage["stage"], *place), each.get("rateLimit"), each.get("burstLimit")
        )
        for name, each in (stage.get("throttle") or {}).items()
    }
    return Client(
        key,
        _limits(own, throttle.get("rateLimit"), throttle.get("burstLimit")),
        method_limits,
        Quota(*own, int(quota["limit"]), cast("_Period", quota["period"]), int(quota.get("offset") or 0))
        if quota.get("limit") is not None
        else None,
    )


def _resource_and_method(key: str) -> tuple[str, str]:
    """``/orders`` and ``GET`` of ``~1orders/GET`` or ``/orders/GET``."""
    resource, _, method = key.rpartition("/")
    return "/" + resource.replace("~1", "/").replace("~0", "~").lstrip("/"), method


def _limits(scope: Sequence[str], rate: float | str | None, burst: int | str | None) -> tuple[Limit, ...]:
    """At most one limit: none where nothing is set. A number below 0 means that it is not set, too."""
    numbers = [None if each is None or float(each) < 0 else float(each) for each in (rate, burst)]
    if numbers == [None, None]:
        return ()
    return (Limit(tuple(scope), numbers[0], None if numbers[1] is None else int(numbers[1])),)
