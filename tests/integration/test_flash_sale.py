"""The whole path on the real engine: the reference scenario in short, and a broken system that must be caught."""

import json
from collections import Counter
from pathlib import Path

import pytest
from sale import sale_on

from testbed.ledger.jsonl import read_journal
from testbed.ledger.verdict import Verdict
from testbed.pytest_plugin import RunScenario

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_flash_sale_in_short_keeps_every_promise(mode: str, tmp_path: Path) -> None:
    """A third of the sale: sync refuses and says why, the buffered ones accept all and dead-letter just the poison."""
    sale = sale_on(mode, tmp_path)
    run = sale.verdict
    assert run.engine.mode == mode
    claims = {
        name: [claim for claim in found.expectations if not claim.holds] for name, found in run.architectures.items()
    }
    assert claims == {"sync": [], "buffered-sqs": [], "buffered-kinesis": []}
    sync, sqs, kinesis = (run.architectures[name].facts for name in ("sync", "buffered-sqs", "buffered-kinesis"))
    assert sync.ledger.attempted == sqs.ledger.attempted == kinesis.ledger.attempted > 500
    assert len(sync.causes["connection limit"]) > 100
    assert sync.resources.peak_connections == 17  # max_connections 20, less what Postgres reserves for superusers
    assert sqs.resources.peak_connections <= 10  # MaximumConcurrency
    assert kinesis.resources.peak_connections <= 4  # one per shard
    assert sqs.ledger.dead_lettered == kinesis.ledger.dead_lettered == sqs.ledger.poison > 0
    kept = {path.name for path in sale.folder.iterdir()}
    assert kept >= {
        "manifest.json",
        "history.jsonl",
        "journal.jsonl",
        "verdict.json",
        "report.html",
        "junit.xml",
        "logs",
    }
    assert json.loads((sale.folder / "verdict.json").read_text())["verdict"] == "valid"
    ran = Counter(
        hop["function"]
        for hop in read_journal(sale.folder / "journal.jsonl")
        if hop["hop"] == "lambda" and hop["status"] == 200
    )
    assert sale.invocations == ran  # CloudWatch says what the journal says
    assert "REPORT RequestId" in (sale.folder / "logs" / "orders-from-queue.log").read_text()


@pytest.mark.usefixtures("mode")
def test_a_consumer_that_acknowledges_before_it_writes_is_caught(run_scenario: RunScenario) -> None:
    """Its orders are accepted and then nowhere: lost, by name and with examples, and the verdict is invalid."""
    run = run_scenario(ROOT / "tests" / "integration" / "scenarios" / "broken_consumer.py")
    naive = run.architectures["naive"]
    assert run.verdict is Verdict.INVALID
    assert naive.facts.ledger.acknowledged == naive.facts.ledger.attempted == 120
    assert naive.facts.ledger.lost > 0
    assert naive.facts.ledger.lost + naive.facts.ledger.stored + naive.facts.ledger.dead_lettered == 120
    assert naive.facts.ledger.examples["lost"][0].startswith("o-")
    broken = [claim.claim for claim in naive.expectations if claim.holds is False]
    assert broken == ["no acknowledged order is lost"]
