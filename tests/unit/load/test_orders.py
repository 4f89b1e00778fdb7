"""Requests depend on the seed and their place in the plan."""

from random import Random

import pytest

from testbed.load.orders import Request, plan_requests, rearranged, request_id


def build(id_: str, planned: float, rng: Random) -> Request:
    """Takes more randomness for some requests than for others."""
    digits = [rng.randrange(10) for _ in range(1 + int(planned) % 3)]
    return Request(id=id_, planned=planned, method="POST", url_path="/orders", body=repr(digits).encode())


def test_the_same_seed_gives_the_same_requests() -> None:
    """Ids, bodies and all; another seed changes both."""
    times = [0.0, 1.0, 2.0]
    first, again, other = (plan_requests(times, seed, build) for seed in (7, 7, 8))
    assert first == again
    assert not {r.id for r in first} & {r.id for r in other}
    assert [r.body for r in first] != [r.body for r in other]


def test_a_request_does_not_depend_on_the_ones_before() -> None:
    """However much randomness the first request takes, the second is the same."""
    assert plan_requests([0.0, 5.0], 7, build)[1] == plan_requests([2.0, 5.0], 7, build)[1]


def test_requests_of_one_run_differ() -> None:
    """Each request has randomness of its own: requests that are built alike are not alike."""
    assert len({request.body for request in plan_requests([2.0] * 20, 7, build)}) > 10


def test_requests_are_numbered_from_one() -> None:
    """Triggers count them so."""
    assert [request.number for request in plan_requests([0.0, 1.0, 2.0], 7, build)] == [1, 2, 3]


def plan(*poison: str | None) -> list[Request]:
    """Orders a, b, c, ... at seconds 0, 1, 2, ..., with these kinds of poison."""
    return [
        Request(
            id="abc"[i],
            planned=float(i),
            method="POST",
            url_path="/",
            body=b"abc"[i : i + 1],
            poison=kind,
            number=i + 1,
        )
        for i, kind in enumerate(poison)
    ]


@pytest.mark.parametrize(
    ("poison", "ids"),
    [
        ((None, None, None), "abc"),
        ((None, "duplicate_id", None), "aac"),
        (("duplicate_id", None, None), "bbc"),
        ((None, None, "out_of_order"), "acb"),
        (("out_of_order", None, None), "bac"),
        (("duplicate_id",), "a"),
        (("out_of_order",), "a"),
        ((), ""),
    ],
)
def test_orders_are_repeated_and_exchanged_by_their_poison(poison: tuple[str | None, ...], ids: str) -> None:
    """Whole requests move; when something is sent, and its number in the plan, stays."""
    found = rearranged(plan(*poison))
    assert "".join(request.id for request in found) == ids
    assert b"".join(request.body for request in found).decode() == ids
    assert [(request.planned, request.number) for request in found] == [(float(i), i + 1) for i in range(len(poison))]


def test_what_is_repeated_stays_poison() -> None:
    """A broken order that comes twice is broken both times; the one that changed its place is marked."""
    assert [each.poison for each in rearranged(plan("nul", "duplicate_id", None))] == ["nul", "nul", None]
    assert [each.poison for each in rearranged(plan(None, "duplicate_id", None))] == [None, "duplicate_id", None]
    assert [each.poison for each in rearranged(plan("nul", None, "out_of_order"))] == ["nul", "out_of_order", None]


def test_ids_show_their_place_and_are_stable() -> None:
    """Ids are part of every replay: this one may never change."""
    assert request_id(42, 17) == "o-000017-6287e3fa"


def test_ids_are_unique() -> None:
    """Ten thousand requests, ten thousand ids."""
    assert len({request_id(1, index) for index in range(10_000)}) == 10_000
