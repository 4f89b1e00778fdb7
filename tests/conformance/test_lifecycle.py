"""The life of an execution environment, against AWS's documents."""

import pytest

from testbed.semantics.lifecycle import LifecycleProfile, Resets, billed_milliseconds, init_report

RESET = Resets[str]


@pytest.mark.rule("environment.init-is-billed", "case.billing")
@pytest.mark.parametrize(
    ("init", "duration", "billed"), [(0.13361, 0.08, 214), (3.01678, 0.084, 3101), (3.00492, 0.11123, 3117)]
)
def test_the_initialisation_is_billed(init: float, duration: float, billed: int) -> None:
    """The three examples of AWS's documentation, in seconds and milliseconds."""
    assert billed_milliseconds(duration, init) == billed


@pytest.mark.rule("environment.init-is-billed")
def test_a_warm_invoke_is_billed_by_its_duration_alone() -> None:
    """Rounded up to the next millisecond, and not beyond one that was just reached."""
    assert billed_milliseconds(0.0800001, None) == 80
    assert billed_milliseconds(0.08001, None) == 81


@pytest.mark.rule("environment.init-phase", "environment.provisioned-init")
def test_the_init_phase_has_ten_seconds_and_longer_for_provisioned_concurrency() -> None:
    """With provisioned concurrency 130 s, or the function's timeout where that is longer."""
    profile = LifecycleProfile()
    assert profile.init_limit(900) == 10
    assert profile.init_limit(3, provisioned=True) == 130
    assert profile.init_limit(900, provisioned=True) == 900


@pytest.mark.rule("environment.suppressed-init")
def test_a_reset_environment_is_initialised_again_by_one_invoke() -> None:
    """As many suppressed inits as environments were reset, each for its own function."""
    resets = RESET()
    resets.add("orders", 1.0)
    resets.add("orders", 2.0)
    assert [resets.take(key) for key in ("invoices", "orders", "orders", "orders")] == [False, True, True, False]


@pytest.mark.rule("environment.idle-lifetime")
def test_a_reset_environment_is_given_up_like_an_idle_one() -> None:
    """Those that have waited too long are named, one name for each; the others stay."""
    resets = RESET()
    for key, since in (("orders", 1.0), ("orders", 2.0), ("orders", 9.0), ("invoices", 1.0)):
        resets.add(key, since)
    assert sorted(resets.drop(lambda _, since: since < 5)) == ["invoices", "orders", "orders"]
    assert [resets.take(key) for key in ("orders", "orders", "invoices")] == [True, False, False]


@pytest.mark.rule("environment.init-report")
def test_a_failed_initialisation_is_reported_in_a_line_of_its_own() -> None:
    """In the forms of AWS's logs, by phase and by failure."""
    assert init_report(9.99979, "init", None) == (
        "INIT_REPORT Init Duration: 9999.79 ms\tPhase: init\tStatus: timeout\n"
    )
    assert init_report(0.00487, "invoke", "Runtime.ExitError") == (
        "INIT_REPORT Init Duration: 4.87 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ExitError\n"
    )
