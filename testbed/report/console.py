"""What the terminal shows: one live line while a run goes on, one table and the expectations when it has ended."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from testbed.report.folder import ArchitectureVerdict, Verdict
from testbed.report.html import FILE_NAME
from testbed.report.svg import duration
from testbed.report.wording import ROWS, Row, replay_line

_STYLES: Final = {"valid": "green", "invalid": "bold red", "unknown": "yellow"}
_STATES: Final[Mapping[bool | None, str]] = {True: "valid", False: "invalid", None: "unknown"}
_OBSERVED: Final = _STYLES | {"valid": ""}
_MARKS: Final = {"valid": "✓", "invalid": "✗", "unknown": "?"}
_PLAIN_MARKS: Final = {"valid": "+", "invalid": "x", "unknown": "?"}
_ALWAYS: Final = frozenset(
    {"attempted", "acknowledged", "refused", "unknown", "stored", "dead_lettered", "lost", "duplicated"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run is.

    Attributes:
        architecture: The one that is under test; empty before the first.
        stage: For example ``"deploying"``, ``"traffic"``, ``"draining"``.
        t: Seconds since the traffic started.
        planned: Orders in the traffic plan.
        sent: Of these, sent so far.
        stored: Rows inserted so far.
        queue_depth: Records waiting.
        connections: Sessions open at the database.
    """

    architecture: str = ""
    stage: str = ""
    t: float = 0.0
    planned: int = 0
    sent: int = 0
    stored: int = 0
    queue_depth: int = 0
    connections: int = 0


class Output(Console):
    """Standard output. Rich ends a program whose reader has gone with 1, which would be a verdict."""

    def on_broken_pipe(self) -> None:
        """Let whoever runs the command tell its exit code."""
        raise BrokenPipeError


class LiveLine:
    """One line on stderr that is rewritten in place; where that is no terminal, a new line at times.

    Nothing runs in the background: the line changes when ``update`` is called, at most ten times a second.

    Args:
        scenario: Name of the scenario.
        console: Where to write; stderr by default, so that stdout stays clean for ``--json``.
        every: Seconds between two lines where the output is not a terminal; a new stage is always shown.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        scenario: str,
        *,
        console: Console | None = None,
        every: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scenario = scenario
        self._console = console or Console(stderr=True, highlight=False)
        self._live = self._live_display() if self._console.is_terminal and not self._console.is_dumb_terminal else None
        self._pause = 0.1 if self._live else every
        self._clock = clock
        self._shown: tuple[str, str] | None = None
        self._next = 0.0

    def _live_display(self) -> Live:
        return Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self, progress: Progress) -> None:
        """Show ``progress``, unless the line has changed just now."""
        now, where = self._clock(), (progress.architecture, progress.stage)
        if where == self._shown and now < self._next:
            return
        self._shown, self._next = where, now + self._pause
        line = Text(self._line(progress), no_wrap=True, overflow="crop")
        if self._live:
            self._live.update(line, refresh=True)
        else:
            self._console.print(line, soft_wrap=True)

    def _line(self, progress: Progress) -> str:
        where = " ".join(part for part in (progress.architecture, progress.stage) if part)
        if progress.planned:
            where += (
                f" {progress.t:.0f} s  sent {progress.sent:,}/{progress.planned:,}  stored {progress.stored:,}"
                f"  queue {progress.queue_depth:,}  connections {progress.connections:,}"
            )
        whole = f"{self._scenario}  {where}"
        return whole if len(whole) <= self._console.width else where.replace("connections", "db")


def print_summary(
    verdict: Verdict, causes: Mapping[str, Mapping[str, int]], run_dir: Path, console: Console, *, origin: str = "cli"
) -> None:
    """Print the table with the architectures side by side, the expectations, the report, and how to replay.

    Args:
        verdict: The document of verdict.json.
        causes: Orders that were not accepted, by cause, per architecture.
        run_dir: The run folder.
        console: Where to.
        origin: Where the seed came from: ``"cli"`` or ``"generated"``.
    """
    architectures = verdict.get("architectures", {})
    marks = _MARKS if console.encoding.lower().startswith("utf") else _PLAIN_MARKS
    console.print(_table(verdict, causes, marks))
    console.print()
    console.print(_expectations(architectures, marks))
    overall = verdict.get("verdict", "unknown")
    console.print()
    console.print(
        Text(f"{marks[overall]} {overall}", style=_STYLES[overall]),
        Text(f" Report: {run_dir / FILE_NAME}"),
        soft_wrap=True,
    )
    if overall != "valid":
        console.print(Text(replay_line(run_dir, verdict.get("seed", "?"), origin)), soft_wrap=True)


def _table(verdict: Verdict, causes: Mapping[str, Mapping[str, int]], marks: Mapping[str, str]) -> Table:
    architectures = verdict.get("architectures", {})
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column(Text(verdict.get("scenario", "")), no_wrap=True)
    for name in architectures:
        table.add_column(Text(name), justify="right")
    for row in ROWS:
        _add_row(table, row, list(architectures.values()))
        if row.key == "unknown":
            _add_causes(table, [causes.get(name, {}) for name in architectures])
    table.add_section()
    _add_resources(table, list(architectures.values()))
    states = [architecture.get("verdict", "unknown") for architecture in architectures.values()]
    table.add_row(
        Text("verdict", style="bold"), *(Text(f"{marks[state]} {state}", style=_STYLES[state]) for state in states)
    )
    return table


def _add_row(table: Table, row: Row, architectures: Sequence[ArchitectureVerdict]) -> None:
    """A row of zeros is left out, unless its zero is an answer."""
    values = [architecture.get("ledger", {}).get(row.key) for architecture in architectures]
    if any(values) or row.key in _ALWAYS:
        table.add_row(row.label, *(_cell(value, alarming=row.anomaly) for value in values))


def _add_causes(table: Table, causes: Sequence[Mapping[str, int]]) -> None:
    if any(causes):
        table.add_row(Text("because of", style="dim"))
    for cause in dict.fromkeys(cause for counts in causes for cause in counts):
        table.add_row(Text(f"  {cause}", style="dim"), *(_cell(counts.get(cause, 0)) for counts in causes))


def _cell(value: float | None, *, alarming: bool = False) -> Text:
    if value is None:
        return Text("?", style="yellow")
    text = f"{value:,.1f}".removesuffix(".0")
    return Text(text, style="bold red" if alarming and value else "dim" if not value else "")


def _add_resources(table: Table, architectures: Sequence[ArchitectureVerdict]) -> None:
    for key in ("p50", "p99"):
        latencies = [architecture.get("latency_ms", {}).get(key) for architecture in architectures]
        table.add_row(f"latency {key}", *("?" if value is None else duration(value) for value in latencies))
    for key, label in (
        ("peak_connections", "peak connections"),
        ("peak_queue_depth", "peak queue depth"),
        ("drain_seconds", "drain time, s"),
    ):
        table.add_row(label, *(_cell(architecture.get("resources", {}).get(key)) for architecture in architectures))


def _expectations(architectures: Mapping[str, ArchitectureVerdict], marks: Mapping[str, str]) -> Table:
    """One line per claim under the name of its architecture: mark, claim, what was observed."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for name, architecture in architectures.items():
        table.add_row("", Text(name, style="bold"), "")
        for expectation in architecture.get("expectations", ()):
            state = _STATES[expectation["holds"]]
            mark = Text(marks[state], style=_STYLES[state])
            table.add_row(mark, Text(expectation["claim"]), Text(expectation["observed"], style=_OBSERVED[state]))
    return table
