"""Time and memory of the ledger: from history, journal and what was observed to verdict.json and the reports.

Run it with ``make bench``; it prints one line for each size, with the figures aimed at, and fails none.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from testbed.ledger.causes import Failures
from testbed.ledger.history import Attempt, HistoryWriter, Outcome, read_history
from testbed.ledger.jsonl import read_journal
from testbed.ledger.latency import Latencies
from testbed.ledger.reconcile import Observed, Outcomes
from testbed.ledger.verdict import ArchitectureVerdict, Claim, EngineFacts, Facts, RunVerdict
from testbed.report.html import write_report
from testbed.report.junit import write_junit

SIZES = {10_000: "", 1_000_000: " (60 s, 1,000 MB)"}
RATE = 200.0
REFUSED, POISON = 0.1, 0.01
_NAME = "queue"


def write_run(folder: Path, requests: int) -> None:
    """A run of ``requests`` orders, four hops each, as one over a queue leaves it: 10 % are refused by a throttle."""
    chance = Random(requests)  # noqa: S311 - made-up data
    with HistoryWriter(folder / "history.jsonl") as history, (folder / "journal.jsonl").open("w") as journal:

        def hop(t: float, kind: str, **fields: object) -> None:
            journal.write(json.dumps({"t": round(t, 4), "architecture": _NAME, "hop": kind, **fields}) + "\n")

        for number in range(requests):
            t = number / RATE
            answered = round(t + chance.lognormvariate(-4, 0.5), 6)
            refused, poison = chance.random() < REFUSED, chance.random() < POISON
            trace = f"1-{number:08x}-{chance.randbytes(12).hex()}"
            outcome, status = (Outcome.REFUSED, 500) if refused else (Outcome.ACKNOWLEDGED, 202)
            history.write(
                Attempt(
                    architecture=_NAME,
                    id=f"o-{number:07d}-{chance.randbytes(4).hex()}",
                    planned=t,
                    sent=t,
                    finished=answered,
                    outcome=outcome,
                    status=status,
                    trace=trace,
                    poison="broken_json" if poison else None,
                )
            )
            cause = "throttle" if refused else None
            call = {"service": "sqs", "operation": "SendMessage", "resource": "orders", "caller": "function:to_queue"}
            identity = f"sqs.SendMessage:orders:{trace}"
            if refused:
                hop(t, "fault", fault="throttle-1", **call, identity=identity, attempt=1, at=t, delay_ms=0.0)
            else:
                hop(answered + 1, "postgres", event="insert", sqlstate=None, message=None, trace=None, open=7, rows=1)
            hop(t, "aws", **call, status=status, ms=1.5, trace=trace, cause=cause, identity=identity, attempt=1)
            hop(
                answered, "lambda", function="to_queue", caller="api:1", status=status, ms=9.5, trace=trace, cause=cause
            )
            hop(answered, "api", method="POST", path="/orders", status=status, ms=9.9, trace=trace, cause=cause)
            if number % int(RATE / 4) == 0:
                hop(t, "sample", queue_depth=number % 97, connections=7, concurrency={"to_queue": 3}, stored=number)


def judge_run(folder: Path) -> None:
    """All that trial and run do once the traffic has drained: what was acknowledged is stored, but for poison."""
    outcomes, latencies, failures = Outcomes(), Latencies(), Failures()
    stored: dict[str, int] = {}
    poison: set[str] = set()
    for attempt in read_history(folder / "history.jsonl"):
        for account in (outcomes, latencies, failures):
            account.add(attempt)
        if attempt.poison:
            poison.add(attempt.id)
        elif attempt.outcome is Outcome.ACKNOWLEDGED:
            stored[attempt.id[:1] + attempt.id[1:]] = 1  # a string of its own, as the database gives it
    for hop in read_journal(folder / "journal.jsonl"):
        failures.explain(hop)
    facts = Facts(
        ledger=outcomes.ledger(Observed(stored=stored, dead_lettered=poison), poison),
        latency_ms=latencies.percentiles(),
        causes=failures.causes(),
    )
    claims = (Claim("no acknowledged order is lost", not facts.ledger.lost, f"{facts.ledger.lost}"),)
    engine = EngineFacts(
        mode="process", emulator="localstack", emulator_version="", postgres_version="", max_connections=20
    )
    verdict = RunVerdict(
        scenario="bench", seed=1, engine=engine, architectures={_NAME: ArchitectureVerdict(facts, claims)}
    )
    (folder / "verdict.json").write_text(json.dumps(verdict.to_json()))
    write_report(folder)
    write_junit(folder)


def _main() -> None:
    for requests, aim in SIZES.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_run(folder, requests)
            size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
            started = time.perf_counter()
            said = subprocess.run([sys.executable, __file__, name], check=True, capture_output=True, text=True)
            seconds = time.perf_counter() - started
            page = (folder / "report.html").stat().st_size / 2**10
        print(
            f"ledger and report of {requests:,} requests{aim}: {seconds:.1f} s, {said.stdout.strip()},"
            f" from {size:,.0f} MB of records; report.html {page:.0f} KB"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        judge_run(Path(sys.argv[1]))
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(f"{used.ru_utime + used.ru_stime:.1f} s of a core, {used.ru_maxrss / 2**10:.0f} MB")
    else:
        _main()
