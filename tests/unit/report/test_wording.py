"""The ledger in plain words."""

from dataclasses import fields

from testbed.ledger.reconcile import ANOMALIES, Ledger
from testbed.report.wording import ROWS, fates, headline

GOOD = {"attempted": 3000, "acknowledged": 3000, "stored": 2970, "dead_lettered": 30, "poison": 30}
REFUSING = {"attempted": 3000, "acknowledged": 1800, "refused": 1200, "stored": 1800}


def said(**ledgers: dict[str, int]) -> str:
    return headline(ledgers, {name: {"ledger": ledger} for name, ledger in ledgers.items()})


def test_every_count_of_the_ledger_has_words() -> None:
    """A count that the ledger gains must not stay out of the report."""
    assert {row.key for row in ROWS} == {field.name for field in fields(Ledger)} - {"examples"}
    assert set(ANOMALIES) <= {row.key for row in ROWS if row.anomaly}


def test_the_headline_is_the_answer_in_one_sentence() -> None:
    """What happened to the orders, by architecture."""
    assert said(sync=REFUSING, sqs=GOOD) == (
        "Of 3,000 orders each, sync stored 1,800 and refused 1,200; sqs stored 2,970 and dead-lettered 30; "
        "none was lost or stored twice."
    )


def test_harm_is_in_the_headline() -> None:
    """Lost and duplicated orders are named, and nothing is called harmless."""
    text = said(sqs=GOOD | {"stored": 2960, "lost": 10, "duplicated": 2, "left": 3})
    assert text == "Of 3,000 orders, sqs stored 2,960, dead-lettered 30, left 3 queued, lost 10 and duplicated 2."


def test_without_a_verdict_the_headline_claims_only_what_the_client_saw() -> None:
    """Nobody counted the rows, so nobody may say that none was lost."""
    text = headline({"sync": {"attempted": 10, "acknowledged": 6, "refused": 4}}, {})
    assert text == "Of 10 orders, sync accepted 6 and refused 4, the rest is not known."


def test_different_amounts_of_traffic_are_not_compared() -> None:
    """No common total is claimed where there is none."""
    assert said(a=GOOD, b=GOOD | {"attempted": 10}).startswith("a stored")
    assert headline({}, {}) == "The run broke off before any order was sent."


def test_each_order_has_one_fate() -> None:
    """Refused or unknown orders that were stored all the same count as stored, once."""
    ledger = {"attempted": 10, "acknowledged": 4, "refused": 4, "unknown": 2, "stored": 6, "lost": 1}
    parts = fates(ledger | {"refused_but_stored": 2, "ghost": 1})
    assert (parts["stored"], parts["refused"], parts["unknown"], parts["lost"]) == (6, 2, 1, 1)
    assert sum(parts.values()) == 10


def test_an_accepted_order_without_a_verdict_has_no_known_fate() -> None:
    """What nobody looked for is neither stored nor lost."""
    parts = fates({"attempted": 10, "acknowledged": 6, "refused": 4})
    assert {fate: count for fate, count in parts.items() if count} == {"refused": 4, "not_known": 6}
