"""Whether the machine kept up with the test: what fails on one that did not is not proven wrong."""

from dataclasses import dataclass
from typing import Final

_WAITING_SHARE: Final = 0.85
_STALL_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How the testbed itself kept up while an architecture was under test.

    Attributes:
        late: Seconds by which the latest order left after its planned time.
        stalled: Longest time in seconds for which the data plane did nothing at all.
        ran: Seconds for which a processor ran the data plane's event loop.
        waited: Seconds for which the event loop had work and no processor; 0 where the system does not tell.
    """

    late: float = 0.0
    stalled: float = 0.0
    ran: float = 0.0
    waited: float = 0.0

    def too_slow(self) -> str:
        """Why the machine was too slow, in words; empty where it was not.

        It was if the data plane waited for a processor more than 85 % of the time that it had work, or if it, or the
        load generator, stood still for more than two seconds. In the flash sale on two processors it waits 55 % with
        nothing beside it, 85 % beside three busy programs, where every order is still accepted, and 92 % beside nine,
        where most time out; nothing was late by more than a second, so lateness does not tell.
        """
        reasons = []
        if self.waited > _WAITING_SHARE * (self.ran + self.waited):
            share = self.waited / (self.ran + self.waited)
            reasons.append(f"the data plane waited for a processor {share:.0%} of the time that it had work")
        if self.stalled > _STALL_SECONDS:
            reasons.append(f"the data plane stood still for {self.stalled:.1f} s")
        if self.late > _STALL_SECONDS:
            reasons.append(f"orders left up to {self.late:.1f} s late")
        return ", ".join(reasons)
