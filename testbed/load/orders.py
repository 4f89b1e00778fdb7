"""The requests of a run: who, when and what, all from the seed."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One planned request.

    Attributes:
        id: What it is followed by through every architecture.
        planned: When it is due, in seconds after the start of the traffic.
        method: HTTP method.
        url_path: Path and query; it starts with a slash and follows the base URL.
        headers: HTTP headers, for example the content type.
        body: HTTP body.
        poison: Kind of poison, see `testbed.chaos.faults.poison_kinds`; None for an ordinary one.
        number: Its number in the plan, the first is 1.
    """

    id: str
    planned: float
    method: str
    url_path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    poison: str | None = None
    number: int = 0


def plan_requests(times: Sequence[float], seed: int, build: Callable[[str, float, Random], Request]) -> list[Request]:
    """The requests for these planned times.

    Args:
        times: Planned times in seconds, see `testbed.load.arrivals.Arrivals.plan`.
        seed: The same seed gives the same requests.
        build: Makes a request from its id, its planned time and a source of randomness of its own, so that no
            request depends on how much randomness another one took.
    """
    return [
        replace(
            build(request_id(seed, index), planned, Random(f"request/{seed}/{index}")),  # noqa: S311 - must be repeatable
            number=index + 1,
        )
        for index, planned in enumerate(times)
    ]


def rearranged(requests: Sequence[Request]) -> list[Request]:
    """The plan with the orders that are poison only by where they stand in it.

    A ``duplicate_id`` becomes the order before it once more, under the same id. An ``out_of_order`` changes places with
    the order before it. The first order of a plan has the second in place of one before it; a plan of one stays as it
    is. Times and numbers stay where they are.
    """
    placed = list(requests)
    for index, request in enumerate(requests):
        other = index - 1 if index else 1
        if other >= len(placed):
            break
        if request.poison == "duplicate_id":
            placed[index] = _moved(placed[other], request, poison=placed[other].poison or request.poison)
        elif request.poison == "out_of_order":
            here, there = placed[index], placed[other]
            placed[index], placed[other] = _moved(there, here, there.poison), _moved(here, there, here.poison)
    return placed


def _moved(request: Request, place: Request, poison: str | None) -> Request:
    return replace(request, planned=place.planned, number=place.number, poison=poison)


def request_id(seed: int, index: int) -> str:
    """Id of the request at position ``index`` of the plan, for example ``"o-000017-5f3a90bc"``.

    The number is for people; the digest keeps ids of different seeds apart.
    """
    digest = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=4).hexdigest()
    return f"o-{index:06d}-{digest}"
