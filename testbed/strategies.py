"""Hypothesis strategies for faults, triggers and traffic, for any test; they need the extra ``search``.

All of them shrink towards what is easier to understand: fewer faults, a lower probability, a shorter window, fewer
orders.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from itertools import product
from operator import add, and_, or_
from random import Random
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from testbed.chaos import trigger
from testbed.chaos.fault import CallFault, Fault, Window
from testbed.chaos.faults.database_busy import ConnectionsHogged, LockHeld
from testbed.chaos.faults.delivery import EarlyVisibility, LateDelivery
from testbed.chaos.faults.duplicate import Duplicate
from testbed.chaos.faults.environment_lost import EnvironmentKilled, OutOfMemory, SlowColdStart
from testbed.chaos.faults.invocation import InvocationDelay, InvocationError, InvocationHttpResponse
from testbed.chaos.faults.latency import Latency
from testbed.chaos.faults.lost_reply import LostReply, Unreachable
from testbed.chaos.faults.part_down import PartDown
from testbed.chaos.faults.partial_failure import BATCHES, PartialFailure
from testbed.chaos.faults.postgres_connection import PostgresBlackHole, PostgresRefused, PostgresReset
from testbed.chaos.faults.service_error import ServiceError
from testbed.chaos.faults.slow_postgres import PostgresBandwidth, SlowPostgres
from testbed.chaos.faults.sql_error import SqlError
from testbed.chaos.faults.taken_away import ConcurrencyTaken, MappingOff
from testbed.chaos.faults.throttle import Throttle
from testbed.chaos.timed import TimedFault
from testbed.chaos.trigger import Trigger
from testbed.errors import UsageError
from testbed.load.arrivals import Arrivals, Constant, Poisson, Ramp
from testbed.scenario import Traffic

Hop = tuple[str, str, str]
"""Service, operation and resource of calls, as in `testbed.chaos.call.Call`; an empty resource stands for all."""

_Where = Mapping[str, Any]

PROBABILITIES: Final = (0.1, 0.25, 0.5, 1.0)
_MILLISECONDS: Final = (100.0, 1000.0, 3000.0)
_PARTS: Final = 4  # of the traffic, between which windows begin and end
_NO_RESOURCE: Final = frozenset({"execute-api", "postgres"})  # an API's id and a database's name are a deployment's own


@dataclass(frozen=True, kw_only=True)
class Surface:
    """What of a deployment faults can hit; whatever is not there, no fault is made for.

    Attributes:
        calls: The calls that it makes, for example ``("sqs", "SendMessage", "orders")``, invokes as
            ``("lambda", "Invoke", "store")``, requests as ``("execute-api", "POST", "")``, Postgres as
            ``("postgres", "", "")``.
        consumers: Functions with an event source mapping.
        tables: Tables of its database.
    """

    calls: Sequence[Hop]
    consumers: Sequence[str] = ()
    tables: Sequence[str] = ()

    @property
    def functions(self) -> list[str]:
        """Functions that are invoked."""
        return sorted({resource for service, _, resource in self.calls if service == "lambda" and resource})

    @property
    def has_postgres(self) -> bool:
        """Whether it talks to Postgres."""
        return any(service == "postgres" for service, _, _ in self.calls)


def faults(
    surface: Surface, *, seconds: float, kinds: Collection[type[Fault]] = (), most: int = 3
) -> SearchStrategy[list[Fault]]:
    """Lists of one to ``most`` faults that can hit ``surface``, each with a name of what it does and to what.

    Args:
        surface: What there is to hit.
        seconds: How long the traffic takes: faults act within it, in windows that begin and end at quarters of it.
        kinds: Which faults; empty for every kind that can hit something there. `Poison` is a matter of the traffic,
            and is none of them.
        most: Faults in a list.

    Raises:
        UsageError: No fault of these kinds can hit anything there.
    """
    made = [_MAKERS[kind](kind, surface, seconds) for kind in _MAKERS if kind in (kinds or _MAKERS)]
    usable = [each for each in made if each is not None]
    if not usable:
        names = ", ".join(kind.__name__ for kind in kinds) or "any kind"
        raise UsageError(f"no fault of {names} can hit what is deployed", "see that it has traffic, and what it calls")
    chosen = st.lists(st.one_of(usable), min_size=1, max_size=most)
    return chosen.map(lambda found: list({fault.name: fault for fault in found}.values()))


def triggers(*, seconds: float = 10.0, names: Mapping[str, Sequence[str]] | None = None) -> SearchStrategy[Trigger]:
    """Triggers, and what ``&``, ``|`` and ``~`` make of them.

    Args:
        seconds: Windows end at this time.
        names: Names to select by, for example ``{"operation": ["SendMessage"], "function": ["store"]}``.
    """
    counts = st.integers(1, 10)
    leaves = st.one_of(
        st.sampled_from(PROBABILITIES).map(trigger.probability),
        _windows(seconds).map(lambda pair: trigger.window(*pair)),
        st.builds(trigger.attempts, counts),
        *(st.builds(kind, counts) for kind in (trigger.nth, trigger.every_nth, trigger.at_most)),
        counts.map(lambda n: trigger.rate(float(n))),
        *(_selectors(kind, known) for kind, known in (names or {}).items()),
    )
    return st.recursive(
        leaves,
        lambda parts: st.one_of(
            st.tuples(parts, parts).map(lambda pair: and_(*pair)),
            st.tuples(parts, parts).map(lambda pair: or_(*pair)),
            parts.map(lambda part: ~part),
        ),
        max_leaves=4,
    )


def _selectors(kind: str, known: Sequence[str]) -> SearchStrategy[Trigger]:
    chosen = st.lists(st.sampled_from(known), min_size=1, unique=True)
    return chosen.map(lambda names: trigger.trigger_from_json({kind: names}))


def arrivals(*, rate: int = 50, seconds: int = 5, stages: int = 2) -> SearchStrategy[Arrivals]:
    """Arrival processes of one to ``stages`` stages, each of at most ``rate`` per second for at most ``seconds``."""
    rates, lengths = st.integers(1, rate).map(float), st.integers(1, seconds).map(float)
    stage = st.one_of(
        st.builds(Constant, rate=rates, seconds=lengths),
        st.builds(Poisson, rate=rates, seconds=lengths),
        st.builds(Ramp, from_rate=rates, to_rate=rates, seconds=lengths),
    )
    return st.lists(stage, min_size=1, max_size=stages).map(lambda parts: reduce(add, parts))


def traffic(
    order: Callable[[str, Random], Mapping[str, Any]] = lambda order_id, _: {"id": order_id},
    *,
    rate: int = 50,
    seconds: int = 5,
    path: str = "/orders",
) -> SearchStrategy[Traffic]:
    """Traffic of `arrivals`, with the orders that ``order`` makes; see `testbed.scenario.Traffic`."""
    return arrivals(rate=rate, seconds=seconds).map(lambda process: Traffic(arrivals=process, order=order, path=path))


def _windows(seconds: float) -> SearchStrategy[Window]:
    pairs = ((start, start + length) for length in range(1, _PARTS + 1) for start in range(_PARTS - length + 1))
    quarter = seconds / _PARTS
    return st.sampled_from([(round(start * quarter, 3), round(end * quarter, 3)) for start, end in pairs])


_Maker = Callable[[Any, Surface, float], SearchStrategy[Fault] | None]
"""Makes the strategy of one kind, given the seconds of the traffic; None where it has nothing to hit.

