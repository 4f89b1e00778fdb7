"""When a fault acts: conditions on a call that combine with ``&``, ``|`` and ``~``.

`probability`, `window` and the selectors look at the call alone, so they decide the same at any concurrency.
`every_nth` and `nth` count orders of the plan, so they do too wherever an order caused the call. What counts calls as
they come (`at_most`, `rate`, and the two before for calls that no order caused) depends on the order in which they
come; the journal tells which it were, and a replay hits the same ones.
"""

import importlib.util
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testbed.chaos.call import Call
from testbed.chaos.carried import carrying
from testbed.chaos.decision import draw
from testbed.errors import UsageError
from testbed.trace import digest_of

Predicate = Callable[[Call], bool]
_HINT: Final = "docs/faults.md lists the triggers"


class Trigger(ABC):
    """A condition on a call."""

    @abstractmethod
    def armed(self, seed: int, fault: str) -> Predicate:
        """The condition for one run: what it counts begins at nothing.

        Args:
            seed: Seed of the run.
            fault: Name of the fault that asks, so that two faults decide independently of each other.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The trigger as a JSON object with one member; `trigger_from_json` reads it."""

    def __and__(self, other: "Trigger | Predicate") -> "Trigger":
        """Both hold. The second is asked only where the first holds: put what counts last."""
        return _All((self, as_trigger(other)))

    def __rand__(self, other: Predicate) -> "Trigger":
        """Both hold, a function of one's own first."""
        return _All((as_trigger(other), self))

    def __or__(self, other: "Trigger | Predicate") -> "Trigger":
        """One of them holds. The second is asked only where the first does not hold."""
        return _Any((self, as_trigger(other)))

    def __ror__(self, other: Predicate) -> "Trigger":
        """One of them holds, a function of one's own first."""
        return _Any((as_trigger(other), self))

    def __invert__(self) -> "Trigger":
        """It does not hold."""
        return _Not(self)


def as_trigger(condition: Trigger | Predicate) -> Trigger:
    """A trigger as it is; a function of one's own, from a call to whether it is hit, as a trigger.

    The function is a top-level one of a file, since the data plane, a process of its own, must find it there. It must
    look at the call alone.

    Raises:
        UsageError: It is no such function.
    """
    return condition if isinstance(condition, Trigger) else _Own(_reference(condition))


@dataclass(frozen=True)
class _All(Trigger):
    triggers: tuple[Trigger, ...]

    def armed(self, seed: int, fault: str) -> Predicate:
        parts = [trigger.armed(seed, fault) for trigger in self.triggers]
        return lambda call: all(part(call) for part in parts)

    def to_json(self) -> dict[str, Any]:
        return {"all": [trigger.to_json() for trigger in self.triggers]}


@dataclass(frozen=True)
class _Any(Trigger):
    triggers: tuple[Trigger, ...]

    def armed(self, seed: int, fault: str) -> Predicate:
        parts = [trigger.armed(seed, fault) for trigger in self.triggers]
        return lambda call: any(part(call) for part in parts)

    def to_json(self) -> dict[str, Any]:
        return {"any": [trigger.to_json() for trigger in self.triggers]}


@dataclass(frozen=True)
class _Not(Trigger):
    trigger: Trigger

    def armed(self, seed: int, fault: str) -> Predicate:
        part = self.trigger.armed(seed, fault)
        return lambda call: not part(call)

    def to_json(self) -> dict[str, Any]:
        return {"not": self.trigger.to_json()}


@dataclass(frozen=True)
class probability(Trigger):  # noqa: N801 - it reads as a word of a sentence, as the others here
    """Each attempt of a call with this chance, more than 0 and at most 1; a retry is decided anew."""

    chance: float

    def __post_init__(self) -> None:
        if not 0 < self.chance <= 1:
            raise _refused(f"probability({self.chance}) is not more than 0 and at most 1")

    def armed(self, seed: int, fault: str) -> Predicate:
        """Depends on seed, fault, identity and attempt alone."""
        return lambda call: draw(seed, fault, call.identity, call.attempt) < self.chance

    def to_json(self) -> dict[str, Any]:
        """``{"probability": 0.1}``."""
        return {"probability": self.chance}


@dataclass(frozen=True)
class window(Trigger):  # noqa: N801 - see probability
    """From ``start`` (included) until ``end`` (excluded), in seconds after the start of the traffic."""

    start: float
    end: float

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise _refused(f"({self.start}, {self.end}) is not a window: start in seconds, then end, 0 <= start < end")

    def armed(self, seed: int, fault: str) -> Predicate:
        """Compared with `Call.at`."""
        del seed, fault
        return lambda call: self.start <= call.at < self.end

    def to_json(self) -> dict[str, Any]:
        """``{"window": [10, 25]}``."""
        return {"window": [self.start, self.end]}


