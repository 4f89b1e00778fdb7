"""The life of an execution environment: how long it may take to start, and how long an idle one is kept.

Source: AWS Lambda developer guide, Understanding the Lambda execution environment lifecycle.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class LifecycleProfile:
    """Numbers of execution environments.

    Attributes:
        init_seconds: How long an initialisation may take before it is done again as part of the first invoke (10).
        provisioned_init_seconds: The same for provisioned concurrency, unless the function's timeout is longer (130).
        idle_seconds: How long an idle environment is kept. AWS publishes no number; 5 to 60 minutes were seen.
    """

    init_seconds: float = 10.0
    provisioned_init_seconds: float = 130.0
    idle_seconds: float = 600.0

    def compress(self, k: float) -> "LifecycleProfile":
        """The same with idle environments ended ``k`` times sooner; what a function needs to start is its own."""
        return replace(self, idle_seconds=self.idle_seconds / k)
