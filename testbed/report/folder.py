"""The run folder as the report reads it: whatever is there, however the run ended."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

from testbed.errors import TestbedError, UsageError
from testbed.ledger.history import read_history
from testbed.ledger.jsonl import read_journal
from testbed.report.recorded import Recorded, recorded

SCHEMA_VERSION: Final = 1
_Record = TypeVar("_Record")


class Expectation(TypedDict):
    """One claim of the scenario; ``holds`` is None where the testbed could not know."""

    claim: str
    holds: bool | None
    observed: str


class ArchitectureVerdict(TypedDict, total=False):
    """What verdict.json says about one architecture; keys may be missing after a run that broke off."""

    verdict: str
    ledger: dict[str, int]
    examples: dict[str, list[str]]
    latency_ms: dict[str, float | None]
    resources: dict[str, float | None]
    faults: dict[str, int]
    expectations: list[Expectation]


class Verdict(TypedDict, total=False):
    """The document verdict.json; keys may be missing after a run that broke off."""

    schema_version: int
    scenario: str
    seed: int
    verdict: str
    engine: dict[str, Any]
    architectures: dict[str, ArchitectureVerdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """Everything that the report needs of one run.

    Attributes:
        path: The folder.
        manifest: manifest.json; empty where it is missing.
        verdict: verdict.json; without architectures where it is missing.
        recorded: What history.jsonl and journal.jsonl say of each architecture.
        gaps: What was missing or could not be read, in words.
    """

    path: Path
    manifest: Mapping[str, Any]
    verdict: Verdict
    recorded: Mapping[str, Recorded]
    gaps: tuple[str, ...]

    @property
    def architectures(self) -> list[str]:
        """Names in the order of the verdict, then those that only left records."""
        return list(dict.fromkeys([*self.verdict.get("architectures", {}), *self.recorded]))


def load_run(run_dir: Path) -> RunFolder:
    """Read the run folder ``run_dir``; parts that are missing or torn are named in ``gaps``.

    Raises:
        UsageError: There is no run in the folder, or a newer testbed wrote it.
    """
    names = ("manifest.json", "verdict.json", "history.jsonl", "journal.jsonl")
    if not any((run_dir / name).is_file() for name in names):
        raise UsageError(f"{run_dir} is not a run folder: none of {', '.join(names)} is in it", "see runs/")
    gaps: list[str] = []
    manifest = _document(run_dir / "manifest.json", gaps)
    verdict = _document(run_dir / "verdict.json", gaps)
    history = _records(read_history, run_dir / "history.jsonl", gaps)
    journal = _records(read_journal, run_dir / "journal.jsonl", gaps)
    lines = recorded(history, journal)
    return RunFolder(
        path=run_dir,
        manifest=manifest,
        verdict=Verdict(**verdict),  # type: ignore[typeddict-item]  # the file is the contract
        recorded=lines,
        gaps=tuple(gaps),
    )


def _document(path: Path, gaps: list[str]) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        gaps.append(f"{path.name} is missing")
        return {}
    except ValueError:
        gaps.append(f"{path.name} is cut off")
        return {}
    if not isinstance(document, dict):
        gaps.append(f"{path.name} is not an object")
        return {}
    version = document.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path} has schema_version {version}, this testbed reads {SCHEMA_VERSION}",
            "use the testbed that made the run",
        )
    return document


def _records(read: Callable[[Path], Iterator[_Record]], path: Path, gaps: list[str]) -> Iterator[_Record]:
    """What ``read`` yields up to where the file is damaged: a report of a part is better than none."""
    try:
        yield from read(path)
    except TestbedError as error:
        gaps.append(error.message)
