"""Faults of Postgres as functions meet them, and a Postgres that goes away for a while."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from beds import RunOnLoop
from observing import JournalReader

from testbed import deploy
from testbed.chaos.catalogue import to_json
from testbed.chaos.fault import Fault
from testbed.chaos.faults.part_down import PartDown
from testbed.chaos.faults.postgres_connection import PostgresBlackHole, PostgresRefused, PostgresReset
from testbed.chaos.faults.sql_error import SqlError
from testbed.chaos.schedule import named
from testbed.chaos.trigger import nth
from testbed.running import RunningTestbed
from testbed.scenario import Db
from testbed.timetable import TrialWorld

pytestmark = pytest.mark.one_engine

ORDERS = Path(__file__).parents[2] / "functions" / "orders"
SCHEMA = "CREATE TABLE orders (id text PRIMARY KEY, customer text, sku text, quantity integer, total_cents integer)"
DATABASE = "faulty"
MOMENT = 0.3  # seconds for which nothing happens


@pytest.fixture(scope="module")
def db(bed: RunningTestbed, run_on_loop: RunOnLoop[Any]) -> Db:
    """A database with a table of orders, and the function ``faulty`` that stores them."""
    db: Db = run_on_loop(bed.create_database(DATABASE))
    db.execute(SCHEMA)
    deploy.function(bed.aws, DATABASE, ORDERS, "sync.handler", environment={"DATABASE_DSN": db.dsn})
    return db


@pytest.fixture
def arm(
    bed: RunningTestbed, run_on_loop: RunOnLoop[Any], tmp_path: Path
) -> Iterator[Callable[[list[Fault]], JournalReader]]:
    """Lets faults act until the end of the test, and records."""
    path = tmp_path / "journal.jsonl"

    def armed(faults: list[Fault]) -> JournalReader:
        order = {"architecture": "test", "seed": 1, "faults": to_json(named(faults)), "journal": str(path)}
        run_on_loop(bed.plane.call("begin", **order, zero=time.monotonic()))
        return JournalReader(path)

    yield armed
    armed([])


def order(bed: RunningTestbed, number: int) -> int:
    """Sends an order to the function; returns its status."""
    body = {"id": f"o-{number}", "customer": "c", "sku": "s", "quantity": 1, "total_cents": 1}
    payload = json.dumps({"body": json.dumps(body)})
    answer = bed.aws.client("lambda").invoke(FunctionName=DATABASE, Payload=payload)
    return int(json.loads(answer["Payload"].read())["statusCode"])


def stored(db: Db) -> list[str]:
    with psycopg.connect(db.admin_dsn) as connection:
        return [name for (name,) in connection.execute("SELECT id FROM orders ORDER BY id").fetchall()]


def test_functions_meet_each_fault_and_go_on(
    bed: RunningTestbed, db: Db, arm: Callable[[list[Fault]], JournalReader]
) -> None:
    """A statement that fails, a refused connection, a statement whose reply is lost, and one that falls silent."""
    assert order(bed, 0) == 201
    journal = arm(
        [
            SqlError(name="serialization", sqlstate="40001", when=nth(1)),
            PostgresRefused(name="full", sqlstate="53300", when=nth(1)),
            PostgresReset(name="lost", operations=("Query",), position="after", when=nth(1)),
            PostgresBlackHole(name="silent", operations=("Query",), seconds=MOMENT, when=nth(1)),
        ]  # each acts on the first round trip that those before have left to it
    )
    assert [order(bed, number) for number in (1, 2, 3, 4)] == [503, 503, 504, 504]
    assert stored(db) == ["o-0", "o-3"]
    assert [order(bed, number) for number in (1, 2, 3, 4)] == [201] * 4
    assert stored(db) == ["o-0", "o-1", "o-2", "o-3", "o-4"]
    fired = [(line["fault"], line["error"], line["executed"]) for line in journal.wait_for("fault", count=4)]
    assert fired == [
        ("serialization", "40001", False),
        ("full", "53300", False),
        ("lost", "ConnectionReset", True),
        ("silent", "ConnectionReset", False),
    ]


@pytest.mark.parametrize("action", ["pause", "disconnect", "kill"])
def test_postgres_goes_and_comes_back(bed: RunningTestbed, db: Db, run_on_loop: RunOnLoop[Any], action: Any) -> None:
    """What was committed is there afterwards; meanwhile nobody gets an answer, or a connection."""
    fault = PartDown(at=0, seconds=MOMENT, part="postgres", action=action)
    before = stored(db)
    answered: list[float] = []

    def ask() -> None:
        with psycopg.connect(db.dsn) as connection:
            connection.execute("SELECT 1")
        answered.append(time.monotonic())

    async def away() -> float:
        async with fault.happening(TrialWorld(bed, DATABASE)):
            if action == "kill":
                with pytest.raises(psycopg.OperationalError):
                    await asyncio.to_thread(ask)
            else:
                asking.start()
            await asyncio.sleep(MOMENT)
            return time.monotonic()

    asking = threading.Thread(target=ask)
    ended = run_on_loop(away())
    if action != "kill":
        asking.join(20)
        assert answered[0] > ended
    assert stored(db) == before
    ask()
