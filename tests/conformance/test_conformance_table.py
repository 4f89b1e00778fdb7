"""The conformance table tells the truth: kept rules are tested, tested ones listed, the page is of today."""

from itertools import chain

from conformance_table import PAGE, found_tests, page, sections

RULES = list(chain.from_iterable(sections().values()))


def test_every_rule_is_kept_and_tested_or_says_why_not() -> None:
    """A row without a test, or without a reason, is a claim that nobody checks."""
    tested = found_tests()
    assert [rule.id for rule in RULES if rule.here not in {"kept", "parameter", "left out"}] == []
    assert [rule.id for rule in RULES if rule.here == "kept" and not tested.get(rule.id)] == []
    assert [rule.id for rule in RULES if rule.here != "kept" and not rule.why] == []


def test_every_rule_that_a_test_names_is_listed_once() -> None:
    """A marker with a typing error would leave its rule untested."""
    names = [rule.id for rule in RULES]
    assert sorted(names) == sorted(set(names))
    assert sorted(set(found_tests()) - set(names)) == []


def test_the_page_is_of_today() -> None:
    """``python tests/conformance/conformance_table.py`` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == page(sections(), found_tests())
