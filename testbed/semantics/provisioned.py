"""Provisioned concurrency: environments that are allocated ahead of the invokes.

Source: AWS Lambda developer guide, Configuring provisioned concurrency for a function. What a version with provisioned
concurrency may run is decided in `testbed.semantics.concurrency`.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

INIT_FAILURE: Final = "FUNCTION_ERROR_INIT_FAILURE"
"""Why an allocation failed whose function does not initialise, as Lambda's ``StatusReason`` says."""


class Status(Enum):
    """``Status`` of a provisioned concurrency configuration (AWS Lambda API reference)."""

    IN_PROGRESS = "IN_PROGRESS"
    READY = "READY"
    FAILED = "FAILED"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProvisionedProfile:
    """Numbers of provisioned concurrency.

    Attributes:
        allocation_delay: Seconds until the first environments are allocated. Documented as one to two minutes.
        allocation_per_minute: Environments allocated per minute and function after that (6,000).
    """

    allocation_delay: float = 90.0
    allocation_per_minute: float = 6000.0

    def compress(self, k: float) -> "ProvisionedProfile":
        """The same rules with every wait of AWS ``k`` times shorter."""
        return replace(
            self,
            allocation_delay=self.allocation_delay / k,
            allocation_per_minute=self.allocation_per_minute * k,
        )


class Allocation:
    """The provisioned concurrency of one version, from the request to the last environment.

    No environment is usable until all that were asked for are allocated. Where more are asked for later, those that
    were usable remain so meanwhile; AWS is silent about that.

    Attributes:
        requested: Environments that were asked for.
        allocated: Environments that have been initialised.
        usable: Environments that invokes may use.
        reason: Why the allocation failed; None where it did not.
    """

    def __init__(self, profile: ProvisionedProfile, requested: int, now: float) -> None:
        self._profile = profile
        self.requested = 0
        self.allocated = 0
        self.usable = 0
        self.reason: str | None = None
        self.request(requested, now)

    def request(self, requested: int, now: float) -> None:
        """Ask for ``requested`` environments in all; the missing ones are allocated from ``now`` on."""
        self.requested = requested
        self.reason = None
        self._requested_at = now
        self.allocated = min(self.allocated, requested)
        self.usable = min(self.usable, requested)
        self._look()

    @property
    def status(self) -> Status:
        """How far it is."""
        if self.reason is not None:
            return Status.FAILED
        return Status.READY if self.usable == self.requested else Status.IN_PROGRESS

    @property
    def missing(self) -> int:
        """Environments that are still to be allocated."""
        return self.requested - self.allocated

    def starts_at(self, index: int) -> float:
        """When the environment ``index`` (0, 1, ...) of those that were missing may be started."""
        return self._requested_at + self._profile.allocation_delay + index * 60 / self._profile.allocation_per_minute

    def came_up(self) -> None:
        """One more environment is initialised."""
        self.allocated += 1
        self._look()

    def failed(self, reason: str) -> None:
        """An environment did not initialise: what is not usable yet never will be, until it is asked for again."""
        self.reason = reason
        self.allocated = self.usable

    def _look(self) -> None:
        if self.allocated == self.requested:
            self.usable = self.requested
