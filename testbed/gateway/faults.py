"""The faults at the gateway: which call is hit, what it suffers before and after it is executed, and how often."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar, cast

from testbed.chaos.call import (
    RESET,
    Answer,
    AwsError,
    Call,
    Decision,
    Effect,
    FunctionAnswer,
    HttpAnswer,
    Injection,
)
from testbed.chaos.schedule import Schedule
from testbed.gateway.classify import Target
from testbed.gateway.journal import Journal
from testbed.gateway.origin import Origin

THROTTLE: Final = "throttle"
_TOO_MANY: Final = 429


class Executed(Protocol):
    """What became of a call."""

    @property
    def refused(self) -> bool:
        """Whether it was refused: what it asked for has not happened."""


_Result = TypeVar("_Result", bound=Executed)


class Faults:
    """Lets the schedule of a run act on the calls that pass the gateway.

    Args:
        journal: Takes a line for each fault that fired.
        clock: Seconds since the start of the traffic.

    Attributes:
        throttles: Calls that a fault has throttled since the faults were armed.
        held: Calls that faults hold back now, and that will be executed then.
    """

    def __init__(self, journal: Journal, clock: Callable[[], float]) -> None:
        self._journal = journal
        self._clock = clock
        self._schedule = Schedule((), 0)
        self._attempts: Counter[str] = Counter()
        self.throttles = 0
        self.held = 0

    def arm(self, schedule: Schedule) -> None:
        """Let ``schedule`` decide from now on; every count starts anew."""
        self._schedule.retire()
        self._schedule = schedule
        self._attempts.clear()
        self.throttles = 0

    def origin(self, header: str | None) -> Origin:
        """Where a request with this trace header comes from."""
        return Origin.of(header, self._clock())

    def call(
        self, target: Target, caller: str, origin: Origin, identity: str, *, runs: bool = True, payload: bytes = b""
    ) -> Call:
        """One attempt of a call; attempts are counted while faults are armed."""
        attempt = 1
        if self._schedule.armed:
            self._attempts[identity] += 1
            attempt = self._attempts[identity]
        return Call(
            target.service, target.operation, target.resource, caller, identity, attempt, origin.at,
            origin.order, origin.key, runs, payload,
        )  # fmt: skip

    async def around(
        self,
        call: Call,
        execute: Callable[[tuple[Effect, ...]], Awaitable[_Result]],
        answered: Callable[[Answer, str], _Result],
    ) -> _Result:
        """Execute ``call`` as the faults that hit it let it happen.

        A fault that answers what was executed leaves a refusal alone: its caller knows that nothing has happened.

        Args:
            call: What is asked for.
            execute: Does it, under these effects.
            answered: Makes the result of what a fault answers, from the answer and its cause for the journal.
        """
        decision = self._schedule.decide(call)
        if decision is None:
            return await execute(())
        answering = decision.answering
        if decision.delay:
            await self._hold(call, decision)
        if answering is not None and not answering.executed:
            return self._answered(answering, answered)
        result = await execute(decision.effects)
        if answering is not None and result.refused:
            answering, decision = None, decision.unanswered
        if answering is not None:
            answering.happened()
        if decision.delay_after:
            await asyncio.sleep(decision.delay_after)
        return result if answering is None else self._answered(answering, answered)

    async def _hold(self, call: Call, decision: Decision) -> None:
        """Wait; what will be executed then is on its way, though its caller may have given up. Pollers never end."""
        answering = decision.answering
        counts = (answering is None or answering.executed) and not call.caller.startswith("mapping:")
        self.held += counts
        try:
            await asyncio.sleep(decision.delay)
        finally:
            self.held -= counts

    def _answered(self, answering: Injection, answered: Callable[[Answer, str], _Result]) -> _Result:
        answer = cast("Answer", answering.answer)
        cause = cause_of(answer)
        self.throttles += cause == THROTTLE
        return answered(answer, cause)

    def decide(self, call: Call) -> Decision | None:
        """What the schedule does to a call that takes another way, such as one on the Postgres wire."""
        return self._schedule.decide(call)

    def journal_fault(self, call: Call, injection: Injection) -> None:
        """Write down a fault that fired."""
        answer = injection.answer
        self._journal.record(
            "fault", fault=injection.fault, service=call.service, operation=call.operation, resource=call.resource,
            caller=call.caller, identity=call.identity, attempt=call.attempt, at=round(call.at, 4),
            delay_ms=round((injection.delay + injection.delay_after) * 1000, 3), error=told(answer) if answer else None,
            executed=injection.executed or answer is None, effect=str(injection.effect) if injection.effect else None,
        )  # fmt: skip


def told(answer: Answer) -> str:
    """A fault's answer in a word: its error code, its status, or what the function came to."""
    match answer:
        case AwsError(code=code):
            return code
        case HttpAnswer(status=status):
            return str(status)
        case FunctionAnswer(failed=failed):
            return "function error" if failed else "function answer"


def cause_of(answer: Answer) -> str:
    """The cause in the journal of a call that a fault has answered."""
    if isinstance(answer, AwsError):
        return THROTTLE if is_throttle(answer) else "reset" if answer == RESET else "error"
    if isinstance(answer, HttpAnswer):
        return THROTTLE if answer.status == _TOO_MANY else "error"
    return "function error" if answer.failed else "fault"


def is_throttle(error: AwsError) -> bool:
    """Whether a service says with ``error`` that a rate or a quota was exceeded."""
    return error.status == _TOO_MANY or "Thrott" in error.code or "Exceeded" in error.code or error.code == "SlowDown"
