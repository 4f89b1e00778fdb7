"""Series over time from lines of history and journal."""

import pytest

from testbed.ledger.history import Attempt, Outcome
from testbed.report.recorded import recorded
from testbed.report.series import (
    ArchitectureSeries,
    Grid,
    Window,
    build_series,
    fault_windows,
    make_grid,
    quantile,
    spike_windows,
)


def attempt(planned: float, finished: float | None = None, outcome: str = "acknowledged") -> Attempt:
    return Attempt(
        architecture="sync",
        id=f"order-{planned}",
        planned=planned,
        sent=planned,
        finished=finished,
        outcome=Outcome(outcome),
        trace="",
    )


def hop(t: float, kind: str, **fields: object) -> dict[str, object]:
    return {"t": t, "architecture": "sync", "hop": kind, **fields}


def series_of(history: list[Attempt], journal: list[dict[str, object]]) -> tuple[Grid, ArchitectureSeries]:
    grid, (series,) = build_series(["sync"], recorded(history, journal), {"sync": {}})
    return grid, series


@pytest.mark.parametrize(
    ("end", "width"), [(0.0, 0.25), (12.5, 0.25), (12.6, 0.5), (48.0, 1.0), (90.0, 2.0), (1e6, 2e4)]
)
def test_the_grid_is_as_fine_as_can_still_be_read(end: float, width: float) -> None:
    """No more than fifty bins, and the last of them reaches the end."""
    grid = make_grid(end)
    assert grid.width == width
    assert 1 <= grid.count <= 50
    assert grid.end >= end


def test_every_attempt_counts_once_in_offered_and_once_in_its_outcome() -> None:
    """Rates times the width of a bin add up to the number of orders."""
    history = [attempt(i / 10, i / 10 + 0.3, ["acknowledged", "refused", "unknown"][i % 3]) for i in range(90)]
    grid, series = series_of(history, [])
    totals = [sum(v or 0 for v in values) * grid.width for values in (series.offered, series.accepted, series.refused)]
    assert totals == pytest.approx([90, 30, 30])
    assert sum(v or 0 for v in series.unknown) * grid.width == pytest.approx(30)
    assert [v for v in series.accepted_total if v is not None][-1] == 30


def test_unsent_orders_are_offered_but_have_no_answer() -> None:
    """What the client could not send still counts as traffic."""
    grid, series = series_of([attempt(1.0, None, "unsent")], [])
    assert sum(v or 0 for v in series.offered) * grid.width == pytest.approx(1)
    assert not any(series.accepted)


def test_offered_goes_by_the_plan_and_accepted_by_the_answer() -> None:
    """A slow answer moves the accepted order to a later bin."""
    grid, series = series_of([attempt(0.1, 9.9)], [])
    assert series.offered[0]
    assert not series.accepted[0]
    assert series.accepted[grid.index(9.9)]


def test_stored_counts_the_rows_of_an_insert() -> None:
    """A batch of ten rows is ten orders, and other Postgres events are none."""
    grid, series = series_of(
        [], [hop(1.0, "postgres", event="insert", rows=10), hop(1.0, "postgres", event="connect", rows=7)]
    )
    assert sum(v or 0 for v in series.stored) * grid.width == pytest.approx(10)
    assert series.stored_total[grid.index(1.0)] == 10


def test_a_peak_between_two_ticks_is_kept() -> None:
    """Samples of one bin become their highest: a full database must not be averaged away."""
    samples = [
        hop(40.1, "sample", connections=3),
        hop(40.3, "sample", connections=20),
        hop(40.6, "sample", connections=2),
    ]
    grid, series = series_of([], samples)
    assert series.connections[grid.index(40.3)] == 20


def test_connections_between_two_samples_are_seen() -> None:
    """A burst shorter than the sampling shows in the events of the sessions themselves."""
    burst = [hop(1.05, "postgres", event="connect", open=17), hop(1.2, "postgres", event="close", open=1)]
    grid, series = series_of([], [hop(1.0, "sample", connections=1), hop(1.24, "sample", connections=1), *burst])
    assert series.connections[grid.index(1.1)] == 17


