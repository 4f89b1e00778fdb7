"""Poison: which orders, and that each kind breaks what it says and nothing else."""

import base64
import json
from collections import Counter

import pytest

from testbed.chaos.call import Call
from testbed.chaos.faults.environment_lost import EnvironmentKilled, Killed
from testbed.chaos.faults.invocation import HandlerDelayed
from testbed.chaos.faults.poison import Poison
from testbed.chaos.faults.poison_kinds import (
    COMMON,
    FIT,
    KINDS,
    broken_json,
    database_refuses,
    deeply_nested,
    large,
    lone_surrogate,
    missing_field,
    nul,
    oversize,
    surplus_field,
    wrong_type,
)
from testbed.chaos.schedule import Schedule
from testbed.chaos.trigger import key
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
    assert set(shares) == set(COMMON)
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
    assert b'"id":"o-17"' in KINDS[kind](ORDER).replace(b" ", b"")
    assert before == ORDER


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_of_an_id_alone_can_be_spoiled_too(kind: str) -> None:
    """What cannot be done to another field is done to the id."""
    assert KINDS[kind]({"id": "o-17"})
    spoiled = [wrong_type({"id": "o-17"}), missing_field({"id": "o-17"}), database_refuses({"id": "o-17"})]
    assert [json.loads(body) for body in spoiled] == [{"id": ["o-17"]}, {}, {"id": "o-17\0"}]


def test_a_text_that_postgres_does_not_take_is_ascii_on_the_wire() -> None:
    """As JSON escapes, which every service and every parser takes; the first text is spoiled, or what there is."""
    assert json.loads(nul(ORDER)) == {**ORDER, "customer": "Zoë\0"}
    assert json.loads(lone_surrogate(ORDER)) == {**ORDER, "customer": "Zoë\ud800"}
    assert json.loads(lone_surrogate({"id": "o", "n": 1})) == {"id": "o", "n": "1\ud800"}
    assert nul(ORDER).isascii()
    assert lone_surrogate(ORDER).isascii()


def test_deep_nesting_is_more_than_the_parser_bears() -> None:
    """It is JSON, and yet no ValueError; and no service finds it too big."""
    body = deeply_nested(ORDER)
    with pytest.raises(RecursionError):
        json.loads(body)
    assert body.startswith(b'{"id":"o-17","customer"')
    assert body.count(b"[") == body.count(b"]") == 100_000
    assert len(body) < 2**18


def test_size_alone_changes_no_order() -> None:
    """Only white space is added: one is below every limit, one beyond those of SQS and Kinesis."""
    assert json.loads(large(ORDER)) == json.loads(oversize(ORDER)) == ORDER
    assert len(large(ORDER)) == 240_000 < 256 * 1024
    assert 1024 * 1024 < len(oversize(ORDER)) < 6_000_000


def test_a_surplus_field_leaves_the_others_alone() -> None:
    """One more, that is all."""
    assert json.loads(surplus_field(ORDER)) == {**ORDER, "surplus": "nobody asked for this"}


def test_what_is_fit_parses_to_the_order() -> None:
    """The kinds that must be stored have every field as it was."""
    for kind in FIT:
        assert json.loads(KINDS[kind](ORDER)).items() >= ORDER.items(), kind


def invoked(event: dict[str, object] | bytes, function: str = "store") -> Call:
    payload = event if isinstance(event, bytes) else json.dumps(event).encode()
    return Call("lambda", "Invoke", function, "mapping:1", "batch", 1, 0.0, payload=payload)


def test_what_crashes_or_never_returns_does_so_in_every_function_that_gets_it() -> None:
    """In a batch as well, whatever its source wraps it in; other batches are left alone."""
    faults = Poison(kinds=("crashes", "never_returns")).of_invokes([("crashes", "o-1"), ("never_returns", "o-2")])
    assert [fault.name for fault in faults] == ["poison-crashes", "poison-never-returns"]
    schedule = Schedule(faults, seed=1)

    def effects(event: dict[str, object]) -> list[type]:
        decision = schedule.decide(invoked(event))
        return [type(effect) for effect in decision.effects] if decision else []

    message = {"Records": [{"body": json.dumps({"id": "o-0"})}, {"body": json.dumps({"id": "o-1"})}]}
    assert effects(message) == [Killed]
    record = base64.b64encode(json.dumps({"id": "o-2"}).encode()).decode()
    assert effects({"Records": [{"kinesis": {"data": record}}]}) == [HandlerDelayed]
    assert effects({"body": json.dumps({"id": "o-10"})}) == []


@pytest.mark.parametrize("data", ["hello", "h", "abcd=", "abcde===", "", "AAAA==", "ab=c", "\N{SNOWMAN}"])
def test_data_that_are_not_base64_are_a_text_as_any_other(data: str) -> None:
    """Every event may have a member of that name; only Kinesis puts base64 into it, beside which it may stand."""
    hits = key("o-1").armed(1, "fault")
    record = base64.b64encode(b'{"id": "o-1"}').decode()
    assert not hits(invoked({"id": "o-2", "data": data}))
    assert hits(invoked({"id": "o-1", "data": data}))
    assert hits(invoked({"Records": [{"data": data}, {"data": record}]}))


@pytest.mark.parametrize("before", ["", ".", ".."])
def test_data_of_every_length_are_decoded(before: str) -> None:
    """With two characters of padding, one, or none."""
    data = base64.b64encode(f"{before} o-1".encode()).decode()
    assert key("o-1").armed(1, "fault")(invoked({"data": data}))


def test_what_crashes_can_be_kept_to_one_function() -> None:
    """The others pass it on."""
    faults = Poison(kinds=("crashes",), functions=("store",), name="bad").of_invokes([("crashes", "o-1")])
    schedule = Schedule(faults, seed=1)
    decision = schedule.decide(invoked(b'{"id": "o-1"}'))
    assert decision is not None
    assert [injection.fault for injection in decision.injections] == ["bad-crashes"]
    assert schedule.decide(invoked(b'{"id": "o-1"}', function="take")) is None


def test_a_replay_kills_with_the_same_orders_in_other_batches() -> None:
    """What a batch is made of is a matter of timing; a fault of chance hits what the earlier run has journalled."""
    faults = [
        *Poison(kinds=("crashes",)).of_invokes([("crashes", "o-1")]),
        EnvironmentKilled(name="by chance", probability=0.5, when=key("o-1")),
        EnvironmentKilled(name="for a while", during=(0, 9), when=key("o-1")),
    ]
    schedule = Schedule(faults, seed=1, replayed={("poison-crashes", "another batch", 1)})
    decision = schedule.decide(invoked(b'{"id": "o-1"}'))
    assert decision is not None
    assert [injection.fault for injection in decision.injections] == ["poison-crashes"]
    assert schedule.decide(invoked(b'{"id": "o-2"}')) is None


def test_other_kinds_need_no_fault_of_invokes() -> None:
    """Nor does a plan in which none is left of those that do."""
    assert Poison(kinds=("crashes", "nul")).of_invokes([("nul", "o-1")]) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"kinds": ("mouldy",)},
        {"kinds": ()},
        {"kinds": ("broken_json", "broken_json")},
        {"every": 0},
        {"functions": "store"},
    ],
)
def test_refuses_fields_that_make_no_sense(fields: dict[str, object]) -> None:
    """Unknown, no or doubled kinds, and a share of more than all."""
    with pytest.raises(UsageError, match="Poison"):
        Poison(**fields)  # type: ignore[arg-type]
