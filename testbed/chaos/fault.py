"""What every fault has in common. A fault's fields are its API: the same names in Python, in JSON, in the docs."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from testbed.chaos import trigger
from testbed.chaos.call import Call, Injection
from testbed.chaos.condition import Predicate, Trigger, as_trigger, triggers_of
from testbed.chaos.services import misnamed
from testbed.chaos.typed import misfit
from testbed.errors import UsageError

Window = tuple[float, float]
"""From (included) and until (excluded), in seconds after the start of the traffic."""

_HINT: Final = "docs/faults.md lists the fields of each fault"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong on purpose.

    Attributes:
        name: Names the fault in the journal and in the report, and takes part in its decisions. Empty: the schedule
            gives it one of its type and its position in the list, for example ``"throttle-1"``.
    """

    name: str = ""

    def __post_init__(self) -> None:
        if why := misfit(self):
            raise UsageError(f"{type(self).__name__}: {why}", _HINT)

    def refused(self, why: str) -> UsageError:
        """The error for fields that make no sense, naming the fault."""
        return UsageError(f"{type(self).__name__} {self.name!r}: {why}", _HINT)


@dataclass(frozen=True, kw_only=True)
class CallFault(Fault, ABC):
    """A fault that acts on calls while they pass the data plane.

    It hits a call that all of the following select; those left empty select every call. It fires when it makes a
    difference to the call: a call that another fault has answered is left alone, and its triggers do not count that.

    Attributes:
        service: The service whose calls it sees, as in `Call`; ``"*"`` stands for every one but ``"postgres"``.
        operations: Operations (``"SendMessage"``); of execute-api methods (``"POST"``).
        resources: Names of queues, streams, tables, functions or APIs.
        callers: Callers as in `Call`, or their kind alone: ``"function"`` stands for every function.
        probability: Chance of each attempt to be hit, more than 0 and at most 1.
        during: Window in which it acts, compared with `Call.at`; None acts from the start to the end.
        when: A trigger that must hold besides, asked last; see `testbed.chaos.trigger`. A function of one's own is one.

    Raises:
        UsageError: A field makes no sense.
    """

    answers: ClassVar[bool] = False
    """Whether its injections answer calls."""

    service: str
    operations: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    callers: tuple[str, ...] = ()
    probability: float = 1.0
    during: Window | None = None
    when: Trigger | Predicate | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if why := misnamed(self.service):
            raise self.refused(why)
        if self.during is not None and not 0 <= self.during[0] < self.during[1]:
            raise self.refused(f"during={self.during} is not a window: give (start, end) in seconds, 0 <= start < end")
        if not 0 < self.probability <= 1:
            raise self.refused(f"probability={self.probability} is not more than 0 and at most 1")
        if self.when is not None:
            object.__setattr__(self, "when", as_trigger(self.when))

    @property
    def is_of_orders(self) -> bool:
        """Whether it hits certain orders, always and by nothing but their ids, as `Poison` that kills does."""
        by_key = isinstance(self.when, Trigger) and set(self.when.to_json()) == {"key"}
        return by_key and self.probability == 1 and self.during is None

    @abstractmethod
    def inject(self, call: Call, seed: int) -> Injection:
        """What happens to a call that it hits.

        It depends on the fault, the call and the seed only: it keeps no state, and reads no clock.
        """

    def armed(self, seed: int) -> Callable[[Call], bool]:
        """Whether it hits a call of its service, in one run: its trigger may count from now on."""
        parts = [
            *(trigger.operation(*names) for names in [self.operations] if names),
            *(trigger.window(*pair) for pair in [self.during] if pair),
            *(trigger.resource(*names) for names in [self.resources] if names),
            *(trigger.caller(*names) for names in [self.callers] if names),
            *(trigger.probability(chance) for chance in [self.probability] if chance < 1),
            *(as_trigger(when) for when in [self.when] if when),
        ]
        together = triggers_of(parts)
        return together.armed(seed, self.name) if together else lambda _: True
