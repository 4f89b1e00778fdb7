"""Provisioned concurrency: environments that are allocated ahead of the invokes.

Source: AWS Lambda developer guide, Configuring provisioned concurrency for a function.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class ProvisionedProfile:
    """Numbers of provisioned concurrency.

    Attributes:
        allocation_delay: Seconds until the first environments are allocated. Documented as one to two minutes.
        allocation_per_minute: Environments allocated per minute and function after that (6,000).
        requests_per_concurrency: Invokes per second for each provisioned environment; more spill over (10).
    """

    allocation_delay: float = 90.0
    allocation_per_minute: float = 6000.0
    requests_per_concurrency: float = 10.0

    def compress(self, k: float) -> "ProvisionedProfile":
        """The same rules with every wait of AWS ``k`` times shorter."""
        return replace(
            self,
            allocation_delay=self.allocation_delay / k,
            allocation_per_minute=self.allocation_per_minute * k,
        )
