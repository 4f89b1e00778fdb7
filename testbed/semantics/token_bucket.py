"""A token bucket: AWS's way of saying how much may come at once and how much per second; time is passed in."""


class TokenBucket:
    """A bucket of ``capacity`` tokens, full at first, refilled at ``rate`` tokens per second."""

    def __init__(self, capacity: float, rate: float) -> None:
        self.capacity = capacity
        self._rate = rate
        self._tokens = capacity
        self._filled_at: float | None = None

    def has_one(self, now: float) -> bool:
        """Whether a token is there at ``now``, in seconds of any clock that never goes back."""
        elapsed = 0.0 if self._filled_at is None else now - self._filled_at
        self._tokens = min(self.capacity, self._tokens + elapsed * self._rate)
        self._filled_at = now
        return self._tokens >= 1

    def take(self) -> None:
        """Use one token up."""
        self._tokens -= 1
