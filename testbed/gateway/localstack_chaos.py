"""LocalStack's Chaos API: ``/_localstack/chaos/faults`` and ``/_localstack/chaos/effects``, as a drop-in.

Routes and schema are those of its documentation (docs.localstack.cloud, Chaos API). As there no token is asked for: who
reaches the gateway can deploy functions, and so do more than this. It listens on loopback only, pages in a browser are
refused, and while a run goes on nothing can be changed.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from testbed.chaos.fault import Fault
from testbed.chaos.faults.latency import Latency
from testbed.chaos.faults.service_error import ServiceError
from testbed.chaos.schedule import Schedule
from testbed.chaos.services import EVERY_SERVICE
from testbed.errors import UsageError
from testbed.gateway.added_faults import AddedFaults, answered, document
from testbed.gateway.message import Inbound, Reply

PATH: Final = "/_localstack/chaos/"
REGION: Final = "us-east-1"
"""The one region that there is: a rule for another one is kept, and hits nothing."""

_HINT: Final = "docs.localstack.cloud, Chaos API, has the schema"
_RULE: Final[Mapping[str, type | tuple[type, ...]]] = {
    "region": str,
    "service": str,
    "operation": str,
    "probability": (int, float),
    "error": dict,
}
_ERROR: Final[Mapping[str, type]] = {"statusCode": int, "code": str}
_LATENCY: Final = "localstack-latency"


class LocalStackChaos:
    """Answers the two routes; the rules become faults beside the others that were added by hand.

    A rule that says no service hits all but Postgres. The first rule in the list that hits a call answers it.

    Args:
        added: What it changes.
    """

    def __init__(self, added: AddedFaults) -> None:
        self._added = added
        self._of: Schedule | None = None
        self._rules: list[tuple[dict[str, Any], str]] = []
        self._latency = 0
        self._number = 0

    def handle(self, request: Inbound) -> Reply:
        """Answer one request."""
        self._forget_what_is_gone()
        name = request.path.removeprefix(PATH).rstrip("/")
        routes: dict[str, dict[str, Callable[[], Any]]] = {
            "faults": {
                "GET": lambda: None,
                "POST": lambda: self._replace(self._read(request.body)),
                "PATCH": lambda: self._add(self._read(request.body)),
                "DELETE": lambda: self._remove(self._read(request.body)),
            },
            "effects": {"GET": lambda: None, "POST": lambda: self._delay(document(request.body))},
        }
        if name not in routes:
            return Reply(404)
        known = routes[name]

        def answer() -> Any:
            known[request.method]()
            return [rule for rule, _ in self._rules] if name == "faults" else {"latency": self._latency}

        return answered(answer, method=request.method, known=known)

    def _forget_what_is_gone(self) -> None:
        """A run has begun since, or faults were removed by the testbed's own route."""
        acting = self._added.acting()
        names = {armed.fault.name for armed in acting.faults} if acting else set()
        same = acting is not None and acting is self._of
        self._rules = [(rule, name) for rule, name in self._rules if same and (not name or name in names)]
        self._latency = self._latency if same and _LATENCY in names else 0

    @staticmethod
    def _read(body: bytes) -> list[dict[str, Any]]:
        rules = document(body)
        rules = [rules] if isinstance(rules, dict) else rules
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            raise UsageError("these are no rules: an array of objects is wanted", _HINT)
        for rule in rules:
            _check(rule, _RULE)
            _check(rule.get("error", {}), _ERROR)
        return rules

    def _replace(self, rules: list[dict[str, Any]]) -> None:
        faults = self._faults(rules)
        self._added.remove([name for _, name in self._rules if name])
        self._rules = []
        self._keep(rules, faults)

    def _add(self, rules: list[dict[str, Any]]) -> None:
        self._keep(rules, self._faults(rules))

    def _keep(self, rules: list[dict[str, Any]], faults: list[Fault | None]) -> None:
        self._act([fault for fault in faults if fault is not None])
        self._rules += [(rule, fault.name if fault else "") for rule, fault in zip(rules, faults, strict=True)]

    def _remove(self, rules: list[dict[str, Any]]) -> None:
        left = list(self._rules)
        gone = []
        for rule in rules:
            found = next((each for each in left if each[0] == rule), None)
            if found is None:
                raise UsageError(f"there is no rule {rule}", "it must be exactly as the one that GET tells")
            left.remove(found)
            gone.append(found[1])
        self._added.remove([name for name in gone if name])
        self._rules = left

    def _delay(self, effects: Any) -> None:
        if not isinstance(effects, dict):
            raise UsageError("these are no effects: an object is wanted", _HINT)
        _check(effects, {"latency": int})
        latency = effects.get("latency", 0)
        if latency < 0:
            raise UsageError(f"latency={latency} is negative", _HINT)
        if self._latency:
            self._added.remove([_LATENCY])
        self._latency = 0
        self._act([Latency(name=_LATENCY, service=EVERY_SERVICE, latency_ms=latency)] if latency else [])
        self._latency = latency

    def _act(self, faults: list[Fault]) -> None:
        self._added.add(faults)
        self._of = self._added.acting()

    def _faults(self, rules: list[dict[str, Any]]) -> list[Fault | None]:
        """The fault of each rule; None for one that hits nothing."""
        self._added.check_free()
        found: list[Fault | None] = []
        for rule in rules:
            self._number += 1
            probability = rule.get("probability", 1)
            if rule.get("region", REGION) != REGION or probability == 0:
                found.append(None)
                continue
            error = rule.get("error", {})
            found.append(
                ServiceError(
                    name=f"localstack-{self._number}",
                    service=rule.get("service", EVERY_SERVICE),
                    operations=(rule["operation"],) if "operation" in rule else (),
                    probability=probability,
                    code=error.get("code", "ServiceUnavailable"),
                    status=error.get("statusCode", 503),
                    message="the testbed answers so by a rule of its Chaos API",
                )
            )
        return found


def _check(given: Mapping[str, Any], schema: Mapping[str, type | tuple[type, ...]]) -> None:
    for key, value in given.items():
        if key not in schema:
            raise UsageError(f"{key!r} is unknown: {', '.join(schema)}", _HINT)
        if not isinstance(value, schema[key]) or isinstance(value, bool):
            raise UsageError(f"{key}={value!r} has the wrong type", _HINT)
