"""Waits that grow."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that grow with every failure in a row: ``base``, ``base * factor``, ... up to ``cap`` seconds.

    Attributes:
        base: The first wait, in seconds.
        cap: The longest wait, in seconds.
        factor: What each wait is multiplied by for the next.
    """

    base: float
    cap: float
    factor: float = 2.0

    def delay(self, failures: int, spread: float = 1.0) -> float:
        """Seconds to wait after ``failures`` failures in a row (1, 2, ...).

        ``spread``, from 0 to 1, is the caller's jitter: it takes up to half of the wait away.
        """
        exponent = min(failures - 1, 64)  # 64 doublings pass any cap; more would overflow a float
        return float(min(self.base * self.factor**exponent, self.cap) * (0.5 + 0.5 * spread))

    def compress(self, k: float) -> "Backoff":
        """The same back-off, ``k`` times faster."""
        return replace(self, base=self.base / k, cap=self.cap / k)
