"""A slow service: its calls wait on their way there, or their answers on the way back."""

from dataclasses import dataclass
from typing import Literal

from testbed.chaos.call import Call, Injection
from testbed.chaos.decision import draw
from testbed.chaos.fault import CallFault


@dataclass(frozen=True, kw_only=True)
class Latency(CallFault):
    """Delays calls of a service.

    Attributes:
        latency_ms: Milliseconds added to a call.
        jitter_ms: The latency varies evenly by up to this many milliseconds, up and down.
        position: ``"before"`` the call is executed, or ``"after"`` it was, before its answer goes back: a caller that
            gives up meanwhile does not know that it happened.

    Raises:
        UsageError: The latency is not positive, or the jitter not between 0 and the latency.
    """

    latency_ms: float
    jitter_ms: float = 0.0
    position: Literal["before", "after"] = "before"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.jitter_ms <= self.latency_ms or self.latency_ms == 0:
            raise self.refused(
                f"latency_ms={self.latency_ms}, jitter_ms={self.jitter_ms}: the latency must be more than 0, "
                "the jitter at most the latency"
            )

    def inject(self, call: Call, seed: int) -> Injection:
        """A delay in seconds."""
        offset = 2 * draw(seed, self.name, call.identity, call.attempt, "jitter") - 1
        seconds = (self.latency_ms + offset * self.jitter_ms) / 1000
        if self.position == "after":
            return Injection(self.name, delay_after=seconds)
        return Injection(self.name, delay=seconds)
