"""Child processes and containers are the same testbed: one seed decides the same on both."""

import pytest
from engines import ENGINES, MODES
from sale import Fate, Sale, sale_on

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(ENGINES.missing), reason=f"not tested here: {dict(ENGINES.missing)}"),
]
ARCHITECTURES = ["sync", "buffered-sqs", "buffered-kinesis"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[Sale]:
    """The same sale on each engine."""
    return [sale_on(mode, tmp_path_factory.mktemp(mode)) for mode in MODES]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_calls_are_hit(both: list[Sale], architecture: str) -> None:
    """Each fault hits the same attempts of the same invokes, SendMessage and PutRecord calls."""
    process, container = (sale.decided(architecture) for sale in both)
    assert len(process) > 10
    assert process == container


@pytest.mark.parametrize("architecture", ["buffered-sqs", "buffered-kinesis"])
def test_every_buffered_order_meets_the_same_fate(both: list[Sale], architecture: str) -> None:
    """All are accepted; the good ones are stored, the poison is dead-lettered."""
    process, container = (sale.fates[architecture] for sale in both)
    assert process == container
    for fate in process.values():
        assert fate == Fate("acknowledged", None, "dead-lettered" if fate.poison else "stored", fate.poison)


def test_every_order_that_the_seed_refuses_is_refused_alike(both: list[Sale]) -> None:
    """Throttled invokes, and poison that needs no database to be seen: the connection limit is a matter of timing."""
    process, container = (refused_by_seed(sale) for sale in both)
    assert process == container
    assert {(fate.outcome, fate.where) for fate in process.values()} == {("refused", "nowhere")}
    assert {fate.error for fate in process.values()} == {None, "invalid order"}


def refused_by_seed(sale: Sale) -> dict[str, Fate]:
    """The orders that `sync` cannot take whatever the timing."""
    throttled = sale.throttled("sync")
    return {
        order: fate
        for order, fate in sale.fates["sync"].items()
        if order in throttled or fate.poison not in {None, "database_refuses"}
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_orders_are_poison_and_none_is_stored(both: list[Sale], architecture: str) -> None:
    """Of each kind."""
    process, container = (
        {order: fate for order, fate in sale.fates[architecture].items() if fate.poison} for sale in both
    )
    assert {order: fate.poison for order, fate in process.items()} == {
        order: fate.poison for order, fate in container.items()
    }
    assert {fate.where for found in (process, container) for fate in found.values()} <= {"nowhere", "dead-lettered"}
