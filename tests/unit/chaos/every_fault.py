"""One list with every kind of fault that acts on calls and every stateless trigger, decided by so many clients."""

import asyncio
import json
import sys
from collections.abc import Mapping
from random import Random
from typing import Any, Final

from testbed.chaos import trigger
from testbed.chaos.catalogue import FAULTS, faults_from_json, to_json
from testbed.chaos.fault import CallFault, Fault
from testbed.chaos.schedule import Schedule
from testbed.chaos.trigger import Trigger
from testbed.gateway.classify import Target
from testbed.gateway.faults import Faults
from testbed.trace import trace_header

ORDERS: Final = 120
SEED: Final = 11
_ATTEMPTS: Final = 3
_WANTED: Final[Mapping[str, dict[str, Any]]] = {
    "Latency": {"service": "*", "latency_ms": 20, "jitter_ms": 5},
    "Throttle": {"service": "kinesis"},
    "ServiceError": {"service": "dynamodb"},
    "LostReply": {"service": "sqs"},
    "Unreachable": {"service": "execute-api"},
    "PartialFailure": {"service": "kinesis"},
    "Duplicate": {"service": "sqs"},
    "InvocationDelay": {"seconds": 1},
    "SlowPostgres": {"latency_ms": 10, "jitter_ms": 2},
    "PostgresBandwidth": {"bytes_per_second": 1000},
    "PostgresBlackHole": {"seconds": 1},
    "SqlError": {"sqlstate": "40001"},
}
"""The fields that have no default."""
_CALLS: Final = (
    ("execute-api", "POST", "shop", "client"),
    ("lambda", "Invoke", "store", "client"),
    ("sqs", "SendMessage", "orders", "function:store"),
    ("sqs", "SendMessageBatch", "orders", "function:store"),
    ("sqs", "ReceiveMessage", "orders", "mapping:m"),
    ("kinesis", "PutRecords", "events", "function:store"),
    ("dynamodb", "PutItem", "items", "function:store"),
    ("postgres", "Connect", "db", "client"),
    ("postgres", "Query", "db", "client"),
)
"""The calls that an order causes, each of which is tried again until no fault answers it; every hit takes effect."""


def triggers() -> list[Trigger]:
    """Every kind that looks at the call alone, and their combinations."""
    return [
        trigger.probability(0.4),
        trigger.window(1.0, 6.0) & trigger.probability(0.7),
        trigger.every_nth(5) | trigger.nth(7),
        trigger.attempts(2, 3) & trigger.probability(0.8),
        ~trigger.key(*map(order_id, range(0, ORDERS, 2))),
        trigger.caller("client", "mapping", "function") & trigger.probability(0.3),
        (trigger.service("sqs", "postgres") | trigger.function("store")) & trigger.probability(0.5),
        trigger.resource("orders", "store", "db", "items", "events", "shop") & ~trigger.operation("Nothing"),
    ]


def order_id(number: int) -> str:
    """The id of an order."""
    return f"order-{number}"


def every_fault() -> list[Fault]:
    """Each kind with two of the triggers, so that each trigger has its turn."""
    kinds = [kind for kind in FAULTS.values() if issubclass(kind, CallFault)]
    found, conditions = [], triggers()
    for position, kind in enumerate(kinds):
        for turn in (0, 1):
            condition = conditions[(2 * position + turn) % len(conditions)]
            fields = _WANTED.get(kind.__name__, {}) | {"probability": 0.6, "when": condition}
            found.append(kind(name=f"{kind.__name__}-{turn}", **fields))
    return faults_from_json(to_json(found))


class _Lines:
    """A journal as a list of texts."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def record(self, hop: str, **fields: object) -> None:
        """One line."""
        self.lines.append(json.dumps({"hop": hop, **fields}, sort_keys=True))


async def decided_by(clients: int, shuffled: int = 0) -> list[str]:
    """What the journal of a run by so many clients says of faults, in an order of its own.

    Args:
        clients: How many orders are on their way at a time.
        shuffled: Seed of the order of the orders, and of how long each call takes.
    """
    journal, random = _Lines(), Random(shuffled)  # noqa: S311 - of a test
    faults = Faults(journal, lambda: random.uniform(0, 100))  # type: ignore[arg-type]  # a list is journal enough
    faults.arm(Schedule(every_fault(), SEED, faults.journal_fault))
    left = list(range(ORDERS))
    random.shuffle(left)

    async def client() -> None:
        while left:
            number = left.pop()
            header = trace_header(order_id(number), planned=number / 10, number=number + 1)
            origin = faults.origin(header)
            for service, operation, resource, caller in _CALLS:
                identity = f"{service}.{operation}:{resource}:{origin.trace}"
                for _ in range(_ATTEMPTS):
                    call = faults.call(Target(service, operation, resource), caller, origin, identity)
                    for _ in range(random.randrange(3)):
                        await asyncio.sleep(0)
                    decision = faults.decide(call)
                    for injection in decision.injections if decision else ():
                        injection.happened()
                    if decision is None or decision.answering is None:
                        break

    await asyncio.gather(*(client() for _ in range(clients)))
    return sorted(journal.lines)


if __name__ == "__main__":
    print("\n".join(asyncio.run(decided_by(int(sys.argv[1]), int(sys.argv[2])))))  # noqa: T201 - for who started it
