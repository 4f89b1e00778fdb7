"""What faults hit in an earlier run, so that a replay hits exactly that."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from testbed.chaos.schedule import Hit
from testbed.errors import UsageError
from testbed.ledger.jsonl import read_journal


def journalled_hits(run_dir: Path) -> Mapping[str, list[Hit]]:
    """What was hit in the run of a run folder, by architecture.

    Raises:
        UsageError: The folder has no journal.
        HarnessError: The journal is broken.
    """
    journal = run_dir / "journal.jsonl"
    if not journal.exists():
        raise UsageError(
            f"{run_dir} has no journal: what its faults hit is not known", "run it again with testbed run --seed"
        )
    found: defaultdict[str, list[Hit]] = defaultdict(list)
    for hop in read_journal(journal):
        if hop["hop"] == "fault" and "identity" in hop:
            found[hop["architecture"]].append((hop["fault"], hop["identity"], hop["attempt"]))
    return found
