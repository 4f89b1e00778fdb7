"""When a fault acts: conditions on a call that combine with ``&``, ``|`` and ``~``.

`probability`, `window` and the selectors look at the call alone, so they decide the same at any concurrency.
`every_nth` and `nth` count orders of the plan, so they do too wherever an order caused the call. What counts calls as
they come (`at_most`, `rate`, and the two before for calls that no order caused) depends on the order in which they
come; the journal tells which it were, and a replay hits the same ones. They count the calls that reach them: not those
that another fault has answered, nor those for which a condition before them, joined by ``&``, does not hold.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from testbed.chaos import condition
from testbed.chaos.call import Call
from testbed.chaos.carried import carrying
from testbed.chaos.condition import Predicate, Trigger, refused
from testbed.chaos.decision import draw
from testbed.chaos.services import misnamed
from testbed.trace import digest_of

__all__ = (
    "Predicate",
    "Trigger",
    "at_most",
    "attempts",
    "caller",
    "every_nth",
    "function",
    "key",
    "nth",
    "operation",
    "probability",
    "rate",
    "resource",
    "service",
    "trigger_from_json",
    "window",
)


@dataclass(frozen=True)
class probability(Trigger):  # noqa: N801 - it reads as a word of a sentence, as the others here
    """Each attempt of a call with this chance, more than 0 and at most 1; a retry is decided anew."""

    chance: float

    def __post_init__(self) -> None:
        if not 0 < self.chance <= 1:
            raise refused(f"probability({self.chance}) is not more than 0 and at most 1")

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
            raise refused(f"({self.start}, {self.end}) is not a window: start in seconds, then end, 0 <= start < end")

    def armed(self, seed: int, fault: str) -> Predicate:
        """Compared with `Call.at`."""
        del seed, fault
        return lambda call: self.start <= call.at < self.end

    def to_json(self) -> dict[str, Any]:
        """``{"window": [10, 25]}``."""
        return {"window": [self.start, self.end]}


@dataclass(frozen=True)
class every_nth(Trigger):  # noqa: N801 - see probability
    """The calls of every ``n``-th order of the plan; of calls that no order caused every ``n``-th that reaches it."""

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise refused(f"every_nth({self.n}) is below 1")

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
            raise refused(f"nth({self.n}) is below 1")

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
            raise refused(f"attempts({self.first}, {self.last}): give the first attempt, 1 or more, and the last")

    def armed(self, seed: int, fault: str) -> Predicate:
        """Compared with `Call.attempt`."""
        del seed, fault
        return lambda call: self.first <= call.attempt <= self.last

    def to_json(self) -> dict[str, Any]:
        """``{"attempts": [1, 2]}``."""
        return {"attempts": [self.first, self.last]}


@dataclass(frozen=True)
class at_most(Trigger):  # noqa: N801 - see probability
    """The first ``n`` calls that reach it; each counts, also where the fault then finds nothing to act on."""

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise refused(f"at_most({self.n}) is below 1")

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
            raise refused(f"rate({self.per_second}) is not a number of calls, more than 0")

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
            raise refused(f"{self.kind}{self.names} needs names, each a text")
        if self.kind == "service" and (why := next(filter(None, map(misnamed, self.names)), "")):
            raise refused(why)

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
    "resource": lambda call: (call.resource, *call.resource.split(",")),
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
            return condition.All(parts) if kind == "all" else condition.AnyOf(parts)
        if kind == "not":
            return condition.Not(trigger_from_json(value))
        if kind == "callable":
            return condition.Own(str(value))
        if kind in _SELECTED:
            return _Selector(kind, tuple([value] if isinstance(value, str) else value))
        if kind in _PAIRS:
            return _PAIRS[kind](*value)
        return _NUMBERS[kind](value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise refused(f"{document!r} is not a trigger") from error


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
