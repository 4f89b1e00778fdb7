"""Poison messages: orders that no consumer can store, or that are odd, planted in the traffic while it is planned."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from testbed.chaos.decision import draw
from testbed.chaos.fault import Fault
from testbed.chaos.faults.environment_lost import EnvironmentKilled
from testbed.chaos.faults.invocation import InvocationDelay
from testbed.chaos.faults.poison_kinds import COMMON, KINDS, Order, encoded
from testbed.chaos.trigger import key

_NEVER: Final = 100_000.0  # seconds: longer than any function may take


@dataclass(frozen=True, kw_only=True)
class Poison(Fault):
    """Makes one order in ``every`` unfit to be stored, or odd.

    Exactly ``round(orders / every)`` of them, spread over the whole plan, each kind equally often. Which ones depends
    on the seed and the number of orders alone. A consumer must put the unfit ones aside without losing their
    neighbours; those of the kinds that are fit must be stored, once.

    Attributes:
        kinds: Some of the [kinds of poison](#kinds-of-poison); each gets an equal share.
        every: One order in this many is poisoned, spread over the whole plan.
        functions: Names of the functions that ``crashes`` and ``never_returns`` act on; empty is each function that is
            invoked with such an order, alone or in a batch.

    Raises:
        UsageError: A kind is unknown or named twice, there is none, or ``every`` is below 1.
    """

    kinds: tuple[str, ...] = COMMON
    every: int = 100
    functions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise self.refused(f"kinds={self.kinds} are not some of {', '.join(KINDS)}, each once")
        if self.every < 1:
            raise self.refused(f"every={self.every} is below 1")

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

    def of_invokes(self, poisoned: Iterable[tuple[str, str]]) -> list[Fault]:
        """The faults of invokes that stand behind ``crashes`` and ``never_returns``.

        Args:
            poisoned: Kind and id of each poisoned order.
        """
        ids: dict[str, list[str]] = {}
        for kind, order_id in poisoned:
            ids.setdefault(kind, []).append(order_id)
        name = self.name or "poison"
        where: dict[str, dict[str, Any]] = {
            kind: {"resources": self.functions, "when": key(*those)} for kind, those in ids.items()
        }
        faults: list[Fault] = []
        if "crashes" in where:
            faults.append(EnvironmentKilled(name=f"{name}-crashes", moment="before", **where["crashes"]))
        if "never_returns" in where:
            faults.append(InvocationDelay(name=f"{name}-never-returns", seconds=_NEVER, **where["never_returns"]))
        return faults

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
        return encoded(order) if kind is None else KINDS[kind](order)
