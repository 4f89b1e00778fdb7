"""Incidents that people meet, as lists of faults: ``Scenario(chaos=incidents.retry_storm("sqs", during=(10, 25)))``.

Each function takes the few numbers that matter; ``during`` is the window in seconds after the start of the traffic.
The faults have names of their own, so several incidents go together as ``[*incidents.one(...), *incidents.two(...)]``.
"""

from typing import Final

from testbed.chaos.fault import Fault, Window
from testbed.chaos.faults.database_busy import ConnectionsHogged
from testbed.chaos.faults.environment_lost import EnvironmentKilled, SlowColdStart
from testbed.chaos.faults.invocation import InvocationDelay
from testbed.chaos.faults.latency import Latency
from testbed.chaos.faults.lost_reply import LostReply, Unreachable
from testbed.chaos.faults.poison import Poison
from testbed.chaos.faults.slow_postgres import SlowPostgres
from testbed.chaos.faults.throttle import Throttle

_SENDS: Final = ("SendMessage", "SendMessageBatch")
_DELETES: Final = ("DeleteMessage", "DeleteMessageBatch")


def throttle_eats_receive_count(function: str, during: Window, share: float = 0.8) -> list[Fault]:
    """Messages end up in the dead-letter queue without the function ever having seen them.

    A standard queue's mapping receives a message before it knows whether the function has concurrency left. A
    throttled invoke gives the message back, and its receive count is spent: with a low ``maxReceiveCount`` good
    messages are given up. Source: AWS Lambda developer guide, Using Lambda with Amazon SQS, which asks for a
    ``maxReceiveCount`` of five or more for that reason.

    Args:
        function: The consumer of the queue.
        during: When it is throttled.
        share: Chance of each invoke by its mappings.
    """
    return [
        Throttle(
            name="throttled-consumer", service="lambda", operations=("Invoke",), resources=(function,),
            callers=("mapping",), probability=share, during=during,
        )
    ]  # fmt: skip


def retry_storm(service: str, during: Window, latency_ms: float = 5_000, share: float = 0.5) -> list[Fault]:
    """A slow service is asked ever more often, by callers that no longer wait for its answers.

    Calls are executed, and answered too late or not at all: who gives up asks again, and the service does the same
    work two or three times. Source: Amazon Builders' Library, Timeouts, retries, and backoff with jitter; AWS's summary
    of the DynamoDB disruption of 20 September 2015, where storage servers kept asking a metadata service that was too
    slow.

    Args:
        service: The service that is slow, ``"execute-api"`` for the scenario's own API.
        during: When.
        latency_ms: How late its answers are; give more than a caller's patience.
        share: Chance of each call to be answered late; half as many answers are lost.
    """
    return [
        Latency(
            name="late-answers", service=service, latency_ms=latency_ms, jitter_ms=latency_ms / 4, position="after",
            probability=share, during=during,
        ),
        LostReply(name="lost-answers", service=service, probability=share / 2, during=during),
    ]  # fmt: skip


def cold_start_stampede(during: Window, seconds: float = 3.0, functions: tuple[str, ...] = ()) -> list[Fault]:
    """All environments are new at once, and the start of each takes its time.

    In the first tenth of the window the environments die under their invokes, as when a host fails; what starts in
    their place until its end starts slowly. Requests wait for initialisations, concurrency is used up by waiting, and
    the rest is throttled. Source: AWS Lambda developer guide, Understanding the Lambda execution environment lifecycle.

    Args:
        during: When.
        seconds: How much longer each initialisation takes, at most 9.
        functions: Which; empty is all.
    """
    start, end = during
    return [
        EnvironmentKilled(
            name="environments-gone", moment="before", resources=functions, during=(start, start + (end - start) / 10)
        ),
        SlowColdStart(name="slow-starts", seconds=seconds, resources=functions, during=during),
    ]


def connection_exhaustion(during: Window, left: int = 0) -> list[Fault]:
    """The database answers "remaining connection slots are reserved" (SQLSTATE 53300) to whoever connects.

    Each execution environment holds a connection of its own, so concurrency is limited by what the database takes; a
    batch job, or another service, holds the rest. Source: AWS Lambda developer guide, Using AWS Lambda with Amazon RDS,
    which recommends RDS Proxy for it.

    Args:
        during: When the connections are taken.
        left: How many are left for the functions.
    """
    return [ConnectionsHogged(name="connections-gone", left=left, at=during[0], seconds=during[1] - during[0])]


def slow_consumer(function: str, during: Window, seconds: float = 2.0) -> list[Fault]:
    """The backlog grows, messages become visible again before their work is done, records grow old.

    Source: AWS Lambda developer guide, Using Lambda with Amazon SQS: the visibility timeout should be six times the
    function's timeout, for what is slower is delivered again.

    Args:
        function: The consumer of a queue or a stream.
        during: When it is slow.
        seconds: How much longer each of its batches takes.
    """
    return [
        InvocationDelay(
            name="slow-consumer", seconds=seconds, resources=(function,), callers=("mapping",), during=during
        )
    ]


def poison_shard(every: int = 200) -> list[Fault]:
    """One record that cannot be processed holds up all that come after it in its shard.

    A failed batch of a stream is tried again until it succeeds or its records expire, which by default they do after a
    day: the iterator age grows while nothing moves. Source: AWS Lambda developer guide, How Lambda processes records
    from stream and queue-based event sources; the ways out are bisection, a maximum of retries and an on-failure
    destination.

    Args:
        every: One order in this many is such a record.
    """
    return [Poison(name="poison-record", kinds=("wrong_type",), every=every)]


def lost_acknowledgement(queue: str, during: Window, share: float = 0.2) -> list[Fault]:
    """A message was sent, or processed, and the confirmation got lost: it is sent, or processed, again.

    The sender's SDK repeats a SendMessage whose answer it has not seen, though the queue has the message; and a
    message whose deletion did not come through becomes visible again. Both are what at-least-once delivery means.
    Source: Amazon SQS developer guide, At-least-once delivery.

    Args:
        queue: Name of the queue.
        during: When.
        share: Chance of each send and each deletion.
    """
    resources = (queue,)
    return [
        LostReply(
            name="sent-unknown", service="sqs", operations=_SENDS, resources=resources, probability=share, during=during
        ),
        Unreachable(
            name="not-deleted",
            service="sqs",
            operations=_DELETES,
            resources=resources,
            probability=share,
            during=during,
        ),
    ]


def database_brown_out(during: Window, latency_ms: float = 400, left: int = 5) -> list[Fault]:
    """The database is not down, only slow: each statement takes longer, and so each connection is held longer.

    Slow statements keep environments and their connections busy, the next requests open more of both, and the database
    gets slower still. Source: Amazon Builders' Library, Using load shedding to avoid overload, which calls a server in
    that state browned out.

    Args:
        during: When.
        latency_ms: How much longer each round trip takes, give or take a quarter.
        left: How many connections are left for the functions, while others hold theirs longer too.
    """
    return [
        SlowPostgres(name="slow-database", latency_ms=latency_ms, jitter_ms=latency_ms / 4, during=during),
        ConnectionsHogged(name="busy-database", left=left, at=during[0], seconds=during[1] - during[0]),
    ]
