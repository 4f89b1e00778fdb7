"""Every fault that there is, and faults as JSON: the same names as in Python."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, Final

from testbed.chaos.fault import Fault
from testbed.chaos.faults.database_busy import ConnectionsHogged, LockHeld
from testbed.chaos.faults.delivery import EarlyVisibility, LateDelivery
from testbed.chaos.faults.duplicate import Duplicate
from testbed.chaos.faults.environment_lost import EnvironmentKilled, OutOfMemory, SlowColdStart
from testbed.chaos.faults.invocation import InvocationDelay, InvocationError, InvocationHttpResponse
from testbed.chaos.faults.latency import Latency
from testbed.chaos.faults.lost_reply import LostReply, Unreachable
from testbed.chaos.faults.part_down import PartDown
from testbed.chaos.faults.partial_failure import PartialFailure
from testbed.chaos.faults.poison import Poison
from testbed.chaos.faults.postgres_connection import PostgresBlackHole, PostgresRefused, PostgresReset
from testbed.chaos.faults.service_error import ServiceError
from testbed.chaos.faults.slow_postgres import PostgresBandwidth, SlowPostgres
from testbed.chaos.faults.sql_error import SqlError
from testbed.chaos.faults.taken_away import ConcurrencyTaken, MappingOff
from testbed.chaos.faults.throttle import Throttle
from testbed.chaos.trigger import Trigger, trigger_from_json
from testbed.errors import UsageError

FAULTS: Final[Mapping[str, type[Fault]]] = {
    kind.__name__: kind
    for kind in (
        Throttle,
        ServiceError,
        Latency,
        LostReply,
        Unreachable,
        PartialFailure,
        Duplicate,
        EarlyVisibility,
        LateDelivery,
        InvocationDelay,
        InvocationError,
        InvocationHttpResponse,
        EnvironmentKilled,
        OutOfMemory,
        SlowColdStart,
        ConcurrencyTaken,
        MappingOff,
        SlowPostgres,
        PostgresBandwidth,
        PostgresReset,
        PostgresBlackHole,
        PostgresRefused,
        SqlError,
        ConnectionsHogged,
        LockHeld,
        PartDown,
        Poison,
    )
}
"""By the names under which JSON knows them."""


def to_json(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """The faults as JSON objects: ``"type"`` and the fields that are not left to their default, tuples as lists."""
    return [
        {"type": type(fault).__name__}
        | {
            field.name: _plain(value)
            for field in fields(fault)
            if field.init and (value := getattr(fault, field.name)) != field.default
        }
        for fault in faults
    ]


def faults_from_json(objects: Sequence[Mapping[str, Any]]) -> list[Fault]:
    """The faults that `to_json` wrote, or that somebody wrote by hand; fields with a default may be left out.

    Raises:
        UsageError: A type or a field is unknown, missing or makes no sense.
    """
    return [_fault_from_json(entry) for entry in objects]


def _fault_from_json(entry: Mapping[str, Any]) -> Fault:
    kind: type[Any] | None = FAULTS.get(str(entry.get("type")))
    if kind is None:
        raise UsageError(f"no fault has the type {entry.get('type')!r}", f"types: {', '.join(sorted(FAULTS))}")
    given = {name: _frozen(name, value) for name, value in entry.items() if name != "type"}
    known = {field.name: field.default is MISSING for field in fields(kind) if field.init}
    for name in given:
        if name not in known:
            raise UsageError(f"{entry['type']}: there is no field {name!r}", f"it has {', '.join(sorted(known))}")
    if missing := [name for name, required in known.items() if required and name not in given]:
        raise UsageError(f"{entry['type']}: {', '.join(missing)} is missing", "docs/faults.md lists the fields")
    fault: Fault = kind(**given)
    return fault


def _plain(value: object) -> object:
    if isinstance(value, Trigger):
        return value.to_json()
    return list(value) if isinstance(value, tuple) else value


def _frozen(name: str, value: Any) -> object:
    if name == "when" and value is not None:
        return trigger_from_json(value)
    return tuple(value) if isinstance(value, list) else value
