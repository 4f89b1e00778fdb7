"""How many requests API Gateway takes.

Sources: API Gateway developer guide, "Throttle requests to your REST APIs for better throughput in API Gateway" and
"Usage plans and API keys for REST APIs in API Gateway"; CloudFormation user guide, AWS::ApiGateway::UsagePlan.
"""

from datetime import UTC, datetime

import pytest

from testbed.semantics.rest_api_limits import Limit, Quota, Refusal, RestApiLimits, RestApiProfile

THROTTLED, QUOTA_EXCEEDED = Refusal.THROTTLED, Refusal.QUOTA_EXCEEDED


def epoch(day: str, hour: int = 12) -> float:
    """Seconds since 1970 at an hour of a day in UTC."""
    return datetime.fromisoformat(f"{day}T{hour:02}:00:00").replace(tzinfo=UTC).timestamp()


def admitted(limits: RestApiLimits, count: int, *which: Limit, now: float = 0.0) -> int:
    """How many of ``count`` requests at ``now`` are taken."""
    return sum(limits.admit(which, now=now, epoch=0.0) is None for _ in range(count))


@pytest.mark.rule("rest-api.account-throttle")
def test_the_account_takes_a_burst_of_5000_and_10000_a_second() -> None:
    """Source: "Amazon API Gateway quotas", throttle quota per account, per Region across all APIs."""
    limits = RestApiLimits(RestApiProfile())
    assert admitted(limits, 6_000) == 5_000
    assert admitted(limits, 6_000, now=0.1) == 1_000
    assert admitted(limits, 6_000, now=60.0) == 5_000


@pytest.mark.rule("rest-api.account-throttle")
def test_the_account_s_tokens_are_shared_by_all_apis() -> None:
    """Each method has its own limit, below the account's or not; what the account refuses is refused."""
    limits = RestApiLimits(RestApiProfile(account_rate=1, account_burst=3))
    one, two = (Limit(scope, 100.0, 100) for scope in ("one", "two"))
    assert admitted(limits, 2, one) == 2
    assert admitted(limits, 2, two) == 1


@pytest.mark.rule("rest-api.method-throttle")
def test_a_method_s_bucket_has_its_burst_and_its_rate() -> None:
    """The burst at once, then the rate; another method has tokens of its own."""
    limits = RestApiLimits(RestApiProfile())
    orders, carts = Limit("orders", 2.0, 5), Limit("carts", 2.0, 5)
    assert admitted(limits, 10, orders) == 5
    assert admitted(limits, 10, carts) == 5
    assert admitted(limits, 10, orders, now=1.0) == 2


@pytest.mark.rule("rest-api.method-throttle")
def test_a_limit_of_none_at_all_refuses_everything() -> None:
    """A rate and a burst of 0."""
    assert admitted(RestApiLimits(RestApiProfile()), 3, Limit("closed", 0.0, 0)) == 0


def test_a_changed_limit_begins_with_a_full_bucket() -> None:
    """What was used of the old one does not count."""
    limits = RestApiLimits(RestApiProfile())
    assert admitted(limits, 3, Limit("orders", 1.0, 1)) == 1
    assert admitted(limits, 3, Limit("orders", 1.0, 2)) == 2


def test_what_is_not_set_is_the_account_s() -> None:
    """A usage plan may set a burst without a rate, or a rate without a burst."""
    limits = RestApiLimits(RestApiProfile(account_rate=10, account_burst=4))
    assert admitted(limits, 9, Limit("rate alone", 1.0, None)) == 4
    assert admitted(limits, 9, Limit("burst alone", None, 2), now=1.0) == 2
    assert admitted(limits, 9, Limit("burst alone", None, 2), now=1.25) == 2


@pytest.mark.rule("rest-api.throttle-order")
@pytest.mark.parametrize("counts", [False, True])
def test_what_a_refused_request_takes_is_a_parameter(*, counts: bool) -> None:
    """The limits count in their order; a request that a later one refuses has passed the earlier ones."""
    limits = RestApiLimits(RestApiProfile(account_burst=100, refused_requests_count=counts))
    client, method = Limit("client", 1.0, 3), Limit("method", 1.0, 1)
    assert admitted(limits, 3, client, method) == 1
    assert admitted(limits, 3, client) == (0 if counts else 2)


@pytest.mark.rule("rest-api.throttle-order")
def test_a_refusal_by_the_first_limit_leaves_the_later_ones_alone() -> None:
    """Whatever the parameter says: the later ones were not asked."""
    limits = RestApiLimits(RestApiProfile(account_burst=2, account_rate=0, refused_requests_count=True))
    assert admitted(limits, 5, Limit("client", 0.0, 0)) == 0
    assert admitted(limits, 5) == 2


@pytest.mark.rule("rest-api.quota")
def test_a_client_has_so_many_requests_a_day() -> None:
    """The calendar's day, in UTC; another client has as many of its own."""
    limits = RestApiLimits(RestApiProfile())

    def ask(key: str, at: float) -> Refusal | None:
        return limits.admit(quota=Quota("plan", key, 2, "DAY"), now=0.0, epoch=at)

    assert [ask("a", epoch("2026-11-21", 23)) for _ in range(3)] == [None, None, QUOTA_EXCEEDED]
    assert ask("b", epoch("2026-11-21", 23)) is None
    assert ask("a", epoch("2026-11-22", 0)) is None


@pytest.mark.rule("rest-api.quota")
@pytest.mark.parametrize(
    ("period", "first", "same", "following", "first_weekday"),
    [
        ("WEEK", "2026-11-16", "2026-11-22", "2026-11-23", 0),
        ("WEEK", "2026-11-15", "2026-11-21", "2026-11-22", 6),
        ("MONTH", "2026-02-01", "2026-02-28", "2026-03-01", 0),
    ],
)
def test_weeks_and_months_are_those_of_the_calendar(
    period: str, first: str, same: str, following: str, first_weekday: int
) -> None:
    """On which day a week begins is a parameter."""
    limits = RestApiLimits(RestApiProfile(first_weekday=first_weekday))
    quota = Quota("plan", "key", 1, period)  # type: ignore[arg-type]  # one of the three
    answers = [limits.admit(quota=quota, now=0.0, epoch=epoch(day)) for day in (first, same, following)]
    assert answers == [None, QUOTA_EXCEEDED, None]


@pytest.mark.rule("rest-api.quota")
def test_the_offset_shortens_the_first_period_alone() -> None:
    """For a plan that begins in the middle of a period (API reference, QuotaSettings)."""
    limits = RestApiLimits(RestApiProfile())
    quota = Quota("plan", "key", 3, "DAY", offset=2)
    first = [limits.admit(quota=quota, now=0.0, epoch=epoch("2026-11-21")) for _ in range(2)]
    second = [limits.admit(quota=quota, now=0.0, epoch=epoch("2026-11-22")) for _ in range(4)]
    assert first == [None, QUOTA_EXCEEDED]
    assert second == [None, None, None, QUOTA_EXCEEDED]


@pytest.mark.rule("rest-api.quota")
@pytest.mark.parametrize("counts", [False, True])
def test_whether_a_throttled_request_counts_is_a_parameter(*, counts: bool) -> None:
    """By default it leaves the quota alone."""
    limits = RestApiLimits(RestApiProfile(refused_requests_count=counts))
    quota, closed = Quota("plan", "key", 1, "DAY"), Limit("client", 0.0, 0)
    assert limits.admit((closed,), quota, now=0.0, epoch=0.0) is THROTTLED
    assert limits.admit((), quota, now=0.0, epoch=0.0) is (QUOTA_EXCEEDED if counts else None)
