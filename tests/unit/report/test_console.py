"""What the terminal shows."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from synthetic_run import make_run

from testbed.report.console import LiveLine, Output, Progress, print_summary

TRAFFIC = Progress(
    architecture="sync", stage="traffic", t=12.2, planned=3000, sent=1200, stored=640, queue_depth=7, connections=17
)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, dict]:
    folders = {clean: make_run(tmp_path_factory.mktemp("run"), quiet_rate=3, clean=clean) for clean in (True, False)}
    return {clean: json.loads((folder / "verdict.json").read_text()) for clean, folder in folders.items()}


def summary(verdict: dict, *, width: int = 100, encoding: str = "utf-8", causes: dict | None = None) -> list[str]:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=out, width=width, color_system=None)
    print_summary(verdict, causes or {}, Path("runs/x"), console, origin="generated")
    out.seek(0)
    return [line.rstrip() for line in out.read().splitlines()]


def row(lines: list[str], label: str) -> list[str]:
    return next(line for line in lines if line.strip().startswith(label)).replace(label, "").split()


def test_architectures_are_columns_of_one_table(verdicts: dict[bool, dict]) -> None:
    """Every number of an architecture is under its name."""
    lines = summary(verdicts[False])
    assert lines[0].split() == ["flash-sale", "sync", "buffered-sqs", "buffered-kinesis"]
    assert row(lines, "LOST") == ["0", "0", "4"]
    ledgers = [found["ledger"] for found in verdicts[False]["architectures"].values()]
    assert row(lines, "stored") == [str(ledger["stored"]) for ledger in ledgers]
    assert row(lines, "verdict") == ["✓", "valid", "✓", "valid", "✗", "invalid"]


def test_causes_are_indented_below_what_they_explain(verdicts: dict[bool, dict]) -> None:
    """A cause that only one architecture has is a zero for the others."""
    lines = summary(verdicts[True], causes={"sync": {"connection limit": 1200}})
    assert row(lines, "connection limit") == ["1,200", "0", "0"]
    assert "  connection limit" in "\n".join(lines)


@pytest.mark.parametrize("width", [80, 100])
def test_the_summary_fits_the_terminal(verdicts: dict[bool, dict], width: int) -> None:
    """No line is longer, and nothing was cut."""
    lines = summary(verdicts[False], width=width, causes={"sync": {"connection limit": 1200}})
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)


def test_a_terminal_without_unicode_gets_plain_marks(verdicts: dict[bool, dict]) -> None:
    """An ASCII terminal must not end the run with an encoding error."""
    lines = summary(verdicts[False], encoding="ascii")
    assert row(lines, "verdict") == ["|", "+", "valid", "|", "+", "valid", "|", "x", "invalid"]


def test_a_failed_run_says_how_to_replay_it(verdicts: dict[bool, dict]) -> None:
    """The last line, and only on failure."""
    assert summary(verdicts[False])[-1] == "Replay: testbed replay runs/x  (seed 42, from generated)"
    assert not any(line.startswith("Replay") for line in summary(verdicts[True]))
    assert summary(verdicts[True])[-1] == "✓ valid  Report: runs/x/report.html"


def test_expectations_show_what_was_observed(verdicts: dict[bool, dict]) -> None:
    """Held, broken and unknown have marks of their own."""
    lines = summary(verdicts[False])
    marks = {line[0] for line in lines if "is lost" in line or ("dead-lettered " in line and "exactly" in line)}
    assert marks == {"✓", "✗", "?"}
    assert any(line.startswith("✗  no acknowledged order is lost") and "4 of" in line for line in lines)


def test_a_verdict_without_numbers_can_be_printed() -> None:
    """The engine died early: unknown numbers are question marks, not zeros."""
    lines = summary(
        {"scenario": "x", "seed": 1, "verdict": "unknown", "architectures": {"sync": {"verdict": "unknown"}}}
    )
    assert row(lines, "LOST") == ["?"]
    assert row(lines, "latency p50") == ["?"]


def test_square_brackets_in_names_are_text() -> None:
    """Rich would read them as styles."""
    claim = {"claim": "[red]no[/nonsense] order", "holds": True, "observed": "[bold]0"}
    lines = summary({"scenario": "x", "verdict": "valid", "architectures": {"[a]": {"expectations": [claim]}}})
    assert any("[red]no[/nonsense] order" in line and "[bold]0" in line for line in lines)
    assert "[a]" in lines[0]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_a_line_comes_every_few_seconds_and_for_each_stage() -> None:
    """A log file is not flooded, and no stage is missed."""
    out, clock = io.StringIO(), Clock()
    with LiveLine("flash-sale", console=Console(file=out, width=120), clock=clock) as live:
        live.update(Progress(stage="starting"))
        for _ in range(100):
            clock.now += 0.1
            live.update(TRAFFIC)
    lines = out.getvalue().splitlines()
    assert lines[0] == "flash-sale  starting"
    assert lines[1] == "flash-sale  sync traffic 12 s  sent 1,200/3,000  stored 640  queue 7  connections 17"
    assert len(lines) == 3


def test_on_a_terminal_the_line_is_rewritten_and_gone_at_the_end() -> None:
    """One line that changes in place, and leaves none behind."""
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, width=120, force_terminal=True, _environ={"TERM": "xterm"})
    with LiveLine("flash-sale", console=console, clock=clock) as live:
        live.update(TRAFFIC)
        clock.now += 0.05
        live.update(Progress(architecture="sync", stage="traffic", t=99.0, planned=3000))
        clock.now += 0.1
        live.update(TRAFFIC)
    written = out.getvalue()
    assert written.count("\n") == 1
    assert "99 s" not in written
    assert written.endswith("\r\x1b[1A\x1b[2K")


def test_a_narrow_terminal_keeps_the_numbers() -> None:
    """Eighty columns hold the longest name of the flash sale."""
    out = io.StringIO()
    with LiveLine("flash-sale", console=Console(file=out, width=80)) as live:
        live.update(
            Progress(
                architecture="buffered-kinesis", stage="traffic", t=12, planned=2870, queue_depth=1024, connections=17
            )
        )
    (line,) = out.getvalue().splitlines()
    assert line.endswith("db 17")
    assert len(line) <= 80


def test_the_live_line_leaves_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json stdout holds the verdict and nothing else."""
    with LiveLine("flash-sale") as live:
        live.update(TRAFFIC)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "sent 1,200/3,000" in captured.err


def test_a_reader_that_has_gone_is_the_command_s_to_explain() -> None:
    """Rich would end the program with 1, which says that the data went wrong."""

    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        Output(file=Gone()).print("verdict")