def test_a_bin_without_sample_takes_over_the_one_before_but_the_end_stays_open() -> None:
    """Coarse samples draw a line without holes, and nothing is invented after the last."""
    samples = [hop(0.0, "sample", queue_depth=5), hop(1.0, "sample", queue_depth=9)]
    grid, series = series_of([attempt(3.0, 3.0)], samples)
    assert series.queue_depth[: grid.index(1.0) + 1] == (5, 5, 5, 5, 9)
    assert set(series.queue_depth[grid.index(1.0) + 1 :]) == {None}


def test_concurrency_adds_up_the_functions() -> None:
    """The sample holds a number per function."""
    grid, series = series_of([], [hop(1.0, "sample", concurrency={"api": 3, "worker": 4})])
    assert series.concurrency[grid.index(1.0)] == 7


def test_an_architecture_that_ended_earlier_has_no_values_after_its_end() -> None:
    """On the common axis a finished run is not a run at rate zero."""
    late = Attempt(
        architecture="slow", id="x", planned=0.0, sent=0.0, finished=40.0, outcome=Outcome.ACKNOWLEDGED, trace=""
    )
    grid, (sync, slow) = build_series(["sync", "slow"], recorded([attempt(1.0, 2.0), late], []), {})
    assert sync.offered[grid.index(30)] is None
    assert slow.offered[grid.index(30)] == 0


def test_a_quick_refusal_does_not_improve_the_latency() -> None:
    """Only accepted orders count."""
    _, series = series_of([attempt(0.0, 0.001, "refused"), attempt(0.0, 0.5)], [])
    assert series.latency["p50"][0] == pytest.approx(500)
    assert [ms for _, ms in series.latency_curve] == pytest.approx([500] * len(series.latency_curve))


def test_the_latency_curve_rises_from_the_fastest_to_the_slowest() -> None:
    """Its last point is the largest value that was observed."""
    _, series = series_of([attempt(i / 100, i / 100 + (i + 1) / 1000) for i in range(200)], [])
    values = [ms for _, ms in series.latency_curve]
    assert values == sorted(values)
    assert (values[0], values[-1]) == pytest.approx((1, 200))


def test_a_quantile_is_a_value_that_was_observed() -> None:
    """Nearest rank, as the ledger computes it."""
    assert [quantile([1, 2, 3, 4], q) for q in (0.0, 0.25, 0.5, 0.51, 1.0)] == [1, 1, 2, 3, 4]


def test_a_pause_splits_the_window_of_a_fault() -> None:
    """Two stretches of one fault are two windows; another fault has its own."""
    windows = fault_windows({"slow": [9.5, 1.0, 2.0, 9.0], "throttle": [2.0]})
    assert {(w.name, w.start, w.end, w.count) for w in windows} == {
        ("slow", 1.0, 2.0, 2),
        ("slow", 9.0, 9.5, 2),
        ("throttle", 2.0, 2.0, 1),
    }


def test_the_spike_is_found_where_the_offered_rate_jumps() -> None:
    """Ten times the rate for three of ten seconds."""
    (spike,) = spike_windows(Grid(1.0, 10), (5, 6, 5, 50, 55, 50, 5, 6, 5, None))
    assert (spike.start, spike.end, spike.count) == (3.0, 6.0, 155)


@pytest.mark.parametrize("offered", [(5.0, 6.0, 7.0, 5.0), (0.0, 0.0), (None, None), (1.0, 1.0, 9.0, 1.0)])
def test_even_traffic_and_single_bins_are_no_spike(offered: tuple[float | None, ...]) -> None:
    """Noise is not marked."""
    assert spike_windows(Grid(1.0, len(offered)), offered) == ()


def test_damaged_order_of_the_journal_does_not_matter() -> None:
    """A run without any record still has a grid."""
    grid, (series,) = build_series(["sync"], {}, {})
    assert grid.count == 1
    assert series.latency_curve == ()


def test_a_timed_fault_lasts_from_when_it_began_until_it_ended() -> None:
    """One window for each time, however long; one whose end is not recorded lasts until the last record."""
    marks = [
        hop(t, "fault", fault=fault, event=event)
        for t, fault, event in (
            (1.0, "down", "began"),
            (2.0, "lock", "began"),
            (3.0, "lock", "ended"),
            (5.0, "lock", "began"),
            (9.0, "down", "ended"),
        )
    ]
    _, series = series_of([], [*marks, hop(11.0, "sample")])
    assert series.faults == (Window("down", 1.0, 9.0, 1), Window("lock", 2.0, 3.0, 1), Window("lock", 5.0, 11.0, 1))
