"""What becomes of orders when a part of the engine is killed, stopped, paused or cut off: the same on both engines."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import psycopg
import pytest
from beds import RunOnLoop, kept_up, loop_in_background
from engines import find_part
from observing import wait_until

from testbed import deploy
from testbed.engine import PartName, guard
from testbed.running import RunningTestbed
from testbed.scenario import Aws, Db
from testbed.threads import in_daemon_thread

ORDERS = Path(__file__).parents[2] / "functions" / "orders"
HANDLERS = Path(__file__).parent / "scenarios" / "handlers"
SCHEMA = "CREATE TABLE orders (id text PRIMARY KEY, customer text, sku text, quantity integer, total_cents integer)"
TITLES: dict[PartName, str] = {"postgres": "Postgres", "localstack": "LocalStack"}
RATE = 12  # orders per second on each of the two ways
FAULT_SECONDS = 1.5
AT_ONCE = 1.0
BACK_SECONDS = 10.0
"""How soon orders are accepted and stored again once a part is back: within this, both ways, on both engines."""
PATIENCE = 12.0  # of a client: longer than any function, so that it learns what came of each order


class Fault(NamedTuple):
    """What is done to a part, and what undoes it."""

    begin: str
    end: str
    hangs: bool


FAULTS = [
    Fault("pause", "resume", hangs=True),
    Fault("disconnect", "reconnect", hangs=True),
    Fault("kill", "start", hangs=False),
    Fault("stop", "start", hangs=False),
]
"""First those that break no connection: an execution environment notices a broken one only when it is used next."""


@dataclass
class Order:
    """An order as its client sees it; times by `time.monotonic`, no status while there is no answer."""

    id: str
    way: str
    sent: float
    finished: float = float("inf")
    status: int | None = None

    @property
    def acknowledged(self) -> bool:
        return self.status in {201, 202}


@dataclass
class Shop:
    """Two ways for orders into one table: ``direct`` and ``queued``."""

    urls: dict[str, str]
    queue: str
    db: Db

    def stored(self) -> Counter[str]:
        """How many rows each order has."""
        with psycopg.connect(self.db.admin_dsn) as connection:
            return Counter(dict(connection.execute("SELECT id, count(*) FROM orders GROUP BY 1").fetchall()))


def open_shop(aws: Aws, db: Db) -> Shop:
    """Deploy API -> Lambda -> Postgres, and API -> Lambda -> SQS -> Lambda -> Postgres."""
    reach = {"DATABASE_DSN": db.dsn}
    direct = deploy.function(aws, "direct", ORDERS, "sync.handler", timeout=5, environment=reach)
    queue = aws.client("sqs").create_queue(QueueName="orders", Attributes={"VisibilityTimeout": "3"})["QueueUrl"]
    front = deploy.function(
        aws, "front", HANDLERS, "to_queue_once.handler", timeout=5, environment={"QUEUE_URL": queue}
    )
    deploy.function(aws, "consumer", ORDERS, "from_queue.handler", timeout=3, environment=reach)
    aws.client("lambda").create_event_source_mapping(
        FunctionName="consumer",
        EventSourceArn=deploy.queue_arn(aws, queue),
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    urls = {
        way: deploy.rest_api(aws, way, "POST", "/orders", function)
        for way, function in (("direct", direct), ("queued", front))
    }
    return Shop(urls, queue, db)


class Customers:
    """Order all the time, on both ways.

    Args:
        shop: Where.

    Attributes:
        orders: All of them so far.
    """

    _numbers = itertools.count()

    def __init__(self, shop: Shop) -> None:
        self.orders: list[Order] = []
        self._underway: list[asyncio.Task[None]] = []
        self._shop = shop

    @asynccontextmanager
    async def ordering(self) -> AsyncIterator[None]:
        """Order until the body ends, and then wait for the answers."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
            coming = asyncio.create_task(self._come(session))
            try:
                yield
            finally:
                coming.cancel()
                await asyncio.gather(*self._underway)

    async def _come(self, session: aiohttp.ClientSession) -> None:
        while True:
            for way in self._shop.urls:
                order = Order(f"o-{next(self._numbers)}", way, time.monotonic())
                self.orders.append(order)
                self._underway.append(asyncio.create_task(self._send(session, order)))
            await asyncio.sleep(1 / RATE)

    async def _send(self, session: aiohttp.ClientSession, order: Order) -> None:
        body = {"id": order.id, "customer": "c", "sku": "s", "quantity": 1, "total_cents": 1}
        headers = {"Idempotency-Key": order.id}
        try:
            async with session.post(f"{self._shop.urls[order.way]}/orders", json=body, headers=headers) as answer:
                order.status = answer.status
        except (TimeoutError, aiohttp.ClientError):
            pass  # it never learns
        order.finished = time.monotonic()

    def sent(self, way: str, after: float, before: float = float("inf")) -> list[Order]:
        """Orders on a way that were sent between two times."""
        return [order for order in self.orders if order.way == way and after <= order.sent <= before]

    async def until_stored(self, after: float, within: float) -> None:
        """Wait until on each way an order that was sent after that time is acknowledged and in the table."""

        def flows() -> bool:
            stored = self._shop.stored()
            return all(
                any(order.acknowledged and order.id in stored for order in self.sent(way, after))
                for way in self._shop.urls
            )

        await in_daemon_thread(lambda: wait_until(flows, "orders to be stored on both ways", seconds=within))


