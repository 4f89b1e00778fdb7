"""The requests of a run: who, when and what, all from the seed."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
        poison: Kind of poison in the body; None for a well-formed one.
    """

    id: str
    planned: float
    method: str
    url_path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    poison: str | None = None


def plan_requests(times: Sequence[float], seed: int, build: Callable[[str, float, Random], Request]) -> list[Request]:
    """The requests for these planned times.

    Args:
        times: Planned times in seconds, see `testbed.load.arrivals.Arrivals.plan`.
        seed: The same seed gives the same requests.
        build: Makes a request from its id, its planned time and a source of randomness of its own, so that no
            request depends on how much randomness another one took.
    """
    return [
        build(request_id(seed, index), planned, Random(f"request/{seed}/{index}"))  # noqa: S311 - must be repeatable
        for index, planned in enumerate(times)
    ]


def request_id(seed: int, index: int) -> str:
    """Id of the request at position ``index`` of the plan, for example ``"o-000017-5f3a90bc"``.

    The number is for people; the digest keeps ids of different seeds apart.
    """
    digest = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=4).hexdigest()
    return f"o-{index:06d}-{digest}"