A fault takes three choices at most: Hypothesis deletes no more than five at once, and each costs a search some tries.
"""


def _variants(targets: Iterable[_Where], more: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The fields of each target with each combination of the values that other fields can take."""
    rests = [dict(zip(more, values, strict=True)) for values in product(*more.values())]
    return [{**target, **rest} for target in targets for rest in rests]


def _on_calls(accepts: Callable[[Hop], bool], **more: Sequence[Any]) -> _Maker:
    """Faults of calls that ``accepts`` accepts; ``more`` has the values that other fields can take."""

    def made(kind: type[CallFault], surface: Surface, seconds: float) -> SearchStrategy[Fault] | None:
        own = {field.name for field in fields(kind) if field.init}
        targets = [_selecting(kind, hop, own) for hop in sorted(set(filter(accepts, surface.calls)))]

        def build(variant: _Where, chance: float, during: Window) -> Fault:
            return kind(**variant, probability=chance, during=during)

        variants = _variants(targets, more)
        chances = st.sampled_from(PROBABILITIES)
        return st.builds(build, st.sampled_from(variants), chances, _windows(seconds)) if variants else None

    return made


def _selecting(kind: type[CallFault], hop: Hop, own: Collection[str]) -> _Where:
    service, operation, resource = hop
    where: dict[str, Any] = {"name": _named(kind, hop)}
    if "service" in own:
        where["service"] = service
    if operation and "operations" in own:
        where["operations"] = (operation,)
    if resource and service not in _NO_RESOURCE:
        where["resources"] = (resource,)
    return where


