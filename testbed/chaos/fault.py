"""What every fault has in common. A fault's fields are its API: the same names in Python, in JSON, in the docs."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from testbed.chaos.call import Call, Injection
from testbed.errors import UsageError

Window = tuple[float, float]
"""From (included) and until (excluded), in seconds after the start of the traffic."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong on purpose.

    Attributes:
        name: Names the fault in the journal and in the report, and takes part in its decisions. Empty: the schedule
            gives it one of its type and its position in the list, for example ``"throttle-1"``.
    """

    name: str = ""


@dataclass(frozen=True, kw_only=True)
class CallFault(Fault, ABC):
    """A fault that acts on calls while they pass the data plane.

    Attributes:
        service: The service whose calls it sees, as in `Call`.
        during: Window in which it acts, compared with `Call.at`; None acts from the start to the end.

    Raises:
        UsageError: The window is empty or begins before the traffic.
    """

    service: str
    during: Window | None = None

    def __post_init__(self) -> None:
        if self.during is not None and not 0 <= self.during[0] < self.during[1]:
            raise self.refused(f"during={self.during} is not a window: give (start, end) in seconds, 0 <= start < end")

    @abstractmethod
    def inject(self, call: Call, seed: int) -> Injection | None:
        """What happens to a call of the service; None leaves it alone.

        It depends on the fault, the call and the seed only: it keeps no state, and reads no clock.
        """

    def within(self, at: float) -> bool:
        """Whether the fault acts at ``at`` seconds after the start of the traffic."""
        return self.during is None or self.during[0] <= at < self.during[1]

    def refused(self, why: str) -> UsageError:
        """The error for fields that make no sense, naming the fault."""
        return UsageError(
            f"{type(self).__name__} {self.name!r}: {why}", "docs/faults.md lists the fields of each fault"
        )
