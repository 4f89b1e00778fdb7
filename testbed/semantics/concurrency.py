"""Who may run now: Lambda's concurrency limits, its scaling rate and its request rate; time is passed in.

Sources: AWS Lambda developer guide, Understanding Lambda function scaling, Lambda scaling behavior, Configuring
reserved concurrency and Configuring provisioned concurrency; AWS Compute blog 2023, Understanding AWS Lambda's invoke
throttling limits. AWS does not document which value of the modelled ``ThrottleReason`` belongs to which limit; the one
of reserved concurrency was seen on the wire, the rest reads the names as they stand.
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


class Served(Enum):
    """By which kind of environment an admitted invoke is served."""

    ON_DEMAND = "on-demand"
    PROVISIONED = "provisioned"
    SPILLOVER = "spillover"
    """On demand, though its version has provisioned concurrency: that is in use, or over its rate."""


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
        requests_per_concurrency: Invokes per second for each unit of concurrency (10): of all functions together for
            the account's, besides of a function for its reserved one, and before they spill over for a provisioned one.
        unreserved: Concurrency that reservations must leave to functions that have none (100); all of it where the
            account has less, as the refusals of new accounts say.
    """

    account_concurrency: int = 1000
    scaling_burst: float = 1000.0
    scaling_per_second: float = 100.0
    scaling_scope: Literal["function", "account"] = "function"
    requests_per_concurrency: float = 10.0
    unreserved: int = 100

    @property
    def minimum_unreserved(self) -> int:
        """What reservations and provisioned concurrency must leave of this account's concurrency."""
        return min(self.unreserved, self.account_concurrency)

    def compress(self, k: float) -> "Limits":
        """The same quotas, with environments that come back ``k`` times faster."""
        return replace(self, scaling_per_second=self.scaling_per_second * k)


_Version = tuple[str, str]
"""Name of a function, and one of its versions."""


@dataclass(slots=True)
class _Provisioned:
    count: int
    requests: TokenBucket


