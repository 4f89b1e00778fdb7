"""Which faults hit a call: all faults of a run, put together."""

from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final

from testbed.chaos.call import Call, Decision, Injection
from testbed.chaos.fault import CallFault, Fault
from testbed.chaos.trigger import Predicate
from testbed.errors import UsageError

Listener = Callable[[Call, Injection], None]
"""Is told of each fault that fired, with what that fault did to the call."""

Hit = tuple[str, str, int]
"""What was hit once: name of the fault, identity and attempt of the call."""


EVERY_SERVICE: Final = "*"
"""As the service of a fault: every one but Postgres, which is none of AWS's."""


@dataclass(slots=True)
class Armed:
    """A fault that acts on calls.

    Attributes:
        fault: Which, with its name.
        hits: Whether it hits a call of its service.
        seed: Of its decisions.
        since: Second 0 of its windows, in seconds after the start of the traffic.
        fired: On how many calls it had an effect.
        last: The last of these.
    """

    fault: CallFault
    hits: Predicate
    seed: int
    since: float = 0.0
    fired: int = 0
    last: Call | None = None


class Schedule:
    """Decides for every call of a run whether faults hit it, and what they do to it.

    A decision is a function of the seed, the faults and the call (its identity, its attempt, when it belongs into the
    run), so it is the same in every order of the calls and at any concurrency; the triggers that count calls say so in
    `testbed.chaos.trigger`.

    Where several faults hit one call their delays add up, and the first answer in the order of the list is the answer.
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        seed: int,
        listener: Listener | None = None,
        *,
        replayed: AbstractSet[Hit] | None = None,
    ) -> None:
        """Arms the faults. `Poison` and timed faults do not act on calls, and are left out.

        Args:
            faults: In the order in which their answers win.
            seed: Seed of the run.
            listener: Called for each decision that fired.
            replayed: What was hit in an earlier run: exactly that is hit again, whatever the triggers say. A fault
                of certain orders alone hits those, in whatever batch they come now.

        Raises:
            UsageError: Two faults have the same name.
        """
        self._listener = listener
        self._replayed = replayed
        self._met: set[Hit] = set()
        self._armed: dict[str, Armed] = {}
        self._of_service: dict[str, tuple[Armed, ...]] = {}
        for fault in named(faults):
            if isinstance(fault, CallFault):
                self.add(fault, seed)

    def add(self, fault: CallFault, seed: int, since: float = 0.0) -> None:
        """Arm one more, which has a name, behind the others.

        Raises:
            UsageError: Another one has its name.
        """
        if fault.name in self._armed:
            raise _named_twice(fault.name)
        decides = self._replayed is None or fault.is_of_orders
        hits = fault.armed(seed) if decides else self._as_before(fault.name, self._replayed or set())
        self._armed[fault.name] = Armed(fault, hits, seed, since)
        self._of_service.clear()

    def remove(self, name: str) -> bool:
        """Let a fault act no more; returns whether there was one of this name."""
        self._of_service.clear()
        return self._armed.pop(name, None) is not None

    @property
    def armed(self) -> int:
        """How many faults act on calls."""
        return len(self._armed)

    @property
    def faults(self) -> tuple[Armed, ...]:
        """They themselves, in the order in which their answers win."""
        return tuple(self._armed.values())

    @property
    def fired(self) -> dict[str, int]:
        """Name of each armed fault to the number of calls on which it had an effect."""
        return {name: armed.fired for name, armed in self._armed.items()}

    @property
    def missed(self) -> dict[str, int]:
        """Name of each armed fault to the number of replayed hits whose calls did not come; only those with any."""
        missed = Counter(fault for fault, _, _ in (self._replayed or set()) - self._met)
        return {name: missed[name] for name in self._armed if missed[name]}

    def decide(self, call: Call) -> Decision | None:
        """What happens to ``call``; None where no fault hits it."""
        found: list[Injection] = []
        acting = self._of_service.get(call.service)
        for armed in self._acting_on(call.service) if acting is None else acting:
            seen = replace(call, at=call.at - armed.since) if armed.since else call
            if not armed.hits(seen):
                continue
            injection = armed.fault.inject(seen, armed.seed)
            if _is_masked(injection, found):
                continue
            armed.fired += 1
            armed.last = call
            if self._replayed is not None:
                self._met.add((injection.fault, call.identity, call.attempt))
            if self._listener is not None:
                self._listener(call, injection)
            found.append(injection)
        return Decision(tuple(found)) if found else None

    def _acting_on(self, service: str) -> tuple[Armed, ...]:
        kinds = {service} if service == "postgres" else {service, EVERY_SERVICE}
        acting = tuple(armed for armed in self._armed.values() if armed.fault.service in kinds)
        self._of_service[service] = acting
        return acting

    @staticmethod
    def _as_before(fault: str, replayed: AbstractSet[Hit]) -> Predicate:
        return lambda call: (fault, call.identity, call.attempt) in replayed


def _is_masked(injection: Injection, found: Sequence[Injection]) -> bool:
    """Whether an injection has no effect: the call is answered already, or not executed at all."""
    answering = next((each for each in found if each.answer is not None), None)
    if answering is None or injection.delay:
        return False
    return not answering.executed or not (injection.delay_after or injection.effect)


def named(faults: Sequence[Fault]) -> list[Fault]:
    """The faults with a name each: its own, or one of its type and position, for example ``"throttle-1"``.

    Raises:
        UsageError: Two faults have the same name.
    """
    result: list[Fault] = []
    for position, fault in enumerate(faults, start=1):
        name = fault.name or f"{type(fault).__name__.lower()}-{position}"
        if any(name == other.name for other in result):
            raise _named_twice(name)
        result.append(replace(fault, name=name))
    return result


def _named_twice(name: str) -> UsageError:
    return UsageError(f"two faults are named {name!r}", "give each fault of a list a name of its own")
