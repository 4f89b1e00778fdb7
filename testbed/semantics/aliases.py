"""Which version an alias stands for.

Source: AWS Lambda developer guide, Create an alias for a Lambda function, and Implement Lambda canary deployments using
a weighted alias.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

LATEST: Final = "$LATEST"


def is_alias(qualifier: str | None) -> bool:
    """Whether ``qualifier`` is the name of an alias, which is never a number, and not a version."""
    return qualifier is not None and qualifier != LATEST and not qualifier.isdecimal()


@dataclass(frozen=True, slots=True)
class Alias:
    """A name for a version, or for two of them.

    Attributes:
        version: Gets what the others do not.
        weights: Share of the invokes, from 0 to 1, that another version gets.
    """

    version: str
    weights: Mapping[str, float] = field(default_factory=dict)

    def choose(self, spread: float) -> str:
        """The version for an invoke whose place among all is ``spread``, from 0 up to, not including, 1."""
        for version, weight in sorted(self.weights.items()):
            if spread < weight:
                return version
            spread -= weight
        return self.version
