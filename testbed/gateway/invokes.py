"""Invokes under faults: those that somebody asks for, and the attempts of Lambda's queue of asynchronous ones."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from testbed.chaos.call import Answer, Call, Effect
from testbed.chaos.faults.duplicate import Twice
from testbed.compute.execution import Request
from testbed.compute.result import InvokeResult
from testbed.gateway.classify import Target
from testbed.gateway.effects import answer_result
from testbed.gateway.faults import Faults
from testbed.gateway.journal import Journal
from testbed.gateway.origin import Origin, identity_of_content

Run = Callable[[tuple[Effect, ...]], Awaitable[InvokeResult]]
"""Invokes once, under these effects."""


def identity_of_invoke(kind: str, origin: Origin, identity: str | None, payload: bytes) -> str:
    """What stays the same of an invoke over runs: what it is said to be, the order that caused it, or its event."""
    if identity or origin.planned:
        return f"{kind}:{identity or origin.trace}"
    return identity_of_content(kind, payload)


@dataclass(frozen=True, slots=True)
class Invokes:
    """Lets faults act on invokes.

    Args:
        faults: Which.
        journal: Takes a ``"lambda"`` line for an invoke that a fault has kept from the function.
    """

    faults: Faults
    journal: Journal

    async def under_faults(
        self, call: Call, run: Run, *, caller: str, trace: str | None, request_id: str | None = None
    ) -> InvokeResult:
        """Invoke as the faults that hit ``call`` let it happen.

        Args:
            call: The invoke, as faults see it.
            run: Does it.
            caller: Who invokes, for the journal.
            trace: Id of the trace, for the journal.
            request_id: Of the invoke; None where nobody has given it one yet.
        """
        ran: InvokeResult | None = None

        async def execute(effects: tuple[Effect, ...]) -> InvokeResult:
            nonlocal ran
            once = tuple(effect for effect in effects if not isinstance(effect, Twice))
            ran = await run(once)
            for effect in effects:
                if isinstance(effect, Twice) and not ran.refused:
                    effect.happened()
                    ran = await run(once)
            return ran

        def answered(answer: Answer, cause: str) -> InvokeResult:
            result = answer_result(answer, cause)
            if ran is not None:
                return replace(
                    result, request_id=ran.request_id, executed_version=ran.executed_version, log_tail=ran.log_tail
                )
            result = replace(result, request_id=request_id or str(uuid.uuid4()))
            reason = result.error.members.get("Reason") if result.error else None
            self.journal.record(
                "lambda", function=call.resource, caller=caller, request_id=result.request_id, status=result.status,
                trace=trace, cause=cause, reason=reason, cold=False, ms=0.0,
            )  # fmt: skip
            return result

        return await self.faults.around(call, execute, answered)

    async def attempt(self, request: Request, run: Run) -> InvokeResult:
        """One attempt of an asynchronous invoke: for faults a call of its own, by the caller ``"async:NAME"``."""
        target = Target("lambda", "Invoke", request.reference.name)
        origin = self.faults.origin(request.trace)
        given = None if request.identity == request.trace else request.identity
        stable = identity_of_invoke(f"lambda.Invoke:{target.resource}:async", origin, given, request.payload)
        call = self.faults.call(target, f"async:{target.resource}", origin, stable, payload=request.payload)
        return await self.under_faults(
            call, run, caller=request.caller, trace=origin.trace, request_id=request.request_id
        )
