"""Which faults hit a call: all faults of a run, put together."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from testbed.chaos.call import Call, Decision, Injection
from testbed.chaos.fault import CallFault, Fault
from testbed.chaos.trigger import Predicate
from testbed.errors import UsageError

Listener = Callable[[Call, Injection], None]
"""Is told of each fault that fired, with what that fault did to the call."""

Hit = tuple[str, str, int]
"""What was hit once: name of the fault, identity and attempt of the call."""


class Schedule:
    """Decides for every call of a run whether faults hit it, and what they do to it.

    A decision is a function of the seed, the faults and the call (its identity, its attempt, when it belongs into the
    run), so it is the same in every order of the calls and at any concurrency; the triggers that count calls say so in
    `testbed.chaos.trigger`.

    Where several faults hit one call their delays add up, and the first answer in the order of the list is the answer.

    Attributes:
        armed: How many faults act on calls. `Poison` acts on the plan of the traffic and is not among them.
        fired: Name of each armed fault to the number of calls on which it had an effect.
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        seed: int,
        listener: Listener | None = None,
        *,
        replayed: AbstractSet[Hit] | None = None,
    ) -> None:
        """Arms the faults.

        Args:
            faults: In the order in which their answers win.
            seed: Seed of the run.
            listener: Called for each decision that fired.
            replayed: What was hit in an earlier run: exactly that is hit again, whatever the triggers say.

        Raises:
            UsageError: Two faults have the same name.
        """
        armed = [fault for fault in named(faults) if isinstance(fault, CallFault)]
        self.armed: int = len(armed)
        self.fired: dict[str, int] = {fault.name: 0 for fault in armed}
        self._seed = seed
        self._listener = listener
        self._of_service: dict[str, list[tuple[CallFault, Predicate]]] = {}
        for fault in armed:
            hits = fault.armed(seed) if replayed is None else _among(fault.name, replayed)
            self._of_service.setdefault(fault.service, []).append((fault, hits))

    def decide(self, call: Call) -> Decision | None:
        """What happens to ``call``; None where no fault hits it."""
        found: list[Injection] = []
        for fault, hits in self._of_service.get(call.service, ()):
            if not hits(call):
                continue
            injection = fault.inject(call, self._seed)
            if _is_masked(injection, found):
                continue
            self.fired[injection.fault] += 1
            if self._listener is not None:
                self._listener(call, injection)
            found.append(injection)
        return Decision(tuple(found)) if found else None


def _among(fault: str, replayed: AbstractSet[Hit]) -> Predicate:
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
            raise UsageError(f"two faults are named {name!r}", "give each fault of a list a name of its own")
        result.append(replace(fault, name=name))
    return result
