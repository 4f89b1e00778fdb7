"""What crosses the seam between the data plane and the faults: a call, and what is done to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way, as far as a fault needs to know it.

    Attributes:
        service: botocore's service name (``"sqs"``, ``"lambda"``), ``"execute-api"`` for the data plane of a REST API,
            ``"postgres"`` for the database.
        operation: Operation of the service (``"SendMessage"``); for execute-api the method (``"POST"``).
        resource: Name of the queue, stream, function or API; empty where there is none.
        caller: Who calls: ``"client"``, ``"function:NAME"``, ``"mapping:UUID"``, ``"async:NAME"``, ``"emulator"``.
        identity: What stays the same for this request over runs with the same seed, whatever the concurrency.
        attempt: How often this identity has been seen, this time included: 1, 2, ...
        at: When the request belongs into the run, in seconds after the start of the traffic: the planned time of
            the order that caused it where that is known, the time of day of the run otherwise.
    """

    service: str
    operation: str
    resource: str
    caller: str
    identity: str
    attempt: int
    at: float


@dataclass(frozen=True, slots=True)
class AwsError:
    """An error as AWS would answer it; the gateway writes it in the protocol of the service.

    Attributes:
        code: The error code, for example ``"TooManyRequestsException"``.
        status: HTTP status.
        message: Text for people.
        members: Further members of the modelled exception, for example ``{"Reason": ...}``.
    """

    code: str
    status: int
    message: str
    members: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Injection:
    """What a fault does to one call, before it is executed.

    Attributes:
        fault: Name of the fault in the schedule.
        delay: Seconds to wait first.
        error: What is answered instead of executing the call; None executes it.
    """

    fault: str
    delay: float = 0.0
    error: AwsError | None = None
