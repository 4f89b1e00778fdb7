"""How many requests API Gateway takes: of the account, a method of a stage, and each client of a usage plan.

Sources: API Gateway developer guide, "Throttle requests to your REST APIs for better throughput in API Gateway" (token
buckets and the order in which they count), "Usage plans and API keys for REST APIs in API Gateway" (a plan's limits
are each key's own, over all stages of the plan), "Gateway response types"; CloudFormation user guide,
AWS::ApiGateway::UsagePlan QuotaSettings (quotas are for days, weeks and months of the calendar). AWS calls all of them
targets that it keeps as well as it can; here they are exact. Time is passed in.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Literal

from testbed.semantics.token_bucket import TokenBucket


@dataclass(frozen=True, kw_only=True, slots=True)
class RestApiProfile:
    """Limits of one account in one region; they are rates, which `compress` leaves alone.

    Attributes:
        account_rate: Requests per second of all APIs together (10,000; 2,500 in the newer regions).
        account_burst: Requests that may come at once (5,000; 1,250 in the newer regions).
        refused_requests_count: Whether a refused request uses up tokens of the limits that would have let it through,
            and a throttled one a request of the quota. AWS does not say.
        first_weekday: Day on which the week of a quota begins, 0 for Monday to 6 for Sunday. AWS does not say.
    """

    account_rate: float = 10_000.0
    account_burst: int = 5_000
    refused_requests_count: bool = False
    first_weekday: int = 0


class Refusal(Enum):
    """Why a request is refused: the type of the gateway response."""

    THROTTLED = "THROTTLED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"


@dataclass(frozen=True, slots=True)
class Limit:
    """A throttle that somebody has set.

    Attributes:
        scope: Whom it is for: requests that have it in common share its tokens.
        rate: Requests per second; None leaves it at the account's.
        burst: Requests that may come at once, the capacity of the bucket; None leaves it at the account's.
    """

    scope: Hashable
    rate: float | None
    burst: int | None


@dataclass(frozen=True, slots=True)
class Quota:
    """How many requests a usage plan gives a client in each period of the calendar, in UTC.

    Attributes:
        plan: Id of the usage plan.
        key: Id of the client's API key.
        limit: Requests in a period.
        period: Its length.
        offset: Requests that the first period has less; here the one in which the plan is used first.
    """

    plan: str
    key: str
    limit: int
    period: Literal["DAY", "WEEK", "MONTH"]
    offset: int = 0


class RestApiLimits:
    """Admits the requests to all REST APIs of an account.

    Args:
        profile: The account's own limits.
    """

    def __init__(self, profile: RestApiProfile) -> None:
        self._profile = profile
        self._account = TokenBucket(profile.account_burst, profile.account_rate)
        self._buckets: dict[Limit, TokenBucket] = {}
        self._first_periods: dict[str, date] = {}
        self._used: Counter[tuple[str, str, date]] = Counter()

    def admit(
        self, limits: Sequence[Limit] = (), quota: Quota | None = None, *, now: float, epoch: float
    ) -> Refusal | None:
        """Count one request, or say why it is refused.

        Args:
            limits: Those that hold for it, in their order: usage plan, then stage and method. The account's comes last.
            quota: Of the client.
            now: Seconds of any clock that never goes back.
            epoch: Seconds since 1970.
        """
        used = None if quota is None else self._period(quota, epoch)
        if quota is not None and used is not None and self._used[used] >= self._allowance(quota, used[-1]):
            return Refusal.QUOTA_EXCEEDED
        passed: list[TokenBucket] = []
        refusal = None
        for bucket in (*map(self._bucket, limits), self._account):
            if not bucket.has_one(now):
                refusal = Refusal.THROTTLED
                break
            passed.append(bucket)
        if refusal is None or self._profile.refused_requests_count:
            for bucket in passed:
                bucket.take()
            if used is not None:
                self._used[used] += 1
        return refusal

    def _bucket(self, limit: Limit) -> TokenBucket:
        bucket = self._buckets.get(limit)
        if bucket is None:
            burst = self._profile.account_burst if limit.burst is None else limit.burst
            rate = self._profile.account_rate if limit.rate is None else limit.rate
            bucket = self._buckets[limit] = TokenBucket(burst, rate)
        return bucket

    def _period(self, quota: Quota, epoch: float) -> tuple[str, str, date]:
        """Under what the requests of the period around ``epoch`` are counted."""
        first = datetime.fromtimestamp(epoch, UTC).date()
        if quota.period == "WEEK":
            first -= timedelta(days=(first.weekday() - self._profile.first_weekday) % 7)
        elif quota.period == "MONTH":
            first = first.replace(day=1)
        return quota.plan, quota.key, first

    def _allowance(self, quota: Quota, period: date) -> int:
        first_of_all = self._first_periods.setdefault(quota.plan, period)
        return quota.limit - (quota.offset if period == first_of_all else 0)
