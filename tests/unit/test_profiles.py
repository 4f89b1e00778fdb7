"""The numbers survive the way to the data plane, and the older rules are other ones."""

import json

from testbed.semantics import profiles


def test_a_profile_is_the_same_after_the_way_through_json() -> None:
    """Nested numbers and tuples come back as they were."""
    for profile in (profiles.aws, profiles.legacy.compress(7)):
        assert profiles.Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


def test_before_november_2023_the_account_shared_one_burst_and_queues_scaled_slower() -> None:
    """AWS Lambda developer guide of 2022: 3,000 at once, then 500 a minute; 60 pollers a minute, up to 1,000."""
    legacy = profiles.legacy
    assert legacy.concurrency.scaling_burst == 3000
    assert round(legacy.concurrency.scaling_per_second * 60) == 500
    assert legacy.concurrency.scaling_scope == "account"
    assert (legacy.sqs.added_per_minute, legacy.sqs.maximum_pollers) == (60, 1000)