def _at_times(targets: Callable[[Surface], Iterable[_Where]], **more: Sequence[Any]) -> _Maker:
    """Timed faults of what ``targets`` finds, as fields; ``more`` has the values that other fields can take."""

    def made(kind: type[TimedFault], surface: Surface, seconds: float) -> SearchStrategy[Fault] | None:
        named = [{"name": _named(kind, target.values()), **target} for target in targets(surface)]

        def build(variant: _Where, during: Window) -> Fault:
            start, end = during
            return kind(**variant, at=start, seconds=round(end - start, 3))

        variants = _variants(named, more)
        return st.builds(build, st.sampled_from(variants), _windows(seconds)) if variants else None

    return made


def _named(kind: type[Fault], parts: Iterable[str]) -> str:
    """A name that stays when other faults of the list go, so that the decisions of this one stay."""
    return "-".join([kind.__name__, *filter(None, parts)])


def _is_aws(hop: Hop) -> bool:
    return not _is_postgres(hop)


def _is_invoke(hop: Hop) -> bool:
    return hop[0] == "lambda" and hop[1] == "Invoke"


def _is_postgres(hop: Hop) -> bool:
    return hop[0] == "postgres"


def _is_repeatable(hop: Hop) -> bool:
    return hop[0] not in {"postgres", "execute-api"}


def _if_postgres(surface: Surface, **target: Any) -> list[_Where]:
    return [target] if surface.has_postgres else []


_MAKERS: Final[Mapping[type[Fault], _Maker]] = {
    Throttle: _on_calls(_is_aws),
    ServiceError: _on_calls(_is_aws, position=("instead", "after")),
    Latency: _on_calls(_is_aws, latency_ms=_MILLISECONDS, position=("before", "after")),
    LostReply: _on_calls(_is_aws),
    Unreachable: _on_calls(_is_aws),
    PartialFailure: _on_calls(lambda hop: hop[1] in BATCHES.get(hop[0], ()), share=(0.25, 0.5, 1.0)),
    Duplicate: _on_calls(_is_repeatable),
    EarlyVisibility: _on_calls(lambda hop: hop[:2] == ("sqs", "ReceiveMessage"), after=(0, 1)),
    LateDelivery: _on_calls(lambda hop: hop[0] == "sqs" and hop[1].startswith("SendMessage"), seconds=(1, 3)),
    InvocationError: _on_calls(_is_invoke, prevent_execution=(True, False)),
    InvocationHttpResponse: _on_calls(_is_invoke, prevent_execution=(True, False)),
    EnvironmentKilled: _on_calls(_is_invoke, moment=("before", "during", "after")),
    OutOfMemory: _on_calls(_is_invoke),
    SlowColdStart: _on_calls(_is_invoke, seconds=(1.0, 3.0)),
    InvocationDelay: _on_calls(_is_invoke, seconds=(1.0, 3.0)),
    SlowPostgres: _on_calls(_is_postgres, latency_ms=_MILLISECONDS),
    PostgresBandwidth: _on_calls(_is_postgres, bytes_per_second=(1000.0,)),
    SqlError: _on_calls(_is_postgres, sqlstate=("40001", "57P01")),
    PostgresReset: _on_calls(_is_postgres, position=("before", "after")),
    PostgresRefused: _on_calls(_is_postgres, sqlstate=("53300", "")),
    PostgresBlackHole: _on_calls(_is_postgres, seconds=(1.0, 3.0)),
    ConcurrencyTaken: _at_times(lambda surface: [{"function": name} for name in surface.functions], left=(1, 0)),
    MappingOff: _at_times(lambda surface: [{"function": name} for name in surface.consumers]),
    ConnectionsHogged: _at_times(_if_postgres, left=(2, 0)),
    LockHeld: _at_times(lambda surface: [{"table": name} for name in surface.tables]),
    PartDown: _at_times(lambda surface: _if_postgres(surface, part="postgres"), action=("pause", "disconnect")),
}
"""How each kind of fault is made, the simplest first."""

KINDS: Final = tuple(_MAKERS)
"""The kinds of faults that `faults` makes."""
