"""The faults at the gateway: which call is hit, what it suffers before it is executed, and how often that was so."""

import asyncio
from collections import Counter
from collections.abc import Callable

from testbed.chaos.call import AwsError, Call, Injection
from testbed.chaos.schedule import Schedule
from testbed.gateway.classify import Target
from testbed.gateway.journal import Journal
from testbed.gateway.origin import Origin


class Faults:
    """Lets the schedule of a run act on the calls that pass the gateway.

    Args:
        journal: Takes a line for each fault that fired.
        clock: Seconds since the start of the traffic.

    Attributes:
        throttles: Calls that a fault has throttled since the faults were armed.
    """

    def __init__(self, journal: Journal, clock: Callable[[], float]) -> None:
        self._journal = journal
        self._clock = clock
        self._schedule = Schedule((), 0)
        self._attempts: Counter[str] = Counter()
        self.throttles = 0

    def arm(self, schedule: Schedule) -> None:
        """Let ``schedule`` decide from now on; every count starts anew."""
        self._schedule = schedule
        self._attempts.clear()
        self.throttles = 0

    def origin(self, header: str | None) -> Origin:
        """Where a request with this trace header comes from."""
        return Origin.of(header, self._clock())

    def call(self, target: Target, caller: str, origin: Origin, identity: str) -> Call:
        """One attempt of a call; attempts are counted while faults are armed."""
        attempt = 1
        if self._schedule.armed:
            self._attempts[identity] += 1
            attempt = self._attempts[identity]
        return Call(target.service, target.operation, target.resource, caller, identity, attempt, origin.at)

    async def suffer(self, call: Call) -> AwsError | None:
        """Let the faults that hit ``call`` act before it: wait as they say, return the error that they answer."""
        injection = self._schedule.decide(call)
        if injection is None:
            return None
        if injection.delay:
            await asyncio.sleep(injection.delay)
        if injection.error is not None and is_throttle(injection.error):
            self.throttles += 1
        return injection.error

    def decide(self, call: Call) -> Injection | None:
        """What the schedule does to a call that takes another way, such as one on the Postgres wire."""
        return self._schedule.decide(call)

    def journal_fault(self, call: Call, injection: Injection) -> None:
        """Write down a fault that fired."""
        self._journal.record(
            "fault", fault=injection.fault, service=call.service, operation=call.operation, resource=call.resource,
            caller=call.caller, identity=call.identity, attempt=call.attempt, at=round(call.at, 4),
            delay_ms=round(injection.delay * 1000, 3), error=injection.error.code if injection.error else None,
        )  # fmt: skip


def cause_of(error: AwsError) -> str:
    """The cause in the journal of a call that a fault has answered."""
    return "throttle" if is_throttle(error) else "error"


def is_throttle(error: AwsError) -> bool:
    """Whether a service says with ``error`` that a rate or a quota was exceeded."""
    return error.status == 429 or "Thrott" in error.code or "Exceeded" in error.code or error.code == "SlowDown"  # noqa: PLR2004 - HTTP's "too many requests"
