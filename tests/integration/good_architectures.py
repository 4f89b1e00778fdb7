"""Architectures that lose, double and hide nothing, each with every fault of the catalogue that can act on it.

What a fault must not do here is more than AWS can do: no fault uses up all the tries that an architecture has, since
what is dead-lettered then would be no mistake of the ledger. Nor does one lie to the customer: ``ServiceError`` after
the work with status 500, or ``InvocationHttpResponse`` so, say that nothing was done where it was, and the ledger is
right to call it ``refused_but_stored``. Here the customer gets a 504 from them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from planted_bugs import FUNCTIONS, MAX_CONNECTIONS, SCHEMA, Direct, Queued, Streamed, Way, _order

from testbed import (
    Architecture,
    AsyncFailures,
    Aws,
    ConcurrencyTaken,
    ConnectionsHogged,
    Constant,
    Database,
    Db,
    Deployment,
    Duplicate,
    EarlyVisibility,
    EnvironmentKilled,
    Expectation,
    Facts,
    InvocationDelay,
    InvocationError,
    InvocationHttpResponse,
    LateDelivery,
    Latency,
    LockHeld,
    LostReply,
    MappingOff,
    OutOfMemory,
    PartDown,
    PartialFailure,
    Poison,
    PostgresBandwidth,
    PostgresBlackHole,
    PostgresRefused,
    PostgresReset,
    Scenario,
    ServiceError,
    SlowColdStart,
    SlowPostgres,
    SqlError,
    Throttle,
    Traffic,
    Unreachable,
    deploy,
    profiles,
)
from testbed.chaos.fault import Fault, Window
from testbed.chaos.faults.poison_kinds import FIT, KINDS
from testbed.chaos.trigger import Trigger, attempts

Chaos = tuple[Fault, ...]
"""What goes wrong in one trial: one fault as a rule, and poison besides where that brings it about."""

_PROFILE: Final = replace(profiles.aws.compress(20), asynchronous=profiles.aws.asynchronous.compress(100))
_ALWAYS: Final = ("lost", "duplicated", "unexpected", "refused_but_stored", "poison_stored", "collateral")
_DEADLY: Final = ("crashes", "never_returns")
_ODD: Final = tuple(sorted(FIT))
_UNFIT: Final = tuple(kind for kind in KINDS if kind not in FIT and kind not in _DEADLY)
_BEGIN: Final = 0.35
_LAST: Final = 0.4


@dataclass(frozen=True, kw_only=True)
class HandedOn:
    """API Gateway -> Lambda, asynchronously -> Lambda -> Postgres, with a dead-letter queue."""

    def __call__(self, name: str, aws: Aws, db: Db) -> Deployment:
        """Deploy it."""
        dead = aws.client("sqs").create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        orders = FUNCTIONS / "orders"
        reach = {"DATABASE_DSN": db.dsn}
        deploy.function(aws, f"{name}-consumer", orders, "from_event.handler", timeout=2, environment=reach)
        aws.client("lambda").update_function_configuration(
            FunctionName=f"{name}-consumer", DeadLetterConfig={"TargetArn": deploy.queue_arn(aws, dead)}
        )
        front = deploy.function(
            aws, f"{name}-front", orders, "to_function.handler", environment={"STORE": f"{name}-consumer"}
        )
        return Deployment(
            url=deploy.rest_api(aws, name, "POST", "/orders", front), dead_letters=[AsyncFailures(f"{name}-dead")]
        )


@dataclass(frozen=True, kw_only=True)
class Hops:
    """What faults of a deployed architecture are aimed at.

    Attributes:
        front: The function behind the API.
        consumer: The one that stores; the same where there is one function.
        tries: Which attempts of the consumer may fail; None for all.
        window: When Postgres may fail, in seconds of the run; None for always.
    """

    front: str
    consumer: str
    tries: Trigger | None = None
    window: Window | None = None


@dataclass(frozen=True, kw_only=True)
class Good:
    """A good architecture.

    Attributes:
        name: In a word.
        way: It, with more tries than any fault here uses up.
        hopeless: The same with few tries, for orders that no retry mends; None where it makes no difference.
        deadly: The same where whoever gets an order dies of it; None likewise.
        dead_letters: Whether unfit orders are dead-lettered; else they are refused.
        faults: Further chaos by name, beyond what `everywhere` has.
        cannot: Faults that cannot act on it, and why; None for one that is refused outright.
        tries: As in `Hops`.
        window: As in `Hops`.
        taken: What a function is left with where concurrency is taken away.
    """

    name: str
    way: Way
    hopeless: Way | None = None
    deadly: Way | None = None
    dead_letters: bool = True
    faults: Callable[[Hops], Mapping[str, Chaos]] = lambda _: {}
    cannot: Mapping[type[Fault], tuple[Fault | None, str]] = field(default_factory=dict)
    tries: Trigger | None = None
    window: Window | None = None
    taken: int = 0

    @property
    def chaos(self) -> Mapping[str, Chaos]:
        """Everything that goes wrong, by name."""
        hops = Hops(
            front=self._function("front"), consumer=self._function("consumer"), tries=self.tries, window=self.window
        )
        return {**everywhere(hops, taken=self.taken), **self.faults(hops), **_poisons(self)}

    def _function(self, role: str) -> str:
        return self.name if isinstance(self.way, Direct) else f"{self.name}-{role}"

    def place(self, chaos: str) -> tuple[str, Way]:
        """Name and way of what is deployed for a trial of ``chaos``."""
        for suffix, way in (("hopeless", self.hopeless), ("deadly", self.deadly)):
            if way and chaos.startswith(suffix):
                return f"{self.name}-{suffix}", way
        return self.name, self.way

    def scenario(self, chaos: str, faults: Chaos) -> Scenario:
        """An order that starts the environments, a dozen more at once, and what goes wrong meanwhile."""
        name, way = self.place(chaos)
        expectations = [*map(_none, _ALWAYS)]
        if self.dead_letters:
            expectations.append(Expectation("what is unfit is dead-lettered", _poison_is_dead))
        return Scenario(
            name=self.name,
            summary="a good architecture",
            database=Database(max_connections=MAX_CONNECTIONS, schema=SCHEMA),
            traffic=Traffic(
                arrivals=Constant(rate=2.5, seconds=0.4) + Constant(rate=40, seconds=0.3), order=_order, timeout=8
            ),
            chaos=list(faults),
            profile=_PROFILE,
            architectures=[
                Architecture(
                    name=name,
                    summary="a good architecture",
                    deploy=lambda aws, db: way(name, aws, db),
                    expectations=expectations,
                )
            ],
            drain_seconds=40,
        )


def _none(anomaly: str) -> Expectation:
    def check(facts: Facts) -> tuple[bool, str]:
        return getattr(facts.ledger, anomaly) == 0, f"{facts.ledger.examples.get(anomaly, ())}"

    return Expectation(f"nothing is {anomaly}", check)


def _poison_is_dead(facts: Facts) -> tuple[bool, str]:
    return facts.ledger.dead_lettered == facts.ledger.poison, f"{facts.ledger.dead_lettered} of {facts.ledger.poison}"


def everywhere(to: Hops, *, taken: int) -> Mapping[str, Chaos]:
    """What can act on every architecture.

    Faults of calls act at every hop that there is: the API, the invokes, whatever the functions and Lambda call.
    """
    both = (to.front, to.consumer)
    wire: dict[str, Any] = {"during": to.window}
    work: dict[str, Any] = {"resources": both, "when": to.tries}
    refusals = attempts(1, 6)  # the wait for the next try doubles each time: nine in a row take longer than the drain
    connect: dict[str, Any] = {**wire, "probability": 0.6, "when": refusals}
    faults: dict[str, Fault] = {
        "throttles": Throttle(service="*", probability=0.15),
        "errors": ServiceError(service="*", probability=0.15),
        "api-errors-after": ServiceError(service="execute-api", status=504, position="after", probability=0.3),
        "slow-calls": Latency(service="*", latency_ms=60, jitter_ms=40, probability=0.3),
        "late-answers": Latency(service="*", latency_ms=60, jitter_ms=40, position="after", probability=0.3),
        "lost-replies": LostReply(service="*", probability=0.15),
        "out-of-reach": Unreachable(service="*", probability=0.15),
        "repeated-calls": Duplicate(service="*", probability=0.3),
        "slow-handlers": InvocationDelay(resources=both, seconds=0.2, probability=0.3),
        "failing-handlers": InvocationError(**work, probability=0.25),
        "failing-after": InvocationError(**work, probability=0.25, prevent_execution=False),
        "front-says-500": InvocationHttpResponse(resources=(to.front,), probability=0.3),
        "front-says-504-after": InvocationHttpResponse(
            resources=(to.front,), probability=0.3, status=504, prevent_execution=False
        ),
        "killed-before": EnvironmentKilled(**work, moment="before", probability=0.25),
        "killed-during": EnvironmentKilled(**work, moment="during", probability=0.25),
        "killed-after": EnvironmentKilled(**work, moment="after", probability=0.25),
        "out-of-memory": OutOfMemory(**work, probability=0.25),
        "slow-starts": SlowColdStart(resources=both, seconds=0.2),
        "concurrency-taken": ConcurrencyTaken(at=_BEGIN, seconds=_LAST, function=to.consumer, left=taken),
        "slow-database": SlowPostgres(latency_ms=20, jitter_ms=10),
        "narrow-database": PostgresBandwidth(bytes_per_second=4000),
        "reset-before": PostgresReset(**wire, operations=("Query",), probability=0.2),
        "reset-after": PostgresReset(**wire, operations=("Query",), position="after", probability=0.2),
        "black-hole": PostgresBlackHole(**wire, operations=("Query",), seconds=0.8, probability=0.2),
        "refused": PostgresRefused(**connect),
        "too-many-connections": PostgresRefused(**connect, sqlstate="53300"),
        "serialization-failures": SqlError(**wire, sqlstate="40001", probability=0.2),
        "admin-shutdown": SqlError(**wire, sqlstate="57P01", probability=0.2),
        "connections-hogged": ConnectionsHogged(at=_BEGIN, seconds=_LAST),
        "table-locked": LockHeld(at=_BEGIN, seconds=_LAST, table="orders"),
        "database-paused": PartDown(at=_BEGIN, seconds=_LAST, part="postgres"),
        "database-killed": PartDown(at=_BEGIN, seconds=_LAST, part="postgres", action="kill"),
        "database-cut-off": PartDown(at=_BEGIN, seconds=_LAST, part="postgres", action="disconnect"),
        # not killed: LocalStack forgets queues and functions then, which AWS does not
        "emulator-paused": PartDown(at=_BEGIN, seconds=_LAST, part="localstack"),
        "emulator-cut-off": PartDown(at=_BEGIN, seconds=_LAST, part="localstack", action="disconnect"),
    }
    return {name: (fault,) for name, fault in faults.items()}


def _poisons(good: Good) -> Mapping[str, Chaos]:
    """Orders that are unfit, odd, or the end of the function that gets them."""
    name, _ = good.place("deadly")
    consumer = name if isinstance(good.way, Direct) else f"{name}-consumer"
    return {
        "hopeless-orders": (Poison(kinds=_UNFIT, every=3),),
        "odd-orders": (Poison(kinds=_ODD, every=3),),
        "deadly-orders": (Poison(kinds=_DEADLY, every=12, functions=(consumer,)),),
    }


def _of_mappings(to: Hops) -> Mapping[str, Chaos]:
    return {"mapping-off": (MappingOff(at=_BEGIN, seconds=_LAST, function=to.consumer),)}


def _of_queues(to: Hops) -> Mapping[str, Chaos]:
    return {
        **_of_mappings(to),
        "deletions-that-fail": (PartialFailure(service="sqs", operations=("DeleteMessageBatch",), probability=0.5),),
        "visible-at-once": (EarlyVisibility(probability=0.5),),
        "late": (LateDelivery(probability=0.3),),
    }


def _late_dead_letters() -> Mapping[str, Chaos]:
    """The only messages are dead letters: there have to be some."""
    return {"hopeless-and-late": (LateDelivery(), Poison(kinds=_UNFIT, every=3))}


def _of_streams(to: Hops) -> Mapping[str, Chaos]:
    return {
        **_of_mappings(to),
        **_late_dead_letters(),
        "puts-that-fail": (PartialFailure(service="kinesis", probability=0.3),),
    }


_NO_BATCH: Final = (PartialFailure(service="sqs"), "nothing is sent, deleted or written in batches")
_NO_QUEUE: Final = (EarlyVisibility(), "nobody receives from a queue")
_NO_MAPPING: Final = (None, "there is no event source mapping, and so none of that function")
_MAPPING: Final = {"BisectBatchOnFunctionError": True, "FunctionResponseTypes": ["ReportBatchItemFailures"]}

ARCHITECTURES: Final = (
    Good(
        name="direct",
        way=Direct(handler="orders/sync", timeout=2),
        dead_letters=False,
        cannot={
            PartialFailure: _NO_BATCH,
            EarlyVisibility: _NO_QUEUE,
            LateDelivery: (LateDelivery(), "nothing is sent to a queue"),
            MappingOff: _NO_MAPPING,
        },
    ),
    Good(
        name="queue",
        way=Queued(receives=10, timeout=1),
        hopeless=Queued(receives=2, timeout=1),
        deadly=Queued(receives=2, timeout=1, batch=1),  # whoever dies of an order takes its batch along
        faults=_of_queues,
    ),
    Good(
        name="stream",
        way=Streamed(front="mended/put_until_taken", mapping=_MAPPING | {"MaximumRetryAttempts": 12}, timeout=2),
        hopeless=Streamed(front="mended/put_until_taken", mapping=_MAPPING | {"MaximumRetryAttempts": 2}, timeout=1),
        deadly=Streamed(front="mended/put_until_taken", mapping=_MAPPING | {"MaximumRetryAttempts": 1}, timeout=1),
        faults=_of_streams,
        cannot={EarlyVisibility: _NO_QUEUE},
    ),
    Good(
        name="event",
        way=HandedOn(),
        faults=lambda _: _late_dead_letters(),
        cannot={PartialFailure: _NO_BATCH, EarlyVisibility: _NO_QUEUE, MappingOff: _NO_MAPPING},
        tries=attempts(1, 2),  # Lambda makes three
        window=(0, 1),  # the first retry comes 0.6 s after a failure, the second 1.2 s after that
        taken=1,  # with 0, events are dead-lettered at once, as on AWS
    ),
)
