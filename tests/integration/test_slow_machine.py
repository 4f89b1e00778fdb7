"""A machine that stood still: no architecture is blamed for it, and none that loses orders is excused by it."""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from beds import RunOnLoop

from testbed import Architecture, Aws, Constant, Database, Db, Deployment, Scenario, Table, Traffic, claims, deploy
from testbed.ledger.history import Attempt, HistoryWriter, Outcome
from testbed.ledger.verdict import ArchitectureVerdict
from testbed.run_folder import RunFolder
from testbed.running import RunningTestbed
from testbed.trial import Trial

pytestmark = pytest.mark.one_engine

ORDERS = Path(__file__).parents[2] / "functions" / "orders"
SCHEMA = "CREATE TABLE orders (id text PRIMARY KEY, customer text, sku text, quantity integer, total_cents integer)"
STANDSTILL = 2.6  # seconds: what is too long, and what a look four times a second may miss of it
Function = Callable[[Aws, Db, Path], str]
Judge = Callable[[Function], ArchitectureVerdict]
FORGET = "def handler(event, context):\n    return {'statusCode': 202, 'body': ''}\n"


@dataclass
class StandsStill:
    """Stops a process when the first order is accepted, and lets it go on a moment later."""

    process: psutil.Process
    history: HistoryWriter
    stopped: bool = False

    def write(self, attempt: Attempt) -> None:
        """What a history does."""
        self.history.write(attempt)
        if attempt.outcome is Outcome.ACKNOWLEDGED and not self.stopped:
            self.stopped = True
            self.process.send_signal(signal.SIGSTOP)
            threading.Timer(STANDSTILL, self.process.send_signal, (signal.SIGCONT,)).start()


def order(order_id: str, _: Random) -> dict[str, Any]:
    """An order of no interest."""
    return {"id": order_id, "customer": "c", "sku": "s", "quantity": 1, "total_cents": 1}


def stores(aws: Aws, db: Db, tmp_path: Path) -> str:  # noqa: ARG001 - as the other one
    """A function that stores each order."""
    return deploy.function(aws, "stores", ORDERS, "sync.handler", environment={"DATABASE_DSN": db.dsn})


def forgets(aws: Aws, db: Db, tmp_path: Path) -> str:  # noqa: ARG001 - as the other one
    """A function that accepts each order, and that is all."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "forgets.py").write_text(FORGET)
    return deploy.function(aws, "forgets", code, "forgets.handler")


def scenario(function: Function, tmp_path: Path) -> Scenario:
    """Two seconds of orders, of which the standstill lets many time out."""
    name = function.__name__

    def deployed(aws: Aws, db: Db) -> Deployment:
        url = deploy.rest_api(aws, name, "POST", "/orders", function(aws, db, tmp_path))
        return Deployment(url=url, stored=Table("orders"))

    expected = [claims.every_order_is_accepted(), claims.no_acknowledged_order_is_lost()]
    return Scenario(
        name=name,
        summary="",
        database=Database(schema=SCHEMA),
        traffic=Traffic(arrivals=Constant(rate=10, seconds=2), order=order, timeout=1),
        architectures=[Architecture(name=name, summary="", deploy=deployed, expectations=expected)],
    )


@pytest.fixture
def judged(bed: RunningTestbed, run_on_loop: RunOnLoop[ArchitectureVerdict], tmp_path: Path) -> Judge:
    """Puts a function behind a REST API on trial, during which the data plane stands still."""

    def judge(function: Function) -> ArchitectureVerdict:
        tried = scenario(function, tmp_path)
        folder = RunFolder(tmp_path, tried.name, 1)
        with HistoryWriter(folder.history) as history:
            stands_still: Any = StandsStill(_plane(bed), history)
            trial = Trial(
                bed=bed,
                scenario=tried,
                architecture=tried.architectures[0],
                seed=1,
                requests=tried.traffic.plan(1, None),
                folder=folder,
                history=stands_still,
            )
            return run_on_loop(trial.run())

    return judge


def _plane(bed: RunningTestbed) -> psutil.Process:
    port = urlsplit(bed.aws.endpoint_url).port
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has just ended, or nobody has waited for it yet
            if "testbed.gateway" in child.cmdline() and port in {each.laddr.port for each in child.net_connections()}:
                return child
    raise AssertionError(f"no data plane listens at port {port}")


def claims_of(found: ArchitectureVerdict) -> list[tuple[bool | None, str]]:
    return [(claim.holds, claim.claim) for claim in found.expectations]


def test_a_good_architecture_on_a_machine_that_stood_still_is_unknown(judged: Judge) -> None:
    """Its clients timed out, and the reason stands among the expectations."""
    found = judged(stores)
    assert claims_of(found) == [
        (False, "every order is accepted, poison included"),
        (True, "no acknowledged order is lost"),
        (None, "the harness could see everything"),
    ], found.facts
    assert "the machine was too slow: " in found.expectations[-1].observed
    assert "the data plane stood still for " in found.expectations[-1].observed
    assert found.verdict == "unknown"


def test_what_is_lost_there_is_lost(judged: Judge) -> None:
    """What it had accepted is nowhere: no slowness explains that."""
    found = judged(forgets)
    assert claims_of(found) == [
        (False, "every order is accepted, poison included"),
        (False, "no acknowledged order is lost"),
    ], found.facts
    assert found.facts.ledger.lost == found.facts.ledger.acknowledged > 0
    assert found.verdict == "invalid"
