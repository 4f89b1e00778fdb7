"""From the records of history and journal to series over time, one set per architecture.

Pure: no files, no clock. All architectures share one grid of equal bins, so their pictures share one time axis.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

from testbed.ledger.history import Outcome
from testbed.report.recorded import Recorded

QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1.0}
_WIDTHS: Final = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
_MOST_BINS: Final = 50
_GAP: Final = 3.0  # seconds without a fault that end a window: longer than any retry's backoff at work
_SPIKE: Final = 3.0  # times the quiet rate that count as a spike

Values = tuple[float | None, ...]
"""One value per bin; None where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Equal bins from 0, the start of the traffic.

    Attributes:
        width: Seconds per bin.
        count: Number of bins.
    """

    width: float
    count: int

    @property
    def end(self) -> float:
        """Seconds after the start at which the last bin ends."""
        return self.width * self.count

    def index(self, t: float) -> int:
        """The bin of ``t`` seconds; what lies outside counts in the first or last bin."""
        return min(max(int(t / self.width), 0), self.count - 1)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time in which something happened.

    Attributes:
        name: Of the fault, or ``"spike"``.
        start: Seconds after the start of the traffic.
        end: Likewise.
        count: How often it happened.
    """

    name: str
    start: float
    end: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureSeries:
    """All series of one architecture.

    Attributes:
        name: Of the architecture.
        end: When its last record was made, in seconds.
        offered: Orders per second by planned time; accepted, refused, unknown by the time of the answer.
        stored: Rows per second by the time of the insert.
        accepted_total: Orders acknowledged so far; stored_total: rows inserted so far.
        queue_depth: Records waiting; the highest of each bin, as connections and concurrency.
        connections: Sessions open at the database, by the samples and by every event in between.
        concurrency: Executions running at once, all functions together.
        latency: Per name of a quantile: milliseconds from planned to acknowledged, by planned time.
        latency_curve: (quantile, milliseconds) over the whole run, rising.
        faults: Windows in which faults fired or lasted, by name.
        spikes: Windows in which far more orders than usual were planned.
        causes: Orders that were not accepted, by cause, most frequent first.
        poison: Orders of each kind of poison.
    """

    name: str
    end: float
    offered: Values
    accepted: Values
    refused: Values
    unknown: Values
    stored: Values
    accepted_total: Values
    stored_total: Values
    queue_depth: Values
    connections: Values
    concurrency: Values
    latency: Mapping[str, Values]
    latency_curve: tuple[tuple[float, float], ...]
    faults: tuple[Window, ...]
    spikes: tuple[Window, ...]
    causes: Mapping[str, int]
    poison: Mapping[str, int]


def build_series(
    architectures: Sequence[str], recorded: Mapping[str, Recorded], causes: Mapping[str, Mapping[str, int]]
) -> tuple[Grid, list[ArchitectureSeries]]:
    """The common grid and the series of ``architectures``, in that order."""
    records = {name: recorded.get(name) or Recorded() for name in architectures}
    grid = make_grid(max((each.end for each in records.values()), default=0.0))
    return grid, [_architecture(grid, name, each, causes.get(name, {})) for name, each in records.items()]


def make_grid(end: float) -> Grid:
    """The finest grid up to ``end`` seconds that still has few enough bins to be read."""
    width = next((w for w in _WIDTHS if end / w <= _MOST_BINS), end / _MOST_BINS)
    return Grid(width, max(1, math.ceil(end / width)))


