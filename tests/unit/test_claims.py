"""The shared expectations: each holds where it should, fails where it must, and says what was observed."""

from typing import Any

import pytest

from testbed import Expectation, Facts, claims
from testbed.ledger.reconcile import Ledger

ACCEPTED = claims.every_order_is_accepted()
LOST = claims.no_acknowledged_order_is_lost()
ONCE = claims.every_well_formed_order_is_stored_once()
DEAD = claims.exactly_the_poison_is_dead_lettered()
CLEAN = claims.no_poison_is_stored()
REFUSED = claims.orders_are_refused_for_known_causes("throttle", "poison")


def facts(causes: dict[str, set[str]] | None = None, **ledger: int) -> Facts:
    return Facts(ledger=Ledger(**ledger), causes=causes or {})


@pytest.mark.parametrize(
    ("claim", "known", "holds", "observed"),
    [
        (LOST, facts(acknowledged=9), True, "0 of 9"),
        (LOST, facts(acknowledged=9, lost=1), False, "1 of 9"),
        (ACCEPTED, facts(attempted=9, acknowledged=9), True, "9 of 9"),
        (ACCEPTED, facts({"throttle": {"a"}}, attempted=9, acknowledged=8), False, "8 of 9 (not: throttle 1)"),
        (ACCEPTED, facts(), False, "0 of 0"),
        (ONCE, facts(attempted=9, poison=1, stored=8), True, "8 of 8 stored, 0 twice"),
        (ONCE, facts(attempted=9, poison=1, stored=8, poison_stored=1), False, "7 of 8 stored, 0 twice"),
        (ONCE, facts(attempted=9, stored=9, duplicated=2), False, "9 of 9 stored, 2 twice"),
        (ONCE, facts(), False, "0 of 0 stored, 0 twice"),
        (ONCE, facts(attempted=1, poison=1), False, "0 of 0 stored, 0 twice"),
        (ONCE, facts(attempted=9, stored=8), False, "8 of 9 stored, 0 twice"),
        (ONCE, facts(attempted=9, stored=10), False, "10 of 9 stored, 0 twice"),
        (ONCE, facts(attempted=9, stored=9, unexpected=1), False, "9 of 9 stored, 0 twice, 1 that nobody sent"),
        (ONCE, facts(attempted=9, stored=9, unsent=1), True, "9 of 9 stored, 0 twice"),
        (ONCE, facts(attempted=9, poison=1, stored=8, unsent=1), None, "8 of 8 stored, 0 twice, 1 unsent"),
        (ONCE, facts(attempted=9, poison=1, stored=8, duplicated=1, unsent=1), False, "8 of 8 stored, 1 twice"),
        (DEAD, facts(poison=2, dead_lettered=2), True, "2 of 2 poisoned, 0 good ones with them"),
        (DEAD, facts(poison=2, dead_lettered=1), False, "1 of 2 poisoned, 0 good ones with them"),
        (DEAD, facts(poison=2, dead_lettered=3, collateral=1), False, "2 of 2 poisoned, 1 good ones with them"),
        (DEAD, facts(), True, "0 of 0 poisoned, 0 good ones with them"),
        (DEAD, facts(dead_lettered=1, collateral=1), False, "0 of 0 poisoned, 1 good ones with them"),
        (DEAD, facts(poison=2, dead_lettered=2, unsent=1), True, "2 of 2 poisoned, 0 good ones with them"),
        (DEAD, facts(poison=2, dead_lettered=1, unsent=1), None, "1 of 2 poisoned, 0 good ones with them, 1 unsent"),
        (
            DEAD,
            facts(poison=2, dead_lettered=2, collateral=1, unsent=1),
            False,
            "1 of 2 poisoned, 1 good ones with them",
        ),
        (CLEAN, facts(poison=3), True, "0 of 3"),
        (CLEAN, facts(poison=3, poison_stored=1), False, "1 of 3"),
        (REFUSED, facts({"throttle": {"a", "b"}, "poison": {"c"}}, refused=3), True, "3: throttle 2, poison 1"),
        (REFUSED, facts({"crash": {"a"}}, unknown=1), False, "1: crash 1"),
        (REFUSED, facts({"throttle": {"a"}}, unknown=1), True, "1: throttle 1"),
        (REFUSED, facts({"throttle": {"a"}, "crash": {"b"}}, refused=1, unknown=1), False, "2: crash 1, throttle 1"),
        (REFUSED, facts({"throttle": {"a"}}, acknowledged=1), False, "0: throttle 1"),
        (REFUSED, facts(), False, "0: none"),
        (ACCEPTED, facts(attempted=9, acknowledged=9, unsent=1), True, "9 of 9"),
    ],
)
def test_a_claim_says_whether_it_holds_and_what_it_saw(
    claim: Expectation, known: Facts, holds: Any, observed: str
) -> None:
    """One case where it holds and one for each way to break it."""
    result = claim.evaluate(known)
    assert (result.holds, result.observed) == (holds, observed)
