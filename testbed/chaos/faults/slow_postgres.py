"""A slow Postgres: round trips wait on the wire before the database sees them, or the wire is thin."""

from dataclasses import dataclass, field
from typing import Literal

from testbed.chaos.call import Call, Effect, Injection
from testbed.chaos.fault import CallFault
from testbed.chaos.faults.latency import Latency


@dataclass(frozen=True, kw_only=True)
class SlowPostgres(Latency):
    """Delays what clients send to Postgres.

    Once for each round trip: the start-up of a connection, a query, a pipeline up to its sync. The operations of
    Postgres are ``"Connect"``, ``"Begin"``, ``"Commit"``, ``"Rollback"``, and ``"Query"`` for all the rest; a pipeline
    with a COMMIT in it is a ``"Commit"``. Which order caused a round trip is not known on the wire.
    """

    service: str = field(default="postgres", init=False)
    position: Literal["before", "after"] = field(default="before", init=False)


@dataclass(frozen=True, slots=True)
class Paced(Effect):
    """A round trip and its answer pass at a limited rate.

    Attributes:
        bytes_per_second: The limit, for each of the two ways.
    """

    bytes_per_second: float

    def __str__(self) -> str:
        return f"at {self.bytes_per_second:g} bytes/s"


@dataclass(frozen=True, kw_only=True)
class PostgresBandwidth(CallFault):
    """Limits the rate at which round trips to Postgres and their answers pass.

    Each connection has a line of its own. Rows of a COPY from the client pass as they come. It fires on a round trip
    that takes a millisecond longer by it, with its answer.

    Attributes:
        bytes_per_second: The limit, for each of the two ways.

    Raises:
        UsageError: The limit is not positive.
    """

    service: str = field(default="postgres", init=False)
    bytes_per_second: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bytes_per_second <= 0:
            raise self.refused(f"bytes_per_second={self.bytes_per_second} is not more than 0")

    def inject(self, call: Call, seed: int) -> Injection:
        """An effect on the round trip."""
        del call, seed
        return Injection(self.name, effect=Paced(self.bytes_per_second))