class Concurrency:
    """Admits invokes and counts those that run, by function and version.

    A version has as many execution environments on demand as it ever ran invokes at once, less those that ended: each
    invoke that finds none idle starts one, and an idle one stays. Only these starts are subject to the scaling rate.
    Reserved concurrency is a function's, over all of its versions; provisioned concurrency is a version's, and is taken
    from the reserved concurrency of the function, or else from what the account has unreserved.

    Attributes:
        environments: Execution environments on demand on AWS, by function and version.
        running: Invokes that run now, by function.
        peak: The most that ran at once, by function.
        peak_total: The most that ran at once, all functions together.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._reserved: dict[str, int] = {}
        self._reserved_requests: dict[str, TokenBucket] = {}
        self._provisioned: dict[_Version, _Provisioned] = {}
        self._provisioned_running: Counter[_Version] = Counter()
        self._on_demand: Counter[str] = Counter()
        self._busy: Counter[_Version] = Counter()
        self.environments: Counter[_Version] = Counter()
        self.running: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self.peak_total = 0
        self._fill()

    def reserve(self, function: str, reserved: int | None) -> None:
        """Set ``function``'s reserved concurrency aside, and cap it at that; None gives it back to the pool."""
        if reserved == self._reserved.get(function):
            return
        self._reserved_requests.pop(function, None)
        if reserved is None:
            del self._reserved[function]
        else:
            self._reserved[function] = reserved
            self._reserved_requests[function] = self._request_bucket(reserved)

    def provision(self, function: str, version: str, count: int) -> None:
        """Set ``count`` initialised environments of ``version`` aside for it from now on; 0 gives them back."""
        known = self._provisioned.pop((function, version), None)
        if count:
            kept = known if known and known.count == count else _Provisioned(count, self._request_bucket(count))
            self._provisioned[function, version] = kept

    def admit(self, function: str, version: str = "$LATEST", *, now: float) -> Served | ThrottleReason:
        """Count one more invoke of ``function``, or say why it is throttled.

        Args:
            function: Its name.
            version: Which of its versions is to run.
            now: Seconds of any clock that never goes back.
        """
        key = (function, version)
        served = self._served_by(key, now)
        if served is not Served.PROVISIONED and self._is_used_up(function):
            reserved = function in self._reserved
            return ThrottleReason.RESERVED_CONCURRENCY if reserved else ThrottleReason.ACCOUNT_CONCURRENCY
        reserved_requests = self._reserved_requests.get(function)
        if reserved_requests is not None and not reserved_requests.has_one(now):
            return ThrottleReason.RESERVED_RATE
        buckets = [self._account_requests]
        starts = served is not Served.PROVISIONED and self._busy[key] >= self.environments[key]
        if starts:
            buckets.append(self._scaling_bucket(function))
        if not all(bucket.has_one(now) for bucket in buckets):
            return ThrottleReason.RATE
        if reserved_requests is not None:
            buckets.append(reserved_requests)
        if served is Served.PROVISIONED:
            buckets.append(self._provisioned[key].requests)
        for bucket in buckets:
            bucket.take()
        self.environments[key] += starts
        self._count(key, served)
        return served

    def release(self, function: str, version: str = "$LATEST", served: Served = Served.ON_DEMAND) -> None:
        """One invoke, which was admitted as ``served``, has ended."""
        self.running[function] -= 1
        if served is Served.PROVISIONED:
            self._provisioned_running[function, version] -= 1
        else:
            self._on_demand[function] -= 1
            self._busy[function, version] -= 1

    def environment_ended(self, function: str, version: str = "$LATEST") -> None:
        """An environment on demand has timed out, crashed, failed to start, or was idle for too long."""
        self.environments[function, version] = max(self.environments[function, version] - 1, 0)

    def is_disabled(self, function: str) -> bool:
        """Whether a reserved concurrency of 0 turns ``function`` off."""
        return self._reserved.get(function) == 0

    def in_use(self, function: str, version: str = "$LATEST") -> dict[str, int]:
        """What runs now, as CloudWatch's metrics of concurrency tell it.

        Returns:
            ``function``: of this one; ``account``: of all; ``unreserved``: on what is neither reserved nor
            provisioned; ``claimed``: that, all reservations and what is provisioned besides, which nobody else can use
            (Lambda developer guide, Monitoring concurrency). Where ``version`` has provisioned concurrency,
            ``provisioned``: how much of it is in use, and ``allocated``: how much there is.
        """
        unreserved = self._on_demand.total() - sum(self._on_demand[reserved] for reserved in self._reserved)
        besides = sum(each.count for (name, _), each in self._provisioned.items() if name not in self._reserved)
        found = {
            "function": self.running[function],
            "account": self.running.total(),
            "unreserved": unreserved,
            "claimed": unreserved + sum(self._reserved.values()) + besides,
        }
        if (own := self._provisioned.get((function, version))) is not None:
            found |= {"provisioned": self._provisioned_running[function, version], "allocated": own.count}
        return found

    def restart(self) -> None:
        """Forget the environments, the rates used up and the peaks that were reached so far."""
        self.environments = Counter(self._busy)
        self.peak = Counter(self.running)
        self.peak_total = self.running.total()
        self._fill()

    def _fill(self) -> None:
        """Let all buckets be full."""
        self._scaling: dict[str, TokenBucket] = {}
        self._account_requests = self._request_bucket(self._limits.account_concurrency)
        for function, reserved in self._reserved.items():
            self._reserved_requests[function] = self._request_bucket(reserved)
        for provisioned in self._provisioned.values():
            provisioned.requests = self._request_bucket(provisioned.count)

    def _served_by(self, key: _Version, now: float) -> Served:
        provisioned = self._provisioned.get(key)
        if provisioned is None:
            return Served.ON_DEMAND
        if self._provisioned_running[key] < provisioned.count and provisioned.requests.has_one(now):
            return Served.PROVISIONED
        return Served.SPILLOVER

    def _is_used_up(self, function: str) -> bool:
        """Whether no concurrency on demand is left for ``function``."""
        reserved = self._reserved.get(function)
        if reserved is not None:
            own = sum(each.count for (name, _), each in self._provisioned.items() if name == function)
            return self._on_demand[function] >= reserved - own
        pool = self._limits.account_concurrency - sum(self._reserved.values())
        pool -= sum(each.count for (name, _), each in self._provisioned.items() if name not in self._reserved)
        used = self._on_demand.total() - sum(self._on_demand[name] for name in self._reserved)
        return used >= pool

    def _count(self, key: _Version, served: Served) -> None:
        function = key[0]
        if served is Served.PROVISIONED:
            self._provisioned_running[key] += 1
        else:
            self._on_demand[function] += 1
            self._busy[key] += 1
        self.running[function] += 1
        self.peak[function] = max(self.peak[function], self.running[function])
        self.peak_total = max(self.peak_total, self.running.total())

    def _scaling_bucket(self, function: str) -> TokenBucket:
        limits = self._limits
        scope = function if limits.scaling_scope == "function" else ""
        if scope not in self._scaling:
            self._scaling[scope] = TokenBucket(limits.scaling_burst, limits.scaling_per_second)
        return self._scaling[scope]

    def _request_bucket(self, concurrency: int) -> TokenBucket:
        rate = concurrency * self._limits.requests_per_concurrency
        return TokenBucket(rate, rate)
