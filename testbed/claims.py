"""Expectations that most scenarios share, each a claim in words with its check."""

from testbed.ledger.verdict import Expectation, Facts


def no_acknowledged_order_is_lost() -> Expectation:
    """What a client was promised is stored, dead-lettered or still on its way."""
    return Expectation(
        "no acknowledged order is lost",
        lambda facts: (facts.ledger.lost == 0, f"{facts.ledger.lost} of {facts.ledger.acknowledged}"),
    )


def every_order_is_accepted() -> Expectation:
    """Every order that was sent is acknowledged."""

    def check(facts: Facts) -> tuple[bool, str]:
        ledger = facts.ledger
        observed = f"{ledger.acknowledged} of {ledger.attempted}"
        if facts.causes:
            observed += " (not: " + _by_cause(facts) + ")"
        return ledger.attempted > 0 and ledger.acknowledged == ledger.attempted, observed

    return Expectation("every order is accepted, poison included", check)


def every_well_formed_order_is_stored_once() -> Expectation:
    """Whatever was sent and is not poison is in the database, once, and nothing that nobody sent stands in for it.

    Where there is poison and orders are unsent it can't be known: counts do not tell which of them were poison.
    """

    def check(facts: Facts) -> tuple[bool | None, str]:
        ledger = facts.ledger
        good = ledger.attempted - ledger.poison
        stored = ledger.stored - ledger.poison_stored
        observed = f"{stored} of {good} stored, {ledger.duplicated} twice"
        if ledger.unexpected:
            observed += f", {ledger.unexpected} that nobody sent"
        if ledger.duplicated or ledger.unexpected:
            return False, observed
        if ledger.poison and ledger.unsent:
            return None, f"{observed}, {ledger.unsent} unsent"
        return good > 0 and stored == good, observed

    return Expectation("every well-formed order is stored once", check)


def exactly_the_poison_is_dead_lettered() -> Expectation:
    """All poison is dead-lettered, and nothing with it.

    Where poison is missing and orders are unsent it can't be known: the missing may be among them.
    """

    def check(facts: Facts) -> tuple[bool | None, str]:
        ledger = facts.ledger
        dead_poison = ledger.dead_lettered - ledger.collateral
        observed = f"{dead_poison} of {ledger.poison} poisoned, {ledger.collateral} good ones with them"
        if ledger.unsent and dead_poison < ledger.poison and not ledger.collateral:
            return None, f"{observed}, {ledger.unsent} unsent"
        return dead_poison == ledger.poison and ledger.collateral == 0, observed

    return Expectation("exactly the poison is dead-lettered", check)


def no_poison_is_stored() -> Expectation:
    """The database has nothing that is no order."""
    return Expectation(
        "no poison is stored",
        lambda facts: (facts.ledger.poison_stored == 0, f"{facts.ledger.poison_stored} of {facts.ledger.poison}"),
    )


def orders_are_refused_for_known_causes(*causes: str) -> Expectation:
    """Some orders are not accepted, and the cause of each is one of ``causes``."""

    def check(facts: Facts) -> tuple[bool, str]:
        refused = facts.ledger.refused + facts.ledger.unknown
        return refused > 0 and set(facts.causes) <= set(causes), f"{refused}: {_by_cause(facts)}"

    return Expectation("orders are refused, each for a known cause", check)


def _by_cause(facts: Facts) -> str:
    ordered = sorted(facts.causes.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    return ", ".join(f"{cause} {len(ids)}" for cause, ids in ordered) or "none"