@dataclass
class Chaos:
    """A testbed of one's own, and the part of it that suffers."""

    bed: RunningTestbed
    part: PartName
    run: RunOnLoop[Any]
    shop: Shop
    death: "asyncio.Task[Any]"

    async def do(self, what: str) -> None:
        await getattr(self.bed.engine.part(self.part), what)()

    def redeploy(self) -> None:
        self.shop = open_shop(self.bed.aws, self.shop.db)

    def settled(self) -> None:
        """Wait until no message is left."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        sqs = self.bed.aws.client("sqs")

        def left() -> int:
            answer = sqs.get_queue_attributes(QueueUrl=self.shop.queue, AttributeNames=names)
            return sum(int(answer["Attributes"][name]) for name in names)

        wait_until(lambda: left() == 0, "the queue to be empty", seconds=30)


@pytest.fixture(scope="module", params=TITLES)
def chaos(mode: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    """The other part stays well."""
    logs = tmp_path_factory.mktemp(f"chaos-{mode}-{request.param}")
    with loop_in_background() as run, kept_up(run, mode, logs, max_connections=100) as bed:
        db = run(bed.create_database("shop"))
        db.execute(SCHEMA)

        async def watch() -> "asyncio.Task[Any]":
            return asyncio.create_task(bed.died())

        death = run(watch())
        yield Chaos(bed, request.param, run, open_shop(bed.aws, db), death)
        death.cancel()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.begin)
def test_no_acknowledged_order_is_lost(chaos: Chaos, fault: Fault) -> None:
    """Who needs the part gets errors at once, or waits; all others notice nothing; soon all is well again."""
    customers = Customers(chaos.shop)
    empty = chaos.part == "localstack" and fault.end == "start"

    async def ordeal() -> tuple[float, float]:
        async with customers.ordering():
            await customers.until_stored(0, within=BACK_SECONDS)
            await chaos.do(fault.begin)
            began = time.monotonic()
            await asyncio.sleep(FAULT_SECONDS)
            ended = time.monotonic()
            await chaos.do(fault.end)
            if not empty:
                await customers.until_stored(time.monotonic(), within=BACK_SECONDS)
        return began, ended

    began, ended = chaos.run(ordeal())
    needs_it, does_not = ("direct", "queued") if chaos.part == "postgres" else ("queued", "direct")
    assert_seen(customers.sent(needs_it, began, ended - AT_ONCE), fault, ended)
    assert {order.status for order in customers.sent(does_not, began, ended - AT_ONCE)} == {accepted(does_not)}
    assert not chaos.death.done()
    if empty:
        assert_forgotten(chaos)
        chaos.redeploy()
        chaos.run(flow_again(chaos))
    chaos.settled()
    stored = chaos.shop.stored()
    assert set(stored.values()) == {1}
    acknowledged = {order.id for order in customers.orders if order.acknowledged}
    if empty:  # what was in its queue went with it
        acknowledged = {order.id for order in customers.sent("direct", 0) if order.acknowledged}
    assert acknowledged <= stored.keys()
    assert len(acknowledged) > RATE


def accepted(way: str) -> int:
    """The status of an order that is taken."""
    return {"direct": 201, "queued": 202}[way]


def assert_seen(orders: list[Order], fault: Fault, ended: float) -> None:
    """While the fault lasts, no order that meets it is taken."""
    assert len(orders) >= 3
    if fault.hangs:
        assert [order for order in orders if order.finished < ended] == []
    else:
        assert {order.status for order in orders} <= {503, 504}  # 504 of the statement in which the connection broke
        assert max(order.finished - order.sent for order in orders) < AT_ONCE


async def flow_again(chaos: Chaos) -> None:
    customers = Customers(chaos.shop)
    async with customers.ordering():
        await customers.until_stored(0, within=BACK_SECONDS)


def assert_forgotten(chaos: Chaos) -> None:
    """LocalStack is empty, and the plane does not serve what it knew before."""
    aws = chaos.bed.aws
    assert aws.client("lambda").list_functions()["Functions"] == []
    assert aws.client("lambda").list_event_source_mappings()["EventSourceMappings"] == []
    assert "QueueUrls" not in aws.client("sqs").list_queues()
    assert aws.client("apigateway").get_rest_apis()["items"] == []
    with pytest.raises(aws.client("lambda").exceptions.ResourceNotFoundException):
        aws.client("lambda").invoke(FunctionName="direct")
    late = Customers(chaos.shop)
    chaos.run(one_moment(late))
    assert {order.status for order in late.orders} <= {403, 404}
    wait_until(lambda: chaos.run(chaos.bed.plane.call("status"))["mappings"] == [], "the pollers to be gone")


async def one_moment(customers: Customers) -> None:
    async with customers.ordering():
        await asyncio.sleep(0.2)


def test_a_death_that_nobody_wanted_is_still_reported(chaos: Chaos, mode: str) -> None:
    """After all that was done to it on purpose: killed from outside, the part is named within a second."""
    token = chaos.bed.engine._space.environment[guard.TOKEN_VARIABLE]  # type: ignore[attr-defined]
    found = find_part(mode, token, TITLES[chaos.part])
    assert found
    assert not chaos.death.done()
    found.kill()

    async def death() -> Any:
        async with asyncio.timeout(1):
            return await chaos.death

    assert chaos.run(death()).message == f"{TITLES[chaos.part]} was killed by SIGKILL"
