"""One seed decides the same in a run with one client and in one with 64: a real API, a real function, a real SDK."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from beds import RunOnLoop
from observing import JournalReader, unique

from testbed import deploy
from testbed.catalog import load_scenario
from testbed.chaos.catalogue import to_json
from testbed.chaos.schedule import named
from testbed.running import RunningTestbed
from testbed.trace import HEADER, trace_header

MANY_FAULTS = load_scenario(str(Path(__file__).parent / "scenarios" / "many_faults.py"))
HANDLERS = Path(__file__).parent / "scenarios" / "handlers"
COUNT = 80
SEED = 4
Hits = set[tuple[Any, ...]]


@pytest.fixture
def api(bed: RunningTestbed) -> Iterator[str]:
    """API Gateway -> Lambda -> SQS; nobody reads the queue, as batches are a matter of timing."""
    queue = bed.aws.client("sqs").create_queue(QueueName=unique("q"))["QueueUrl"]
    environment = {"QUEUE_URL": queue}
    front = deploy.function(bed.aws, "front", HANDLERS, "to_queue_once.handler", timeout=60, environment=environment)
    yield deploy.rest_api(bed.aws, unique("api"), "POST", "/orders", front) + "/orders"
    bed.aws.client("lambda").delete_function(FunctionName="front")


@pytest.fixture
def hits(bed: RunningTestbed, run_on_loop: RunOnLoop[Any], api: str, tmp_path: Path) -> Callable[[int], Hits]:
    """What the faults did in a run of so many clients."""

    def run(clients: int) -> Hits:
        path = tmp_path / f"{unique('run')}.jsonl"
        order = {"architecture": "test", "seed": SEED, "faults": to_json(named(MANY_FAULTS.chaos))}
        run_on_loop(bed.plane.call("begin", **order, journal=str(path), zero=time.monotonic()))
        asyncio.run(_send(api, clients))
        run_on_loop(bed.plane.call("end"))
        fields = ("fault", "identity", "attempt", "at", "delay_ms", "error", "effect")
        return {tuple(line[field] for field in fields) for line in JournalReader(path).lines("fault")}

    return run


async def _send(api: str, clients: int) -> None:
    """Every order, until it is taken or was tried three times, in an order of this run's own."""
    left = Random().sample(range(COUNT), COUNT)  # noqa: S311 - of a test
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def client() -> None:
            while left:
                number = left.pop()
                trace = trace_header(name := f"o-{number}", planned=number / 40, number=number + 1)
                order = {"id": name, "customer": "c", "sku": "s", "quantity": 1, "total_cents": 100}
                headers = {HEADER: trace, "Idempotency-Key": name}
                for _ in range(3):
                    async with session.post(api, json=order, headers=headers) as answer:
                        if answer.status < 500:
                            break

        await asyncio.gather(*(client() for _ in range(clients)))


@pytest.mark.one_engine
def test_one_client_and_sixty_four_are_hit_alike(hits: Callable[[int], Hits]) -> None:
    """Each hit at each hop, with its delay, its answer and its effect; every fault has some."""
    alone = hits(1)
    assert {fault for fault, *_ in alone} == {fault.name for fault in named(MANY_FAULTS.chaos)}
    assert max(hit[2] for hit in alone) > 1
    assert hits(64) == alone