def quantile(ordered: Sequence[float], q: float) -> float:
    """The value that a share ``q`` of ``ordered`` (rising, not empty) does not exceed: nearest rank."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def fault_windows(faults: Mapping[str, Iterable[float]], gap: float = _GAP) -> tuple[Window, ...]:
    """Per fault, given when it fired, the stretches with less than ``gap`` seconds between two times."""
    windows = []
    for name, times in faults.items():
        fired = sorted(max(0.0, t) for t in times)
        cuts = [0, *(i for i, (a, b) in enumerate(pairwise(fired), 1) if b - a > gap), len(fired)]
        windows += [Window(name, fired[a], fired[b - 1], b - a) for a, b in pairwise(cuts)]
    return tuple(windows)


def spike_windows(grid: Grid, offered: Values) -> tuple[Window, ...]:
    """Stretches of two bins or more in which the offered rate is far above the quiet rate of the run."""
    rates = [rate or 0.0 for rate in offered]
    busy = sorted(rate for rate in rates if rate)
    if not busy or busy[-1] < _SPIKE * quantile(busy, 0.25):
        return ()
    threshold = math.sqrt(busy[-1] * quantile(busy, 0.25))
    above = [rate > threshold for rate in rates]
    edges = [i for i, (a, b) in enumerate(pairwise([False, *above, False])) if a != b]
    return tuple(
        Window("spike", a * grid.width, b * grid.width, round(sum(rates[a:b]) * grid.width))
        for a, b in zip(edges[::2], edges[1::2], strict=True)
        if b - a > 1
    )


def _architecture(grid: Grid, name: str, records: Recorded, causes: Mapping[str, int]) -> ArchitectureSeries:
    live = grid.index(records.end) + 1

    def until_end(values: Sequence[float | None]) -> Values:
        return (*values[:live], *[None] * (grid.count - live))

    def rate(counts: Sequence[float]) -> Values:
        return until_end([count / grid.width for count in counts])

    answered = {outcome: _count(grid, ((t, 1) for t in records.answered[outcome])) for outcome in Outcome}
    inserts = _count(grid, records.inserts)
    offered = rate(_count(grid, ((t, 1) for t in records.planned)))
    return ArchitectureSeries(
        name=name,
        end=records.end,
        offered=offered,
        accepted=rate(answered[Outcome.ACKNOWLEDGED]),
        refused=rate(answered[Outcome.REFUSED]),
        unknown=rate(answered[Outcome.UNKNOWN]),
        stored=rate(inserts),
        accepted_total=until_end(list(accumulate(answered[Outcome.ACKNOWLEDGED]))),
        stored_total=until_end(list(accumulate(inserts))),
        queue_depth=_peaks(grid, records.queue_depth),
        connections=_peaks(grid, records.connections),
        concurrency=_peaks(grid, records.concurrency),
        latency=_latency_over_time(grid, records.latency),
        latency_curve=_curve([ms for _, ms in records.latency]),
        faults=(*fault_windows(records.faults), *_lasting(records)),
        spikes=spike_windows(grid, offered),
        causes=dict(sorted(causes.items(), key=lambda item: -item[1])),
        poison=records.poison,
    )


def _lasting(records: Recorded) -> list[Window]:
    """Timed faults; one whose end nobody has written down lasted until the last record."""
    return [
        Window(name, max(0.0, start), records.end if end is None else end, 1)
        for name, spans in records.lasting.items()
        for start, end in spans
    ]


def _count(grid: Grid, events: Iterable[tuple[float, float]]) -> list[float]:
    counts = [0.0] * grid.count
    for t, weight in events:
        counts[grid.index(t)] += weight
    return counts


def _peaks(grid: Grid, samples: Iterable[tuple[float, float]]) -> Values:
    """The highest sample of each bin; a bin between two samples takes over the one before it."""
    peaks: list[float | None] = [None] * grid.count
    for t, value in samples:
        i = grid.index(t)
        peaks[i] = max(value, peaks[i] or 0.0)
    measured = [i for i, value in enumerate(peaks) if value is not None]
    for before, after in pairwise(measured):
        for i in range(before + 1, after):
            peaks[i] = peaks[before]
    return tuple(peaks)


def _latency_over_time(grid: Grid, latencies: Iterable[tuple[float, float]]) -> dict[str, Values]:
    bins: list[list[float]] = [[] for _ in range(grid.count)]
    for planned, latency in latencies:
        bins[grid.index(planned)].append(latency)
    for values in bins:
        values.sort()
    return {name: tuple(quantile(values, q) if values else None for values in bins) for name, q in QUANTILES.items()}


def _curve(latencies: list[float]) -> tuple[tuple[float, float], ...]:
    """Quantiles spaced evenly in nines (0.9, 0.99, ...), as far as the number of orders carries."""
    if not latencies:
        return ()
    ordered = sorted(latencies)
    most = math.log10(len(ordered)) if len(ordered) > 1 else 0.0
    steps = [1 - 10 ** (-most * i / 60) for i in range(61)]
    return (*((q, quantile(ordered, q)) for q in steps[:-1]), (steps[-1], ordered[-1]))
