"""Poison messages: orders that no consumer can store, planted in the traffic while it is planned."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from testbed.chaos.decision import draw
from testbed.chaos.fault import Fault
from testbed.errors import UsageError

Order = Mapping[str, Any]
"""The body of an order: a JSON object with an ``"id"`` and at least one field more."""

_ID: Final = "id"  # is left readable in every kind, so that the ledger can tell where the order ended up
_BEYOND_BIGINT: Final = 2**63
_HINT: Final = "docs/faults.md lists the fields of each fault"


def broken_json(body: Order) -> bytes:
    """Cut off before its end: no JSON at all."""
    return _encoded(body)[:-1]


def missing_field(body: Order) -> bytes:
    """Without its last field."""
    absent = _other_fields(body)[-1]
    return _encoded({name: value for name, value in body.items() if name != absent})


def wrong_type(body: Order) -> bytes:
    """One value, a whole number where there is one, is wrapped in a list."""
    name = (_whole_numbers(body) or _other_fields(body))[0]
    return _encoded({**body, name: [body[name]]})


def database_refuses(body: Order) -> bytes:
    """Well-formed and of the right types, but with a value that no integer or text column takes.

    A handler that checks fields and types lets it through, and Postgres (documentation, chapter Data Types) refuses
    it: a whole number beyond ``bigint`` (SQLSTATE 22003), or, in an order without whole numbers, a text with U+0000,
    which Postgres cannot store (psycopg refuses it before the server does).
    """
    numbers = _whole_numbers(body)
    if numbers:
        return _encoded({**body, numbers[0]: _BEYOND_BIGINT})
    name = _other_fields(body)[0]
    return _encoded({**body, name: f"{body[name]}\0"})


KINDS: Final[Mapping[str, Callable[[Order], bytes]]] = {
    function.__name__: function for function in (broken_json, missing_field, wrong_type, database_refuses)
}
"""Each kind of poison by name, as a function from the body of an order to the bytes that are sent instead."""


@dataclass(frozen=True, kw_only=True)
class Poison(Fault):
    """Makes one order in ``every`` unfit to be stored.

    Attributes:
        kinds: Names in `KINDS`; each gets an equal share.
        every: One order in this many is poisoned, spread over the whole plan.

    Raises:
        UsageError: A kind is unknown or named twice, there is none, or ``every`` is below 1.
    """

    kinds: tuple[str, ...] = tuple(KINDS)
    every: int = 100

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise UsageError(f"Poison: kinds={self.kinds} are not some of {', '.join(KINDS)}, each once", _HINT)
        if self.every < 1:
            raise UsageError(f"Poison: every={self.every} is below 1", _HINT)

    def plan(self, seed: int, orders: int) -> "PoisonPlan":
        """Chooses the poisoned ones among ``orders`` orders; depends on the arguments and the fields alone.

        The plan is cut into ``round(orders / every)`` equal parts, and one order of each is poisoned. Kinds follow each
        other in rounds, each round in an order of its own, so that their shares differ by one at most.
        """
        count = round(orders / self.every)
        chosen: dict[int, str] = {}
        for part in range(count):
            start, end = part * orders // count, (part + 1) * orders // count
            index = start + int(draw(seed, "poison", str(part), 1, "index") * (end - start))
            rounds, turn = divmod(part, len(self.kinds))
            chosen[index] = self._shuffled(seed, rounds)[turn]
        return PoisonPlan(chosen)

    def _shuffled(self, seed: int, rounds: int) -> list[str]:
        return sorted(self.kinds, key=lambda kind: draw(seed, "poison", kind, rounds + 1, "kind"))


@dataclass(frozen=True)
class PoisonPlan:
    """Which orders are poisoned, and how.

    Attributes:
        kinds: Index of a poisoned order to its kind.
    """

    kinds: Mapping[int, str]

    def kind_of(self, index: int) -> str | None:
        """The kind of poison of the order at ``index`` of the plan; None for a good order."""
        return self.kinds.get(index)

    def body(self, index: int, order: Order) -> bytes:
        """The bytes to send for the order at ``index``: as JSON when it is good, spoiled when it is not."""
        kind = self.kinds.get(index)
        return _encoded(order) if kind is None else KINDS[kind](order)


def _encoded(body: Order) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _other_fields(body: Order) -> list[str]:
    return [name for name in body if name != _ID]


def _whole_numbers(body: Order) -> list[str]:
    return [name for name in _other_fields(body) if isinstance(body[name], int) and not isinstance(body[name], bool)]
