"""What faults hit in an earlier run, so that a replay hits exactly that."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testbed.chaos.catalogue import to_json
from testbed.chaos.fault import Fault
from testbed.chaos.schedule import Hit, named
from testbed.errors import UsageError
from testbed.ledger.jsonl import read_journal
from testbed.load.orders import Request
from testbed.run_folder import BROKEN_OFF
from testbed.scenario import Architecture, Scenario

_AS_IT_WAS: Final = "replay it with the scenario as it was, or use testbed run --seed: that decides anew what is hit"


@dataclass(frozen=True)
class EarlierRun:
    """A run that is repeated.

    Attributes:
        hits: What its faults hit, by architecture.
        is_whole: Whether it came to its end; what a run that broke off would have hit after that, nobody knows.
    """

    hits: Mapping[str, Sequence[Hit]]
    is_whole: bool


def faults_of(scenario: Scenario, architecture: Architecture) -> list[Fault]:
    """The faults that an architecture meets, with a name each."""
    return named([*scenario.chaos, *architecture.chaos])


def deciding(scenario: Scenario, requests: Sequence[Request]) -> dict[str, Any]:
    """What a run and its replay must have in common, for the manifest: the faults, and the orders with their times."""
    digest = hashlib.blake2b(digest_size=16)
    for request in requests:
        digest.update(f"{request.id}\0{request.planned!r}\0".encode())
    faults = {each.name: to_json(faults_of(scenario, each)) for each in scenario.architectures}
    document: dict[str, Any] = json.loads(json.dumps({"faults": faults, "orders": digest.hexdigest()}, default=str))
    return document


def earlier_run(run_dir: Path, scenario: Scenario, requests: Sequence[Request]) -> EarlierRun:
    """Read what a replay of ``run_dir`` has to hit.

    Args:
        run_dir: Its run folder.
        scenario: What is run now.
        requests: The traffic that is sent now.

    Raises:
        UsageError: There is no journal, or the scenario is not what it was.
        HarnessError: The journal is broken.
    """
    _check_unchanged(run_dir, deciding(scenario, requests))
    journal = run_dir / "journal.jsonl"
    if not journal.exists():
        raise UsageError(
            f"{run_dir} has no journal: what its faults hit is not known", "run it again with testbed run --seed"
        )
    names = {each.name: {fault.name for fault in faults_of(scenario, each)} for each in scenario.architectures}
    hits: defaultdict[str, list[Hit]] = defaultdict(list)
    for hop in read_journal(journal):
        if hop["hop"] != "fault":
            continue
        architecture, fault = hop["architecture"], hop["fault"]
        if fault not in names.get(architecture, ()):
            raise UsageError(
                f"in {run_dir} the fault {fault!r} hit {architecture!r}: the scenario does not have both any more",
                _AS_IT_WAS,
            )
        if "identity" in hop:  # timed faults begin at their times again
            hits[architecture].append((fault, hop["identity"], hop["attempt"]))
    ended = (run_dir / "verdict.json").exists() and not (run_dir / BROKEN_OFF).exists()
    return EarlierRun(hits, ended and not _is_torn(journal))


def missed_line(architecture: str, hits: int, missed: Mapping[str, int]) -> str:
    """How exactly an architecture's replay repeated its hits, in a line for people."""
    if not missed:
        return f"replay: {architecture}: all {hits} hits of faults were repeated"
    those = ", ".join(f"{fault}: {count}" for fault, count in missed.items())
    return (
        f"replay: {architecture}: {sum(missed.values())} of {hits} hits of faults found no call again ({those}). "
        "Calls that are made of whatever waits just then, such as batches and polls, do not all come again alike, nor "
        "do those that another outcome has caused; and a cold start may be a warm one now"
    )


def _check_unchanged(run_dir: Path, now: Mapping[str, Any]) -> None:
    then = json.loads((run_dir / "manifest.json").read_text(encoding="utf-8")).get("deciding")
    if then is None:  # of an earlier version
        return
    if then["orders"] != now["orders"]:
        raise UsageError(f"the orders are not those of {run_dir}: the scenario's traffic has changed", _AS_IT_WAS)
    for architecture, faults in now["faults"].items():
        before = then["faults"].get(architecture, [])
        if before != faults:
            changed = sorted(
                {fault["name"] for fault in [*before, *faults] if fault not in before or fault not in faults}
            )
            order = "their order" if not changed else ", ".join(changed)
            raise UsageError(
                f"the faults of architecture {architecture!r} are not those of {run_dir}: {order}", _AS_IT_WAS
            )


def _is_torn(journal: Path) -> bool:
    with journal.open("rb") as file:
        if not file.seek(0, 2):
            return False
        file.seek(-1, 2)
        return file.read(1) != b"\n"
