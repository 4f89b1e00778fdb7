"""Poison on a real function before a real Postgres."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from beds import RunOnLoop

from testbed import Poison, deploy
from testbed.chaos.catalogue import to_json
from testbed.chaos.fault import Fault
from testbed.chaos.faults.poison_kinds import FIT, KINDS
from testbed.running import RunningTestbed
from testbed.scenario import Db

pytestmark = pytest.mark.one_engine

ORDERS = Path(__file__).parents[2] / "functions" / "orders"
SCHEMA = "CREATE TABLE orders (id text PRIMARY KEY, customer text, sku text, quantity integer, total_cents integer)"
NAME = "poisoned"
IN_THE_BODY = sorted(set(KINDS) - {"crashes", "never_returns"})


@pytest.fixture(scope="module")
def db(bed: RunningTestbed, run_on_loop: RunOnLoop[Any]) -> Db:
    """A database with a table of orders, and a function that stores them within a second."""
    db: Db = run_on_loop(bed.create_database(NAME))
    db.execute(SCHEMA)
    deploy.function(bed.aws, NAME, ORDERS, "sync.handler", timeout=1, environment={"DATABASE_DSN": db.dsn})
    return db


@pytest.fixture
def arm(bed: RunningTestbed, run_on_loop: RunOnLoop[Any], tmp_path: Path) -> Iterator[Callable[[list[Fault]], None]]:
    """Lets faults act until the end of the test."""
    path = tmp_path / "journal.jsonl"

    def armed(faults: list[Fault]) -> None:
        order = {"architecture": "test", "seed": 1, "faults": to_json(faults), "journal": str(path)}
        run_on_loop(bed.plane.call("begin", **order, zero=time.monotonic()))

    yield armed
    armed([])


def sent(bed: RunningTestbed, body: bytes) -> dict[str, Any]:
    """What the function answers to a request with this body."""
    payload = json.dumps({"body": body.decode()})
    answer: dict[str, Any] = json.load(bed.aws.client("lambda").invoke(FunctionName=NAME, Payload=payload)["Payload"])
    return answer


def order(order_id: str) -> dict[str, Any]:
    return {"id": order_id, "customer": "c", "sku": "s", "quantity": 1, "total_cents": 1}


def test_each_kind_is_stored_if_it_is_fit_and_refused_if_it_is_not(bed: RunningTestbed, db: Db) -> None:
    """By a function that is written with care: 400 is no crash, and Postgres has the fit ones alone."""
    statuses = {kind: sent(bed, KINDS[kind](order(kind))).get("statusCode") for kind in IN_THE_BODY}
    assert statuses == {kind: 201 if kind in FIT else 400 for kind in IN_THE_BODY}
    with psycopg.connect(db.admin_dsn) as connection:
        assert {name for (name,) in connection.execute("SELECT id FROM orders").fetchall()} == FIT


@pytest.mark.usefixtures("db")
def test_what_crashes_or_hangs_does_so_whatever_the_handler_is(
    bed: RunningTestbed, arm: Callable[[list[Fault]], None]
) -> None:
    """The environment dies, or the invoke ends with its timeout; the next order finds a function that works."""
    arm(Poison().of_invokes([("crashes", "o-1"), ("never_returns", "o-2")]))
    assert sent(bed, KINDS["crashes"](order("o-1")))["errorType"] == "Runtime.ExitError"
    started = time.monotonic()
    assert "Task timed out after 1.00 seconds" in sent(bed, KINDS["never_returns"](order("o-2")))["errorMessage"]
    assert time.monotonic() - started >= 1
    assert sent(bed, KINDS["crashes"](order("o-3")))["statusCode"] == 201
