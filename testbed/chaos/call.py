"""What crosses the seam between the data plane and the faults: a call, and what is done to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way, as far as a fault needs to know it.

    Attributes:
        service: botocore's service name (``"sqs"``, ``"lambda"``), ``"execute-api"`` for the data plane of a REST API,
            ``"postgres"`` for the database.
        operation: Operation of the service (``"SendMessage"``); for execute-api the method (``"POST"``).
        resource: Name of the queue, stream, function or API; of several (tables of a batch, event buses) all names,
            with commas between them; empty where there is none.
        caller: Who calls: ``"client"``, ``"function:NAME"``, ``"mapping:UUID"``, ``"async:NAME"``, ``"emulator"``.
        identity: What stays the same for this request over runs with the same seed, whatever the concurrency.
        attempt: How often this identity has been seen, this time included: 1, 2, ...
        at: When the request belongs into the run, in seconds after the start of the traffic: the planned time of
            the order that caused it where that is known, the moment at which it came otherwise.
        order: Number in the plan of the order that caused it, the first is 1; None where none did.
        key: Digest of that order's id, see `testbed.trace.digest_of`; empty where none did.
        runs: Whether a handler runs in it, for an invoke: not where an asynchronous one is only accepted, or one is
            only checked.
        payload: The event of an invoke, in which a batch brings several orders; empty for other calls.
    """

    service: str
    operation: str
    resource: str
    caller: str
    identity: str
    attempt: int
    at: float
    order: int | None = None
    key: str = ""
    runs: bool = True
    payload: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class AwsError:
    """An error as AWS would answer it; the gateway writes it in the protocol of the service.

    Attributes:
        code: The error code, for example ``"TooManyRequestsException"``.
        status: HTTP status.
        message: Text for people.
        members: Further members of the modelled exception, for example ``{"Reason": ...}``.
    """

    code: str
    status: int
    message: str
    members: Mapping[str, Any] = field(default_factory=dict)


RESET: Final = AwsError("ConnectionReset", 0, "the connection was reset")
"""No answer at all: the connection breaks. No service says this, so it has no HTTP status."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A plain HTTP answer of a REST API.

    Attributes:
        status: HTTP status.
        body: Its body.
        content_type: Of the body.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class FunctionAnswer:
    """What an invoke comes to in place of what the function returned.

    Attributes:
        payload: JSON: the result, or an error document.
        failed: Whether it is an error of the function.
    """

    payload: bytes
    failed: bool = False


Answer = AwsError | HttpAnswer | FunctionAnswer


def _nobody_asks() -> None:
    """What a fault has done is counted by nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What is done to a call beyond waiting and answering; see the modules of faults for the kinds there are.

    Attributes:
        happened: Of its injection; called by whoever carries the effect out.
    """

    happened: Callable[[], None] = field(default=_nobody_asks, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Injection:
    """What a fault does to one call.

    Attributes:
        fault: Name of the fault in the schedule.
        delay: Seconds to wait before the call is executed, or answered.
        answer: What the caller gets in place of the true answer; None lets it have that.
        executed: Whether a call that is answered so is executed all the same, first.
        delay_after: Seconds to wait after the call was executed, before its answer goes back.
        effect: What else is done.
        can_fail: Whether its answer may find nothing to answer, as an error in a block of Postgres that has failed.
        happened: Called, where it is not `is_certain`, when the fault has made a difference to the call: only then has
            it fired. It fires once, however often that is said.
    """

    fault: str
    delay: float = 0.0
    answer: Answer | None = None
    executed: bool = False
    delay_after: float = 0.0
    effect: Effect | None = None
    can_fail: bool = False
    happened: Callable[[], None] = field(default=_nobody_asks, repr=False, compare=False)

    @property
    def is_certain(self) -> bool:
        """Whether it makes a difference whatever becomes of the call.

        An effect finds something to act on, or does not; and a call that is executed before it is answered may be
        refused, which its caller is told.
        """
        return not (self.can_fail or self.effect or (self.answer and self.executed))


@dataclass(frozen=True, slots=True)
class Decision:
    """What all faults together do to one call.

    Attributes:
        injections: Those that hit it: first those of faults that answer, then the others, in the order of the list.
    """

    injections: tuple[Injection, ...]

    @property
    def delay(self) -> float:
        """Seconds to wait before the call is executed, or answered."""
        return sum(injection.delay for injection in self.injections)

    @property
    def delay_after(self) -> float:
        """Seconds to wait before the answer goes back."""
        return sum(injection.delay_after for injection in self.injections)

    @property
    def answering(self) -> Injection | None:
        """The first that answers; it says too whether the call is executed."""
        return next((injection for injection in self.injections if injection.answer is not None), None)

    @property
    def effects(self) -> tuple[Effect, ...]:
        """What else is done, one after the other."""
        return tuple(replace(each.effect, happened=each.happened) for each in self.injections if each.effect)

    @property
    def unanswered(self) -> "Decision":
        """The same without an answer, for a call that was refused before a fault could answer it."""
        return Decision(tuple(injection for injection in self.injections if injection is not self.answering))
