"""Which version an alias stands for, by AWS's description of weighted aliases."""

import pytest

from testbed.semantics.aliases import Alias, is_alias


@pytest.mark.rule("versions.weighted-alias")
def test_each_version_gets_its_share_of_the_invokes() -> None:
    """A weight of 0.25 sends the first quarter of all places to the new version, the rest to the alias's own."""
    alias = Alias("1", {"2": 0.25})
    chosen = [alias.choose(place / 1000) for place in range(1000)]
    assert chosen == ["2"] * 250 + ["1"] * 750


@pytest.mark.rule("versions.alias")
def test_an_alias_without_weights_is_one_version() -> None:
    """Every invoke goes there; so it does where the other version's weight is 0."""
    assert {Alias("3").choose(place / 10) for place in range(10)} == {"3"}
    assert {Alias("3", {"4": 0.0}).choose(place / 10) for place in range(10)} == {"3"}


@pytest.mark.rule("versions.alias")
@pytest.mark.parametrize(
    ("qualifier", "expected"), [(None, False), ("$LATEST", False), ("7", False), ("live", True), ("v7", True)]
)
def test_a_qualifier_is_a_version_or_the_name_of_an_alias(qualifier: str | None, expected: bool) -> None:
    """An alias is never a number alone."""
    assert is_alias(qualifier) is expected
