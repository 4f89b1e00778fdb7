"""Who may run now: Lambda's concurrency limits, its scaling rate and its request rate; time is passed in.

Sources: AWS Lambda developer guide, Understanding Lambda function scaling and Lambda scaling behavior; AWS Compute
blog 2023, Understanding AWS Lambda's invoke throttling limits. AWS does not document which value of the modelled
``ThrottleReason`` belongs to which limit; the one of reserved concurrency was seen on the wire, the rest reads the
names as they stand.
"""

from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

from testbed.semantics.token_bucket import TokenBucket


class ThrottleReason(Enum):
    """Member ``Reason`` of ``TooManyRequestsException`` (botocore's service model of Lambda)."""

    ACCOUNT_CONCURRENCY = "ConcurrentInvocationLimitExceeded"
    RATE = "FunctionInvocationRateLimitExceeded"
    RESERVED_CONCURRENCY = "ReservedFunctionConcurrentInvocationLimitExceeded"
    RESERVED_RATE = "ReservedFunctionInvocationRateLimitExceeded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Lambda's quotas of one account in one region.

    Attributes:
        account_concurrency: Concurrent invokes of all functions together (default quota 1,000).
        scaling_burst: Execution environments that a function may add at once; capacity that is not used does not
            accumulate beyond it (1,000).
        scaling_per_second: Environments per second that come back (1,000 every 10 s, refilled continuously).
        scaling_scope: Whom these two are for: each ``"function"`` of its own, or the whole ``"account"``, as it was
            before November 2023.
        requests_per_concurrency: Invokes per second for each unit of concurrency (10), for the account and for a
            function's reserved concurrency.
        unreserved: Concurrency that reservations must leave to functions that have none (100).
    """

    account_concurrency: int = 1000
    scaling_burst: float = 1000.0
    scaling_per_second: float = 100.0
    scaling_scope: Literal["function", "account"] = "function"
    requests_per_concurrency: float = 10.0
    unreserved: int = 100

    def compress(self, k: float) -> "Limits":
        """The same quotas, with environments that come back ``k`` times faster."""
        return replace(self, scaling_per_second=self.scaling_per_second * k)


class Concurrency:
    """Admits invokes and counts those that run, by name of the function.

    A function has as many execution environments as it ever ran invokes at once, less those that ended: each invoke
    that finds none idle starts one, and an idle one stays. Only these starts are subject to the scaling rate.

    Attributes:
        environments: Execution environments on AWS, by function.
        running: Invokes that run now, by function.
        peak: The most that ran at once, by function.
        peak_total: The most that ran at once, all functions together.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._reserved: dict[str, int] = {}
        self._scaling: dict[str, TokenBucket] = {}
        self._requests: dict[str, TokenBucket] = {}
        self._account_requests = self._request_bucket(limits.account_concurrency)
        self.environments: Counter[str] = Counter()
        self.running: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self.peak_total = 0

    def reserve(self, function: str, reserved: int | None) -> None:
        """Set ``function``'s reserved concurrency aside, and cap it at that; None gives it back to the pool."""
        if reserved == self._reserved.get(function):
            return
        self._requests.pop(function, None)
        if reserved is None:
            del self._reserved[function]
        else:
            self._reserved[function] = reserved
            self._requests[function] = self._request_bucket(reserved)

    def admit(self, function: str, *, now: float) -> ThrottleReason | None:
        """Count one more invoke of ``function``, or say why it is throttled.

        Args:
            function: Its name.
            now: Seconds of any clock that never goes back.
        """
        reserved = self._reserved.get(function)
        if self.running[function] >= reserved if reserved is not None else self._pool_is_used_up():
            return ThrottleReason.ACCOUNT_CONCURRENCY if reserved is None else ThrottleReason.RESERVED_CONCURRENCY
        starts_environment = self.running[function] >= self.environments[function]
        buckets = [self._requests.get(function, self._account_requests)]
        if starts_environment:
            buckets.append(self._scaling.setdefault(function, self._scaling_bucket()))
        if not all(bucket.has_one(now) for bucket in buckets):
            return ThrottleReason.RATE if reserved is None else ThrottleReason.RESERVED_RATE
        for bucket in buckets:
            bucket.take()
        self.environments[function] += starts_environment
        self._count(function)
        return None

    def release(self, function: str) -> None:
        """One invoke of ``function`` has ended."""
        self.running[function] -= 1

    def environment_ended(self, function: str) -> None:
        """An environment of ``function`` has timed out, crashed, failed to start, or was idle for too long."""
        self.environments[function] = max(self.environments[function] - 1, 0)

    def is_disabled(self, function: str) -> bool:
        """Whether a reserved concurrency of 0 turns ``function`` off."""
        return self._reserved.get(function) == 0

    def restart(self) -> None:
        """Forget the environments and the peaks that were reached so far."""
        self.environments = Counter(self.running)
        self.peak = Counter(self.running)
        self.peak_total = self.running.total()

    def _pool_is_used_up(self) -> bool:
        pool = self._limits.account_concurrency - sum(self._reserved.values())
        used = self.running.total() - sum(self.running[function] for function in self._reserved)
        return used >= pool

    def _count(self, function: str) -> None:
        self.running[function] += 1
        self.peak[function] = max(self.peak[function], self.running[function])
        self.peak_total = max(self.peak_total, self.running.total())

    def _scaling_bucket(self) -> TokenBucket:
        return TokenBucket(self._limits.scaling_burst, self._limits.scaling_per_second)

    def _request_bucket(self, concurrency: int) -> TokenBucket:
        rate = concurrency * self._limits.requests_per_concurrency
        return TokenBucket(rate, rate)
