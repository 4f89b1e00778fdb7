"""Which faults hit a call: all faults of a run, put together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from testbed.chaos.call import AwsError, Call, Injection
from testbed.chaos.fault import CallFault, Fault
from testbed.chaos.poison import Poison
from testbed.chaos.slow_postgres import SlowPostgres
from testbed.chaos.throttle import Throttle
from testbed.errors import UsageError

Listener = Callable[[Call, Injection], None]
"""Is told of each fault that fired, with what that fault did to the call."""

_TYPES: Final[Mapping[str, type[Fault]]] = {kind.__name__: kind for kind in (Throttle, SlowPostgres, Poison)}


class Schedule:
    """Decides for every call of a run whether faults hit it, and what they do to it.

    A decision is a function of the seed, the faults and the call (its identity, its attempt, when it belongs into the
    run), so it is the same in every order of the calls and at any concurrency. Only the counts are kept.

    Where several faults hit one call their delays add up, and the first error in the order of the list is the answer.

    Attributes:
        armed: How many faults act on calls. `Poison` acts on the plan of the traffic and is not among them.
        fired: Name of each armed fault to the number of calls on which it had an effect.
    """

    def __init__(self, faults: Sequence[Fault], seed: int, listener: Listener | None = None) -> None:
        """Arms the faults.

        Args:
            faults: In the order in which their errors win.
            seed: Seed of the run.
            listener: Called for each decision that fired.

        Raises:
            UsageError: Two faults have the same name.
        """
        armed = [fault for fault in named(faults) if isinstance(fault, CallFault)]
        self.armed: int = len(armed)
        self.fired: dict[str, int] = {fault.name: 0 for fault in armed}
        self._seed = seed
        self._listener = listener
        self._of_service = {
            service: tuple(fault for fault in armed if fault.service == service)
            for service in {fault.service for fault in armed}
        }

    def decide(self, call: Call) -> Injection | None:
        """What happens to ``call`` before it is executed; None where no fault hits it."""
        decision: Injection | None = None
        for fault in self._of_service.get(call.service, ()):
            injection = fault.inject(call, self._seed)
            if injection is None or _masked(injection, decision):
                continue
            self._count(call, injection)
            decision = injection if decision is None else _combined(decision, injection)
        return decision

    def _count(self, call: Call, injection: Injection) -> None:
        self.fired[injection.fault] += 1
        if self._listener is not None:
            self._listener(call, injection)


def _masked(injection: Injection, decision: Injection | None) -> bool:
    """Whether an injection has no effect, as an earlier fault has answered with an error already."""
    return decision is not None and decision.error is not None and injection.delay == 0


def _combined(first: Injection, second: Injection) -> Injection:
    error: AwsError | None = first.error or second.error
    fault = second.fault if first.error is None and second.error is not None else first.fault
    return Injection(fault, first.delay + second.delay, error)


def named(faults: Sequence[Fault]) -> list[Fault]:
    """The faults with a name each: its own, or one of its type and position, for example ``"throttle-1"``.

    Raises:
        UsageError: Two faults have the same name.
    """
    result: list[Fault] = []
    for position, fault in enumerate(faults, start=1):
        name = fault.name or f"{type(fault).__name__.lower()}-{position}"
        if any(name == other.name for other in result):
            raise UsageError(f"two faults are named {name!r}", "give each fault of a list a name of its own")
        result.append(replace(fault, name=name))
    return result


def to_json(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """The faults as JSON objects: ``"type"`` and the fields, with lists for tuples."""
    return [
        {"type": type(fault).__name__}
        | {field.name: _plain(getattr(fault, field.name)) for field in fields(fault) if field.init}
        for fault in faults
    ]


def faults_from_json(objects: Sequence[Mapping[str, Any]]) -> list[Fault]:
    """The faults that `to_json` wrote, or that somebody wrote by hand; fields with a default may be left out.

    Raises:
        UsageError: A type or a field is unknown, missing or makes no sense.
    """
    return [_fault_from_json(entry) for entry in objects]


def _fault_from_json(entry: Mapping[str, Any]) -> Fault:
    kind: Callable[..., Fault] | None = _TYPES.get(str(entry.get("type")))
    if kind is None:
        raise UsageError(f"no fault has the type {entry.get('type')!r}", f"types: {', '.join(sorted(_TYPES))}")
    try:
        return kind(**{name: _frozen(value) for name, value in entry.items() if name != "type"})
    except TypeError as error:
        raise UsageError(f"{entry['type']}: {error}", "docs/faults.md lists the fields of each fault") from error


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
