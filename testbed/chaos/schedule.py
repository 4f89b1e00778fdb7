"""Which faults hit a call: all faults of a run, put together."""

from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from testbed.chaos.call import Call, Decision, Injection
from testbed.chaos.condition import Predicate
from testbed.chaos.fault import CallFault, Fault
from testbed.chaos.services import EVERY_SERVICE
from testbed.errors import UsageError

Listener = Callable[[Call, Injection], None]
"""Is told of each fault that fired, with what that fault does to the call."""

Hit = tuple[str, str, int]
"""What was hit once: name of the fault, identity and attempt of the call."""


@dataclass(slots=True)
class Armed:
    """A fault that acts on calls.

    Attributes:
        fault: Which, with its name.
        hits: Whether it hits a call of its service.
        seed: Of its decisions.
        since: Second 0 of its windows, in seconds after the start of the traffic.
        fired: To how many calls it has made a difference.
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

    To hit is not to fire. A fault that fires whatever becomes of the call, since it delays it or answers in its place,
    has fired when it is decided; any other when whoever carries it out says that it `happened`.

    Attributes:
        broken: What a trigger raised first, of somebody's own as a rule; its fault does not hit the call of which it
            was asked. Empty where none raised.
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
            listener: Called for each hit that fired.
            replayed: The hits that fired in an earlier run: exactly these are hit again, whatever the triggers say. A
                fault of certain orders alone hits those, in whatever batch they come now.

        Raises:
            UsageError: Two faults have the same name.
        """
        self.broken = ""
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
        """Name of each armed fault to the number of calls to which it has made a difference."""
        return {name: armed.fired for name, armed in self._armed.items()}

    @property
    def missed(self) -> dict[str, int]:
        """Name of each armed fault to the number of replayed hits that did not fire again; only those with any."""
        missed = Counter(fault for fault, _, _ in (self._replayed or set()) - self._met)
        return {name: missed[name] for name in self._armed if missed[name]}

    def decide(self, call: Call) -> Decision | None:
        """What happens to ``call``; None where no fault hits it."""
        found: list[Injection] = []
        answering: Injection | None = None
        acting = self._of_service.get(call.service)
        for armed in self._acting_on(call.service) if acting is None else acting:
            seen = replace(call, at=call.at - armed.since) if armed.since else call
            if answering and _is_masked(armed.fault.inject(seen, armed.seed), answering):
                continue  # its trigger is not asked: what counts calls counts those alone that the fault can act on
            if not self._hits(armed, seen):
                continue
            injection = self._hit(armed, call, armed.fault.inject(seen, armed.seed))
            if answering is None and injection.answer is not None:
                answering = injection
            found.append(injection)
        return Decision(tuple(found)) if found else None

    def _hits(self, armed: Armed, call: Call) -> bool:
        """Whether a fault hits ``call``. What its trigger raises is the run's to tell: the call itself goes on."""
        try:
            return armed.hits(call)
        except UsageError as error:
            self.broken = self.broken or error.message
        except Exception as error:  # noqa: BLE001 - whatever it is
            raised = f"{type(error).__name__}: {error}"
            self.broken = self.broken or f"the trigger of the fault {armed.fault.name!r} raised {raised}"
        return False

    def _hit(self, armed: Armed, call: Call, injection: Injection) -> Injection:
        """``injection``, which has fired if it is certain, and fires when it `happened` else."""
        if injection.is_certain:
            self._fire(armed, call, injection)
            return injection
        left = [injection]

        def happened() -> None:
            while left:  # once
                self._fire(armed, call, left.pop())

        return replace(injection, happened=happened)

    def _fire(self, armed: Armed, call: Call, injection: Injection) -> None:
        armed.fired += 1
        armed.last = call
        if self._replayed is not None:
            self._met.add((injection.fault, call.identity, call.attempt))
        if self._listener is not None:
            self._listener(call, injection)

    def retire(self) -> None:
        """Tell the listener of nothing more: what happens from now on to a call of before is not of the next run."""
        self._listener = None

    def _acting_on(self, service: str) -> tuple[Armed, ...]:
        """The faults that can hit calls of a service: those that answer come first, since they mask others."""
        kinds = {service} if service == "postgres" else {service, EVERY_SERVICE}
        acting = [armed for armed in self._armed.values() if armed.fault.service in kinds]
        found = self._of_service[service] = tuple(sorted(acting, key=lambda armed: not armed.fault.answers))
        return found

    @staticmethod
    def _as_before(fault: str, replayed: AbstractSet[Hit]) -> Predicate:
        return lambda call: (fault, call.identity, call.attempt) in replayed


def _is_masked(injection: Injection, answering: Injection) -> bool:
    """Whether an injection can do nothing to a call that is answered so: not executed perhaps, or answered already."""
    if injection.answer is not None:
        return True  # with all that belongs to its answer, such as the time that a connection hangs before it breaks
    if injection.delay:
        return False
    return not (answering.executed and (injection.delay_after or injection.effect))


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
