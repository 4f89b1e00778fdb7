"""Small pure functions that draw charts as inline SVG.

Colours, dashes and fonts come from the style sheet of the page by class name, so that one drawing serves light, dark
and print. Text is built as elements, never pasted, so that nothing needs escaping by hand.
"""

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from markupsafe import Markup

from testbed.report.series import Grid, Values, Window

WIDTH: Final = 420
NOTHING: Final = "\N{EN DASH}"
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 16, 22
_ROOM: Final = 70  # two labels side by side
_PERCENTILES: Final = {0.0: "min", 0.5: "p50", 0.9: "p90", 0.99: "p99", 0.999: "p99.9", 0.9999: "p99.99"}
_FEW_DECADES: Final = 2
_TICK_STEPS: Final = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a time chart.

    Attributes:
        style: Class of the style sheet: colour and dash.
        label: For the read-out.
        values: One per bin.
        area: Filled down to the axis.
    """

    style: str
    label: str
    values: Values
    area: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeChart:
    """One chart over time.

    Attributes:
        title: For assistive technology: what is shown, of which architecture.
        description: The numbers in a sentence, for the same readers.
        grid: Bins of every line.
        lines: Drawn in order, the last one on top.
        top: Highest value of the axis, shared by charts that are to be compared.
        unit: For the read-out, for example ``"/s"``.
        floor: Lowest value of the axis; above 0 the axis is logarithmic and reads as milliseconds.
        limit: A level that cannot be passed, and its label.
        spikes: Shaded behind everything.
        faults: Marked along the upper edge.
        peak: Mark the highest value of the last line.
    """

    title: str
    description: str
    grid: Grid
    lines: Sequence[Line]
    top: float
    unit: str = ""
    floor: float = 0.0
    limit: tuple[float, str] | None = None
    spikes: Sequence[Window] = ()
    faults: Sequence[Window] = ()
    peak: bool = False
    height: int = 150


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where data lies on the drawing: ``x`` and ``y`` turn data into user units."""

    x: Callable[[float], float]
    y: Callable[[float], float]
    bottom: float
    right: float = field(default=WIDTH - _RIGHT)


def draw_time_chart(chart: TimeChart) -> Markup:
    """The chart as an ``svg`` element; hovering reads it out (see hover.js)."""
    scale = _logarithmic if chart.floor else _linear
    bottom = chart.height - _BOTTOM
    frame = _Frame(
        _linear(0, chart.grid.end, _LEFT, WIDTH - _RIGHT), scale(chart.floor, chart.top, bottom, _TOP), bottom
    )
    svg = _root(chart.title, chart.description, chart.height)
    _shade(svg, frame, chart.spikes, chart.faults)
    _y_axis(svg, frame, _time_levels(chart.floor, chart.top) if chart.floor else levels(chart.top))
    _time_axis(svg, frame, chart.grid.end)
    for line in chart.lines:
        _draw_line(svg, frame, chart.grid, line)
    if chart.limit:
        _limit(svg, frame, *chart.limit)
    if chart.peak and chart.lines:
        _mark_peak(svg, frame, chart.grid, chart.lines[-1])
    if not any(value for line in chart.lines for value in line.values):
        middle = (_LEFT + frame.right) / 2
        _add(svg, "text", "nothing", "none at any time", x=middle, y=bottom / 2 + 8, text_anchor="middle")
    svg.set("data-read", _read_out(chart))
    svg.set("tabindex", "0")
    return _markup(svg)


def draw_lanes(title: str, grid: Grid, windows: Sequence[Window], lanes: Sequence[str]) -> Markup:
    """One lane per name, a bar where it happened and how often: what was done to the architecture, and when."""
    row = 30
    bottom = row * max(1, len(lanes))
    frame = _Frame(_linear(0, grid.end, _LEFT, WIDTH - _RIGHT), _linear(0, 1, 0, 1), bottom)
    said = "; ".join(f"{w.name}: {w.count:,}, from {w.start:.1f} s to {w.end:.1f} s" for w in windows)
    svg = _root(title, said or "Nothing.", bottom + _BOTTOM)
    _time_axis(svg, frame, grid.end)
    for i, lane in enumerate(lanes):
        own = [w for w in windows if w.name == lane]
        _add(svg, "text", "lane", _lane_label(lane, own), x=_LEFT, y=row * i + 14)
        for window in own:
            x, x2 = frame.x(window.start), frame.x(window.end)
            style = "lane-spike" if lane == "spike" else "lane-fault"
            _add(svg, "rect", style, x=x, y=row * i + 19, width=max(2.0, x2 - x), height=5)
    return _markup(svg)


