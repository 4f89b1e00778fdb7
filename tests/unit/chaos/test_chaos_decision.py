"""The draw that every fault decides by."""

import math

import pytest

from testbed.chaos.decision import draw


def test_is_the_same_on_every_machine_and_in_every_version() -> None:
    """Recorded numbers: a change of them changes every replay of every run on record."""
    assert draw(42, "slow", "order-7", 1) == 0.2889372096644621
    assert draw(42, "slow", "order-7", 2, "jitter") == 0.4726237891873508


@pytest.mark.parametrize(
    "other",
    [(2, "f", "i", 1, ""), (1, "g", "i", 1, ""), (1, "f", "j", 1, ""), (1, "f", "i", 2, ""), (1, "f", "i", 1, "p")],
)
def test_depends_on_each_of_its_arguments(other: tuple[int, str, str, int, str]) -> None:
    """Two faults, two requests, two attempts and two purposes are decided independently."""
    assert draw(*other) != draw(1, "f", "i", 1, "")


def test_looks_uniform_over_identities() -> None:
    """Each tenth of [0, 1) gets its share of 20,000 draws, within five standard deviations."""
    draws = [draw(7, "f", f"order-{index}", 1) for index in range(20_000)]
    counts = [sum(1 for value in draws if tenth <= value * 10 < tenth + 1) for tenth in range(10)]
    assert sum(counts) == len(draws)
    assert all(abs(count - 2_000) < 5 * math.sqrt(20_000 * 0.1 * 0.9) for count in counts)
