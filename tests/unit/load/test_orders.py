"""Requests depend on the seed and their place in the plan."""

from random import Random

from testbed.load.orders import Request, plan_requests, request_id


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


def test_ids_show_their_place_and_are_stable() -> None:
    """Ids are part of every replay: this one may never change."""
    assert request_id(42, 17) == "o-000017-6287e3fa"


def test_ids_are_unique() -> None:
    """Ten thousand requests, ten thousand ids."""
    assert len({request_id(1, index) for index in range(10_000)}) == 10_000