def _lane_label(lane: str, windows: Sequence[Window]) -> str:
    count = sum(window.count for window in windows)
    if lane == "spike":
        return f"spike: {count:,} orders"
    return f"{lane}: fired {count:,} times" if count > 1 else f"{lane}: fired once"


def draw_percentiles(title: str, description: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> Markup:
    """Latency against the share of orders, one curve each, on an axis that gives every nine the same room."""
    width, height = 520, 240
    bottom, right = height - _BOTTOM, width - _RIGHT
    points = [(_nines(q), ms) for curve in curves.values() for q, ms in curve]
    floor, top = decade_below(ms for _, ms in points), max([10.0, *(ms for _, ms in points)])
    x = _linear(0, max([2.0, *(nines for nines, _ in points)]), _LEFT, right)
    frame = _Frame(x, _logarithmic(floor, top, bottom, _TOP), bottom, right)
    svg = _root(title, description, height, width)
    _y_axis(svg, frame, _time_levels(floor, top))
    for q, label in _PERCENTILES.items():
        if x(_nines(q)) <= right:
            _tick(svg, frame, x(_nines(q)), label)
    for i, curve in enumerate(curves.values()):
        if curve:
            _add(svg, "path", f"line arch-{i % 6}", d=_path((x(_nines(q)), frame.y(ms)) for q, ms in curve))
    return _markup(svg)


def _nines(q: float) -> float:
    return -math.log10(1 - q)


def draw_swatch(style: str) -> Markup:
    """The key of a legend: a short piece of the line."""
    svg = ET.Element("svg", {"viewBox": "0 0 22 8", "class": "swatch", "aria-hidden": "true"})
    _add(svg, "path", f"line {style}", d="M0 4H22")
    return _markup(svg)


def levels(top: float, wanted: int = 5) -> list[tuple[float, str]]:
    """Round levels from 0 to ``top`` with their labels, about ``wanted`` of them."""
    if top <= 0:
        return [(0.0, "0")]
    magnitude = 10 ** math.floor(math.log10(top / wanted))
    step = next(magnitude * m for m in (*_TICK_STEPS, 10) if top / (magnitude * m) <= wanted)
    return [(i * step, short(i * step)) for i in range(int(top / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A number as short as an axis needs it: 0.5, 250, 1.5k, 2M."""
    for unit, size in (("M", 1e6), ("k", 1e4)):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else 1e6):g}{unit}"
    return f"{value:,g}" if value < 1 else f"{value:,.10g}"


def duration(milliseconds: float | None) -> str:
    """A latency for people: 0.4 ms, 12 ms, 1.25 s."""
    if milliseconds is None:
        return NOTHING
    if milliseconds >= 1000:  # noqa: PLR2004 - a second
        return f"{milliseconds / 1000:.3g} s" if milliseconds < 1e5 else f"{milliseconds / 1000:,.0f} s"  # noqa: PLR2004 - 100 s
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"  # noqa: PLR2004 - two digits


def _linear(low: float, high: float, start: float, stop: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (stop - start)


def _logarithmic(low: float, high: float, start: float, stop: float) -> Callable[[float], float]:
    inner = _linear(math.log10(low), math.log10(max(high, low * 10)), start, stop)
    return lambda value: inner(math.log10(max(value, low)))


def decade_below(values: Iterable[float]) -> float:
    """The power of ten at or below the least of ``values`` (milliseconds): where a logarithmic axis starts."""
    return 10.0 ** math.floor(math.log10(max(0.1, min(values, default=1.0))))


def _time_levels(floor: float, top: float) -> list[tuple[float, str]]:
    """Every decade; in between 2 and 5 as well where there are few decades."""
    first, last = round(math.log10(floor)), math.floor(math.log10(top))
    steps = _TICK_STEPS if last - first < _FEW_DECADES else _TICK_STEPS[:1]
    levels_ = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [(level, duration(level).replace(".0 ", " ")) for level in levels_ if level <= top]


def _root(title: str, description: str, height: float, width: float = WIDTH) -> ET.Element:
    svg = ET.Element("svg", {"viewBox": f"0 0 {width} {height:g}", "role": "img", "class": "chart"})
    ET.SubElement(svg, "title").text = title
    ET.SubElement(svg, "desc").text = description
    return svg


def _add(parent: ET.Element, tag: str, style: str, text: str | None = None, **attributes: Any) -> ET.Element:
    written = {
        name.replace("_", "-"): f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
        for name, value in attributes.items()
    }
    element = ET.SubElement(parent, tag, {"class": style, **written})
    element.text = text
    return element


def _markup(svg: ET.Element) -> Markup:
    return Markup(ET.tostring(svg, encoding="unicode"))  # noqa: S704 - ElementTree escaped every text and attribute


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _runs(frame: _Frame, grid: Grid, values: Values) -> list[list[tuple[float, float]]]:
    """The points of a line at the middle of their bins, split where nothing was measured."""
    runs: list[list[tuple[float, float]]] = [[]]
    for i, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((frame.x((i + 0.5) * grid.width), frame.y(value)))
    return [run for run in runs if run]


def _draw_line(svg: ET.Element, frame: _Frame, grid: Grid, line: Line) -> None:
    for run in _runs(frame, grid, line.values):
        if line.area:
            closed = [(run[0][0], frame.bottom), *run, (run[-1][0], frame.bottom)]
            _add(svg, "path", f"area {line.style}", d=_path(closed) + "Z")
        if len(run) == 1:
            _add(svg, "circle", f"dot {line.style}", cx=run[0][0], cy=run[0][1], r=1.5)
        else:
            _add(svg, "path", f"line {line.style}", d=_path(run))


def _y_axis(svg: ET.Element, frame: _Frame, ticks: Iterable[tuple[float, str]]) -> None:
    for value, label in ticks:
        y = frame.y(value)
        _add(svg, "line", "rule", x1=_LEFT, x2=frame.right, y1=y, y2=y)
        _add(svg, "text", "tick", label, x=_LEFT - 6, y=y + 3.5, text_anchor="end")


def _time_axis(svg: ET.Element, frame: _Frame, end: float) -> None:
    unit, size = ("min", 60.0) if end > 600 else ("s", 1.0)  # noqa: PLR2004 - ten minutes
    for value, label in levels(end / size, 6):
        _tick(svg, frame, frame.x(value * size), f"{label} {unit}")


def _tick(svg: ET.Element, frame: _Frame, x: float, label: str) -> None:
    _add(svg, "line", "axis", x1=x, x2=x, y1=frame.bottom, y2=frame.bottom + 4)
    anchor = "end" if x > frame.right - 8 else "middle"
    _add(svg, "text", "tick", label, x=x, y=frame.bottom + 16, text_anchor=anchor)


def _shade(svg: ET.Element, frame: _Frame, spikes: Iterable[Window], faults: Iterable[Window]) -> None:
    for spike in spikes:
        x, x2 = frame.x(spike.start), frame.x(spike.end)
        _add(svg, "rect", "spike", x=x, y=_TOP, width=x2 - x, height=frame.bottom - _TOP)
        if x2 - x > _ROOM:
            _add(svg, "text", "note", "spike", x=x, y=_TOP - 5)
    for start, end in _union(faults):
        x, x2 = frame.x(start), frame.x(end)
        _add(svg, "rect", "lane-fault", x=x, y=_TOP - 3, width=max(2.0, x2 - x), height=3)
        if x2 - x > _ROOM:
            _add(svg, "text", "note", "faults", x=x2, y=_TOP - 5, text_anchor="end")


def _union(windows: Iterable[Window]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, end in sorted((w.start, w.end) for w in windows):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _limit(svg: ET.Element, frame: _Frame, level: float, label: str) -> None:
    y = frame.y(level)
    _add(svg, "line", "limit", x1=_LEFT, x2=frame.right, y1=y, y2=y)
    _add(svg, "text", "limit-label", label, x=frame.right, y=y - 4, text_anchor="end")


def _mark_peak(svg: ET.Element, frame: _Frame, grid: Grid, line: Line) -> None:
    peak = max((value or 0.0, -i) for i, value in enumerate(line.values)) if line.values else (0.0, 0)
    if not peak[0]:
        return
    x, y = frame.x((-peak[1] + 0.5) * grid.width), frame.y(peak[0])
    _add(svg, "circle", f"dot {line.style}", cx=x, cy=y, r=3)
    anchor = "start" if x < frame.right - 70 else "end"
    _add(svg, "text", "peak", f"peak {peak[0]:,.0f}", x=x, y=y - 6, text_anchor=anchor)


def _read_out(chart: TimeChart) -> str:
    series = [[line.label, [None if v is None else round(v, 2) for v in line.values]] for line in chart.lines]
    return json.dumps(
        {"step": chart.grid.width, "left": _LEFT, "right": WIDTH - _RIGHT, "unit": chart.unit, "series": series},
        separators=(",", ":"),
    )
