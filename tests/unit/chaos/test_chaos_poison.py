"""Poison: which orders, and that each kind breaks what it says and nothing else."""

import json
from collections import Counter

import pytest

from testbed.chaos.poison import KINDS, Poison, broken_json, database_refuses, missing_field, wrong_type
from testbed.errors import UsageError

ORDER = {"id": "o-17", "customer": "Zoë", "quantity": 3, "gift": True}


@pytest.mark.parametrize(("orders", "every", "poisoned"), [(3_000, 100, 30), (3_049, 100, 30), (10, 100, 0), (7, 1, 7)])
def test_poisons_exactly_its_share(orders: int, every: int, poisoned: int) -> None:
    """round(orders / every) orders, each within the plan."""
    plan = Poison(every=every).plan(5, orders)
    assert len(plan.kinds) == poisoned
    assert all(0 <= index < orders for index in plan.kinds)


def test_spreads_over_the_whole_plan() -> None:
    """One in each hundredth part: a quiet start and a tail get their share as the spike does."""
    plan = Poison(every=100).plan(5, 3_000)
    assert sorted(index // 100 for index in plan.kinds) == list(range(30))


def test_kinds_have_equal_shares() -> None:
    """Thirty among four kinds: none has more than one above another."""
    shares = Counter(Poison(every=100).plan(5, 3_000).kinds.values())
    assert set(shares) == set(KINDS)
    assert max(shares.values()) - min(shares.values()) <= 1


def test_the_choice_is_the_seeds_alone() -> None:
    """The name, like all else that is not the seed, the number of orders or the share, changes nothing."""
    plan = Poison().plan(5, 3_000)
    assert Poison(name="other").plan(5, 3_000) == plan
    assert set(Poison().plan(6, 3_000).kinds) != set(plan.kinds)


def test_good_orders_are_sent_as_they_are() -> None:
    """Only the poisoned index is spoiled."""
    plan = Poison(kinds=("wrong_type",), every=2).plan(5, 2)
    (poisoned,) = plan.kinds
    assert plan.kind_of(poisoned) == "wrong_type"
    assert plan.kind_of(1 - poisoned) is None
    assert json.loads(plan.body(1 - poisoned, ORDER)) == ORDER
    assert plan.body(poisoned, ORDER) == wrong_type(ORDER)


def test_broken_json_is_no_json() -> None:
    """No parser reads it."""
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken_json(ORDER))


def test_missing_field_lacks_one_field_only() -> None:
    """Valid JSON, all the rest unchanged."""
    body = json.loads(missing_field(ORDER))
    assert set(ORDER) - set(body) == {"gift"}
    assert body == {name: ORDER[name] for name in body}


def test_wrong_type_changes_one_type_only() -> None:
    """A whole number where there is one (a truth value is none), else the first field."""
    assert json.loads(wrong_type(ORDER)) == {**ORDER, "quantity": [3]}
    assert json.loads(wrong_type({"id": "o", "note": "n"})) == {"id": "o", "note": ["n"]}


def test_database_refuses_keeps_fields_and_types() -> None:
    """What a handler checks still holds: the same fields, the same types, positive numbers."""
    body = json.loads(database_refuses(ORDER))
    assert {name: type(value) for name, value in body.items()} == {name: type(value) for name, value in ORDER.items()}
    assert body["quantity"] > 2**63 - 1
    assert json.loads(database_refuses({"id": "o", "note": "n"})) == {"id": "o", "note": "n\0"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_id_stays_readable_and_the_order_is_left_alone(kind: str) -> None:
    """The ledger finds a dead-lettered order by the id in its bytes, whatever else is wrong with them."""
    before = dict(ORDER)
    assert b'"id":"o-17"' in KINDS[kind](ORDER)
    assert before == ORDER


@pytest.mark.parametrize(
    "fields", [{"kinds": ("mouldy",)}, {"kinds": ()}, {"kinds": ("broken_json", "broken_json")}, {"every": 0}]
)
def test_refuses_fields_that_make_no_sense(fields: dict[str, object]) -> None:
    """Unknown, no or doubled kinds, and a share of more than all."""
    with pytest.raises(UsageError, match="Poison"):
        Poison(**fields)  # type: ignore[arg-type]