@dataclass(frozen=True)
class every_nth(Trigger):  # noqa: N801 - see probability
    """The calls of every ``n``-th order of the plan; of calls that no order caused every ``n``-th that comes."""

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise _refused(f"every_nth({self.n}) is below 1")

    def armed(self, seed: int, fault: str) -> Predicate:
        """Counts only the calls without an order."""
        del seed, fault
        number = _numbered()
        return lambda call: number(call) % self.n == 0

    def to_json(self) -> dict[str, Any]:
        """``{"every_nth": 3}``."""
        return {"every_nth": self.n}


@dataclass(frozen=True)
class nth(Trigger):  # noqa: N801 - see probability
    """The calls of the ``n``-th order of the plan alone, the first is 1; of calls without an order the ``n``-th one."""

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise _refused(f"nth({self.n}) is below 1")

    def armed(self, seed: int, fault: str) -> Predicate:
        """Counts only the calls without an order."""
        del seed, fault
        number = _numbered()
        return lambda call: number(call) == self.n

    def to_json(self) -> dict[str, Any]:
        """``{"nth": 3}``."""
        return {"nth": self.n}


@dataclass(frozen=True)
class attempts(Trigger):  # noqa: N801 - see probability
    """The attempts of a call from ``first`` to ``last``, both included: ``attempts(1)`` is the first alone."""

    first: int
    last: int = 0

    def __post_init__(self) -> None:
        if not self.last:
            object.__setattr__(self, "last", self.first)
        if not 1 <= self.first <= self.last:
            raise _refused(f"attempts({self.first}, {self.last}): give the first attempt, 1 or more, and the last")

    def armed(self, seed: int, fault: str) -> Predicate:
        """Compared with `Call.attempt`."""
        del seed, fault
        return lambda call: self.first <= call.attempt <= self.last

    def to_json(self) -> dict[str, Any]:
        """``{"attempts": [1, 2]}``."""
        return {"attempts": [self.first, self.last]}


@dataclass(frozen=True)
class at_most(Trigger):  # noqa: N801 - see probability
    """The first ``n`` calls for which it is asked."""

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise _refused(f"at_most({self.n}) is below 1")

    def armed(self, seed: int, fault: str) -> Predicate:
        """Counts the calls for which it is asked, as they come."""
        del seed, fault
        left = self.n

        def holds(_: Call) -> bool:
            nonlocal left
            left -= 1
            return left >= 0

        return holds

    def to_json(self) -> dict[str, Any]:
        """``{"at_most": 5}``."""
        return {"at_most": self.n}


@dataclass(frozen=True)
class rate(Trigger):  # noqa: N801 - see probability
    """At most so many calls ``per_second``, by when they belong into the run; a second's worth at once."""

    per_second: float

    def __post_init__(self) -> None:
        if not 0 < self.per_second < float("inf"):
            raise _refused(f"rate({self.per_second}) is not a number of calls, more than 0")

    def armed(self, seed: int, fault: str) -> Predicate:
        """A token bucket that holds one second's worth, and at least one."""
        del seed, fault
        size = max(1.0, self.per_second)
        tokens, last = size, 0.0

        def holds(call: Call) -> bool:
            nonlocal tokens, last
            if call.at > last:
                tokens, last = min(size, tokens + (call.at - last) * self.per_second), call.at
            if tokens < 1:
                return False
            tokens -= 1
            return True

        return holds

    def to_json(self) -> dict[str, Any]:
        """``{"rate": 2.5}``."""
        return {"rate": self.per_second}


@dataclass(frozen=True)
class _Selector(Trigger):
    """What the call says of itself under ``kind`` is one of ``names``."""

    kind: str
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.names or not all(isinstance(name, str) for name in self.names):
            raise _refused(f"{self.kind}{self.names} needs names, each a text")

    def armed(self, seed: int, fault: str) -> Predicate:
        del seed, fault
        of_call = _SELECTED[self.kind]
        if self.kind == "key":
            digests, carries = frozenset(map(digest_of, self.names)), carrying(self.names)
            return lambda call: call.key in digests or (bool(call.payload) and carries(call.payload))
        names = frozenset(self.names)
        return lambda call: not names.isdisjoint(of_call(call))

    def to_json(self) -> dict[str, Any]:
        return {self.kind: list(self.names)}


