"""A token bucket: AWS's way of saying how much may come at once and how much per second; time is passed in."""


class TokenBucket:
    """A bucket of ``capacity`` tokens, full at first, refilled at ``rate`` tokens per second."""

    def __init__(self, capacity: float, rate: float) -> None:
        self.capacity = capacity
        self._rate = rate
        self._tokens = capacity
        self._filled_at: float | None = None

    def level(self, now: float) -> float:
        """Tokens that are there at ``now``, in seconds of any clock that never goes back; below 0 they are owed."""
        elapsed = 0.0 if self._filled_at is None else now - self._filled_at
        self._tokens = min(self.capacity, self._tokens + elapsed * self._rate)
        self._filled_at = now
        return self._tokens

    def has_one(self, now: float) -> bool:
        """Whether a token is there at ``now``."""
        return self.level(now) >= 1

    def take(self, tokens: float = 1) -> None:
        """Use tokens up, more than there are if need be: what is owed is paid off before anything else is given."""
        self._tokens -= tokens

    def resize(self, capacity: float, rate: float, now: float) -> None:
        """Let it hold and take in another number of tokens from ``now`` on; what is in it stays, as far as it fits."""
        self.level(now)  # filled so far at the old rate
        self.capacity, self._rate = capacity, rate
        self._tokens = min(capacity, self._tokens)
