"""The conformance table tells the truth: kept rules are tested, tested ones listed, the page is of today."""

from itertools import chain

from conformance_table import PAGE, Rule, found_tests, page, sections

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


def test_every_rule_says_what_the_others_do() -> None:
    """In words that the summary counts."""
    found = [(rule.id, cell.partition(":")[0]) for rule in RULES for cell in (rule.localstack, rule.ministack)]
    assert [(name, word) for name, word in found if word not in {"yes", "partly", "no"}] == []


def test_the_summary_counts_each_section_and_all() -> None:
    """By the word that each column begins with."""
    kept = Rule(id="a", says="A", source="S", here="kept", localstack="no: never", ministack="yes")
    parameter = Rule(
        id="b", says="B", source="S", here="parameter", localstack="partly: a bit", ministack="yes", why="W"
    )
    lines = page({"SNS, X": [kept, parameter], "Other": [kept]}, {}).splitlines()
    assert "| [SNS, X](#sns-x) | 2 | 1 | 1 | 0 | 0 / 1 / 1 | 2 / 0 / 0 |" in lines
    assert "| all | 3 | 2 | 1 | 0 | 0 / 1 / 2 | 3 / 0 / 0 |" in lines


def test_the_page_is_of_today() -> None:
    """``python tests/conformance/conformance_table.py`` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == page(sections(), found_tests())