_SELECTED: Final[Mapping[str, Callable[[Call], tuple[str, ...]]]] = {
    "service": lambda call: (call.service,),
    "operation": lambda call: (call.operation,),
    "resource": lambda call: (call.resource,),
    "function": lambda call: (call.resource if call.service == "lambda" else call.caller.removeprefix("function:"),),
    "caller": lambda call: (call.caller, call.caller.partition(":")[0]),
    "key": lambda call: (call.key,),
}
"""What a call is known by, under each kind of selector."""


def service(*names: str) -> Trigger:
    """Calls of these services, botocore's names or those of `Call.service`."""
    return _Selector("service", names)


def operation(*names: str) -> Trigger:
    """Calls of these operations."""
    return _Selector("operation", names)


def resource(*names: str) -> Trigger:
    """Calls of queues, streams, tables, functions or APIs with these names."""
    return _Selector("resource", names)


def function(*names: str) -> Trigger:
    """Invokes of these functions, and the calls that they make."""
    return _Selector("function", names)


def caller(*names: str) -> Trigger:
    """Calls by these callers as in `Call`, or by their kind: ``"function"`` stands for every function."""
    return _Selector("caller", names)


def key(*names: str) -> Trigger:
    """Calls that these orders of the plan caused, by their ids, and invokes with a batch that one of them is in."""
    return _Selector("key", names)


@dataclass(frozen=True)
class _Own(Trigger):
    """A function of one's own, ``path of its file:its name``."""

    reference: str

    def armed(self, seed: int, fault: str) -> Predicate:
        del seed, fault
        path, _, name = self.reference.rpartition(":")
        found = getattr(_module(path), name, None)
        if not callable(found):
            raise _refused(f"there is no function {name!r} in {path}")
        holds: Predicate = found
        return lambda call: bool(holds(call))

    def to_json(self) -> dict[str, Any]:
        return {"callable": self.reference}


_NUMBERS: Final[Mapping[str, Callable[..., Trigger]]] = {
    "probability": probability,
    "every_nth": every_nth,
    "nth": nth,
    "at_most": at_most,
    "rate": rate,
}
_PAIRS: Final[Mapping[str, Callable[..., Trigger]]] = {"window": window, "attempts": attempts}


def trigger_from_json(document: Mapping[str, Any]) -> Trigger:
    """The trigger that `Trigger.to_json` wrote, or that somebody wrote by hand.

    Raises:
        UsageError: It is none.
    """
    try:
        [(kind, value)] = document.items()
        if kind in {"all", "any"}:
            parts = tuple(trigger_from_json(each) for each in value)
            return _All(parts) if kind == "all" else _Any(parts)
        if kind == "not":
            return _Not(trigger_from_json(value))
        if kind == "callable":
            return _Own(str(value))
        if kind in _SELECTED:
            return _Selector(kind, tuple([value] if isinstance(value, str) else value))
        if kind in _PAIRS:
            return _PAIRS[kind](*value)
        return _NUMBERS[kind](value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _refused(f"{document!r} is not a trigger") from error


def _numbered() -> Callable[[Call], int]:
    """The number of the order that caused a call, from 1; for calls without one, how many of them came until now."""
    seen = 0

    def number(call: Call) -> int:
        nonlocal seen
        if call.order is not None:
            return call.order
        seen += 1
        return seen

    return number


def _reference(condition: Predicate) -> str:
    name = getattr(condition, "__qualname__", "")
    path = inspect.getsourcefile(condition) if inspect.isfunction(condition) else None
    if path is None or not name.isidentifier():
        raise UsageError(
            f"{condition!r} cannot be a trigger: the data plane, a process of its own, could not find it",
            "give a function that is defined with def at the top level of the scenario's file",
        )
    return f"{Path(path).resolve()}:{name}"


def _module(path: str) -> object:
    specification = importlib.util.spec_from_file_location(f"triggers of {path}", path)
    if specification is None or specification.loader is None:
        raise _refused(f"{path!r} is not a file of Python")
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _refused(f"{path} with a trigger cannot be imported: {type(error).__name__}: {error}") from error
    return module


def triggers_of(parts: Sequence[Trigger]) -> Trigger | None:
    """All of ``parts`` together; None where there are none."""
    return _All(tuple(parts)) if len(parts) > 1 else next(iter(parts), None)


def _refused(why: str) -> UsageError:
    return UsageError(why, _HINT)
