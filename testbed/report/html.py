"""report.html: one self-contained page, made from the run folder alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from testbed.report import svg, wording
from testbed.report.folder import RunFolder, load_run
from testbed.report.series import QUANTILES, ArchitectureSeries, Grid, build_series

FILE_NAME: Final = "report.html"

RESOURCES: Final = {
    "peak_connections": "peak database connections",
    "peak_concurrency": "peak concurrent executions",
    "peak_queue_depth": "peak queue depth",
    "cold_starts": "cold starts",
    "throttles": "throttled calls",
    "drain_seconds": "drain time, seconds",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A row of charts, one per architecture: ``lines`` are (style, label, attribute of the series).

    ``rare`` names lines that are left out where no architecture has anything to show.
    """

    title: str
    hint: str
    lines: Sequence[tuple[str, str, str]]
    unit: str = ""
    milliseconds: bool = False
    peak: bool = False
    limited: bool = False
    rare: frozenset[str] = frozenset()


_KINDS: Final = (
    _Kind(
        title="Orders per second",
        hint="offered when planned, accepted and refused when answered, stored when inserted",
        lines=(
            ("offered", "offered", "offered"),
            ("unknown", "outcome unknown", "unknown"),
            ("refused", "refused", "refused"),
            ("accepted", "accepted", "accepted"),
            ("stored", "stored", "stored"),
        ),
        unit="/s",
        rare=frozenset({"refused", "unknown"}),
    ),
    _Kind(
        title="Orders so far",
        hint="the gap is what the architecture has promised and not yet stored",
        lines=(("accepted", "accepted", "accepted_total"), ("stored", "stored", "stored_total")),
    ),
    _Kind(
        title="Queue depth",
        hint="records waiting in queue or stream",
        lines=(("queue", "records waiting", "queue_depth"),),
        peak=True,
    ),
    _Kind(
        title="Database connections",
        hint="sessions open in Postgres",
        lines=(("connections", "connections", "connections"),),
        peak=True,
        limited=True,
    ),
    _Kind(
        title="Lambda executions at once",
        hint="all functions of the architecture together",
        lines=(("concurrency", "executions", "concurrency"),),
        peak=True,
    ),
    _Kind(
        title="Latency of accepted orders",
        hint="from the planned time to the answer, logarithmic",
        lines=(("max", "max", "max"), ("p99", "p99", "p99"), ("p50", "p50", "p50")),
        milliseconds=True,
        unit=" ms",
    ),
)


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` into the run folder and return its path.

    Raises:
        UsageError: There is no run in the folder, or a newer testbed wrote it.
    """
    path = run_dir / FILE_NAME
    path.write_text(render(load_run(run_dir)), encoding="utf-8")
    return path


def render(run: RunFolder) -> str:
    """The page of ``run``."""
    names = run.architectures
    verdicts = {name: run.verdict.get("architectures", {}).get(name, {}) for name in names}
    ledgers = {name: wording.ledger_of(run, name) for name in names}
    causes = wording.causes_of(run)
    grid, series = build_series(names, run.recorded, causes)
    seed = run.verdict.get("seed", run.manifest.get("seed", "?"))
    options = run.manifest.get("options", {})
    return _template().render(
        run=run,
        names=names,
        verdicts=verdicts,
        ledgers=ledgers,
        fates={name: wording.fates(ledger) for name, ledger in ledgers.items()},
        fate_labels=wording.FATES,
        overall=run.verdict.get("verdict", "unknown"),
        headline=wording.headline(ledgers, verdicts),
        claims=_claims(verdicts),
        chart_rows=_chart_rows(run, grid, series),
        lanes=_lanes(grid, series),
        percentiles=_percentiles(series),
        latency_rows=QUANTILES,
        resources=RESOURCES,
        rows=wording.ROWS,
        fault_counts=_fault_counts(run, series),
        fault_fields=_fault_fields(run),
        poison_kinds=sorted({kind for one in series for kind in one.poison}),
        causes=causes,
        cause_names=list(dict.fromkeys(cause for counts in causes.values() for cause in counts)),
        series=series,
        grid=grid,
        facts=list(_facts(run)),
        replay=wording.replay_line(run.path, seed, options.get("seed_from", "cli")),
        seed=seed,
        scenario=run.verdict.get("scenario", options.get("scenario", run.path.name)),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("testbed.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": _count, "duration": svg.duration}
    environment.globals["swatch"] = svg.draw_swatch
    return environment.get_template("report.html.jinja")


def _count(value: float | None) -> str:
    if value is None:
        return svg.NOTHING
    return f"{value:,.1f}".removesuffix(".0")


def _chart_rows(run: RunFolder, grid: Grid, series: Sequence[ArchitectureSeries]) -> list[dict[str, Any]]:
    limit = run.verdict.get("engine", {}).get("max_connections")
    kinds = [_without_empty(kind, series) for kind in _KINDS]
    return [{"kind": kind, "charts": _charts(kind, grid, series, limit if kind.limited else None)} for kind in kinds]


def _without_empty(kind: _Kind, series: Sequence[ArchitectureSeries]) -> _Kind:
    empty = {name for name in kind.rare if not any(value for one in series for value in getattr(one, name))}
    return replace(kind, lines=[line for line in kind.lines if line[2] not in empty])


def _charts(
    kind: _Kind, grid: Grid, series: Sequence[ArchitectureSeries], limit: float | None
) -> list[tuple[str, Markup]]:
    """One chart per architecture, all on the same scale."""
    lines = {one.name: _lines(kind, one) for one in series}
    values = {name: [v for line in own for v in line.values if v is not None] for name, own in lines.items()}
    everything = [v for some in values.values() for v in some]
    room = 1.2 if kind.peak else 1.05  # for the label of the peak
    top = max(4.0, (limit or 0.0) * 1.2, room * max(everything, default=0.0))
    floor = svg.decade_below(everything) if kind.milliseconds else 0.0
    return [
        (
            one.name,
            svg.draw_time_chart(
                svg.TimeChart(
                    title=f"{kind.title}, {one.name}",
                    description=f"{kind.hint}. Highest value {_count(max(values[one.name], default=0.0))}{kind.unit}.",
                    grid=grid,
                    lines=lines[one.name],
                    top=top,
                    unit=kind.unit,
                    floor=floor,
                    limit=(limit, f"max_connections {limit:g}") if limit else None,
                    spikes=one.spikes,
                    faults=one.faults,
                    peak=kind.peak,
                )
            ),
        )
        for one in series
    ]


def _lines(kind: _Kind, series: ArchitectureSeries) -> list[svg.Line]:
    return [
        svg.Line(style, label, series.latency[name] if kind.milliseconds else getattr(series, name), area=i == 0)
        for i, (style, label, name) in enumerate(kind.lines)
    ]


def _lanes(grid: Grid, series: Sequence[ArchitectureSeries]) -> list[tuple[str, Markup]]:
    """A lane for the spike and for each fault that fired; expectations tell of armed ones that did not."""
    drawn = []
    for one in series:
        windows = (*one.spikes, *one.faults)
        names = list(dict.fromkeys(window.name for window in windows))
        drawn.append((one.name, svg.draw_lanes(f"Spike and faults, {one.name}", grid, windows, names)))
    return drawn if any(one.spikes or one.faults for one in series) else []


def _faults(run: RunFolder) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Architecture -> its faults with their fields; nothing where no manifest tells."""
    found: Mapping[str, Sequence[Mapping[str, Any]]] = run.manifest.get("deciding", {}).get("faults", {})
    return found


def _fault_fields(run: RunFolder) -> list[str]:
    """Every fault as JSON."""
    return list(dict.fromkeys(json.dumps(fault, ensure_ascii=False) for own in _faults(run).values() for fault in own))


def _fault_counts(run: RunFolder, series: Sequence[ArchitectureSeries]) -> dict[str, dict[str, int]]:
    """Fault -> architecture -> how often it fired; also those that never did. Poison is told by its kinds."""
    own = (fault for faults in _faults(run).values() for fault in faults)
    counts: dict[str, dict[str, int]] = {fault["name"]: {} for fault in own if fault["type"] != "Poison"}
    for one in series:
        for window in one.faults:
            by = counts.setdefault(window.name, {})
            by[one.name] = by.get(one.name, 0) + window.count
    return counts


def _percentiles(series: Sequence[ArchitectureSeries]) -> Markup:
    curves = {one.name: one.latency_curve for one in series}
    slowest = [f"{name} up to {svg.duration(curve[-1][1])}" for name, curve in curves.items() if curve]
    return svg.draw_percentiles("Latency of accepted orders by percentile", "; ".join(slowest) or "Nothing.", curves)


def _claims(verdicts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Claim -> architecture -> expectation, in the order in which they were first claimed."""
    claims: dict[str, dict[str, Any]] = {}
    for name, verdict in verdicts.items():
        for expectation in verdict.get("expectations", ()):
            claims.setdefault(expectation["claim"], {})[name] = expectation
    return claims


def _facts(run: RunFolder) -> list[tuple[str, str]]:
    """What decides how a run behaves, one line each: the manifest, or the engine alone without it."""
    manifest = {key: value for key, value in run.manifest.items() if key != "deciding"}  # a table and JSON tell
    return list(_flat(manifest or {"engine": run.verdict.get("engine", {})}))


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat += _flat(item, f"{prefix}{key} ")
        else:
            said = ", ".join(map(_text, item)) if isinstance(item, list) else str(item)
            flat.append((f"{prefix}{key}".replace("_", " "), said if item not in (None, []) else svg.NOTHING))
    return flat


def _text(item: object) -> str:
    return json.dumps(item, ensure_ascii=False) if isinstance(item, Mapping) else str(item)
