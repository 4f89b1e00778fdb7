"""A slow Postgres: every round trip of a client waits on the wire before the database sees it."""

from dataclasses import dataclass, field

from testbed.chaos.call import Call, Injection
from testbed.chaos.decision import draw
from testbed.chaos.fault import CallFault


@dataclass(frozen=True, kw_only=True)
class SlowPostgres(CallFault):
    """Delays what clients send to Postgres.

    Once for each round trip: the start-up of a connection, a query, a pipeline up to its sync.

    Attributes:
        latency_ms: Milliseconds added to a round trip.
        jitter_ms: The latency varies evenly by up to this many milliseconds, up and down.

    Raises:
        UsageError: The latency is not positive, or the jitter not between 0 and the latency.
    """

    service: str = field(default="postgres", init=False)
    latency_ms: float
    jitter_ms: float = 0.0

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
        return Injection(self.name, delay=(self.latency_ms + offset * self.jitter_ms) / 1000)
