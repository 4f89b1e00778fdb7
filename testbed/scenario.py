"""What a scenario is made of: architectures, traffic, chaos and expectations. Data, not machinery."""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import add
from random import Random
from reprlib import repr as short
from typing import Any, Final, Protocol

from testbed.chaos.fault import CallFault, Fault
from testbed.chaos.faults.poison import Poison
from testbed.chaos.schedule import named
from testbed.chaos.timed import TimedFault, check_apart
from testbed.errors import TestbedError, UsageError
from testbed.ledger.verdict import Expectation
from testbed.load.arrivals import Arrivals
from testbed.load.orders import Request, plan_requests, rearranged
from testbed.own_lines import shortened
from testbed.records import Destination, Source, Table
from testbed.semantics.profiles import Profile, aws

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
REGION: Final = "us-east-1"
ROLE: Final = "arn:aws:iam::000000000000:role/testbed"
"""A role for functions: nothing checks permissions, but CreateFunction asks for one."""


class Aws:
    """AWS as a scenario's ``deploy`` sees it: boto3 clients for the testbed's endpoint.

    Attributes:
        endpoint_url: The gateway, the one endpoint for everything.
    """

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url

    def client(self, service: str) -> Any:
        """A boto3 client of ``service``, as ``boto3.client`` gives it."""
        from botocore.config import Config  # noqa: PLC0415 - half of the import time of every scenario, see _session

        config = Config(
            retries={"total_max_attempts": 3, "mode": "standard"},
            s3={"addressing_style": "path"},
            inject_host_prefix=False,  # "sync-127.0.0.1" is no name that resolves
        )
        return self._session.client(service, endpoint_url=self.endpoint_url, config=config)

    @cached_property
    def _session(self) -> Any:
        import boto3  # noqa: PLC0415 - whoever only lists scenarios, or runs functions, needs none

        return boto3.Session("test", "test", region_name=REGION)

    def rest_api_url(self, api_id: str, stage: str) -> str:
        """The address of a deployed stage, without a slash at its end."""
        return f"{self.endpoint_url}/restapis/{api_id}/{stage}/_user_request_"


class Db:
    """The database of one architecture, empty but for the scenario's schema.

    Attributes:
        dsn: For functions: an ordinary user, by the way of the testbed's wire proxy.
        admin_dsn: For set-up and the ledger: a superuser, straight to Postgres.
    """

    def __init__(self, dsn: str, admin_dsn: str) -> None:
        self.dsn = dsn
        self.admin_dsn = admin_dsn

    def execute(self, sql: str) -> None:
        """Run statements as the ordinary user who will own what they create."""
        import psycopg  # noqa: PLC0415 - as with boto3 above
        from psycopg import sql as composed  # noqa: PLC0415 - the same
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - the same

        owner = composed.Identifier(str(conninfo_to_dict(self.dsn)["user"]))
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            connection.execute(composed.SQL("SET ROLE {}").format(owner))
            connection.execute(sql.encode())


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Where a deployed architecture takes orders, and where they end up.

    Attributes:
        url: What comes before the path of each request.
        stored: Where stored orders are.
        dead_letters: Queues and destinations that hold what was given up.
        sources: Queues and streams that hold what is still to be done; the drain waits until they are empty.

    Raises:
        UsageError: A field is something else.
    """

    url: str
    stored: Destination = field(default_factory=Table)
    dead_letters: Sequence[Destination] = ()
    sources: Sequence[Source] = ()

    def __post_init__(self) -> None:
        if not str(self.url).startswith(("http://", "https://")):
            raise UsageError(
                f"Deployment(url={self.url!r}) is no URL of http or https",
                "aws.rest_api_url() has that of a REST API, create_function_url_config() that of a function",
            )
        places = {"stored": [self.stored], "dead_letters": self.dead_letters, "sources": self.sources}
        for name, given in places.items():
            if not _is_list(given, lambda place: callable(getattr(place, "ids", None))):
                raise UsageError(
                    f"Deployment({name}={short(getattr(self, name))}) does not say where orders are",
                    'as stored=Table("orders"), dead_letters=[Queue("dead")]; see docs/writing-a-scenario.md',
                )


class Deploy(Protocol):
    """Deploys an architecture with boto3."""

    def __call__(self, aws: Aws, db: Db) -> Deployment:
        """Create everything, wait until it is active, and say where the orders are."""
        ...


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One way to build the business operation under test.

    Attributes:
        name: As the report and ``--architecture`` call it.
        summary: One line for people.
        deploy: Creates it.
        expectations: What must hold of it.
        chaos: Faults for what only this architecture has, on top of the scenario's.

    Raises:
        UsageError: ``expectations`` or ``chaos`` is no list of these.
    """

    name: str
    summary: str
    deploy: Deploy
    expectations: Sequence[Expectation]
    chaos: Sequence[Fault] = ()

    def __post_init__(self) -> None:
        _check_list(f"architecture {self.name!r}", "expectations", self.expectations, Expectation)
        _check_list(f"architecture {self.name!r}", "chaos", self.chaos, Fault)


@dataclass(frozen=True, kw_only=True)
class Database:
    """The Postgres behind all architectures.

    Attributes:
        max_connections: As Postgres takes it; three of them are reserved for superusers, as on RDS.
        schema: SQL that each architecture's own database starts with.
    """

    max_connections: int = 20
    schema: str = ""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """The requests that every architecture gets, the same for all.

    Attributes:
        arrivals: When requests are due.
        order: Makes the JSON body of one request from its id and a source of randomness of its own.
        path: Path of each request, below the architecture's address.
        timeout: Seconds after which a client gives up.
        max_in_flight: Requests that may wait for an answer at once; more are not sent, and counted so.
    """

    arrivals: Arrivals
    order: Callable[[str, Random], Mapping[str, Any]]
    path: str = "/orders"
    timeout: float = 30.0
    max_in_flight: int = 2000

    def scaled(self, factor: float) -> "Traffic":
        """The same rates for ``factor`` times as long."""
        stages = (replace(stage, seconds=stage.seconds * factor) for stage in self.arrivals.stages)  # type: ignore[type-var]
        return replace(self, arrivals=reduce(add, stages))

    def plan(self, seed: int, poison: Poison | None) -> list[Request]:
        """All requests, in the order in which they are due."""
        times = self.arrivals.plan(seed)
        spoiled = poison.plan(seed, len(times)) if poison else None
        indices = iter(range(len(times)))

        def build(order_id: str, planned: float, rng: Random) -> Request:
            index = next(indices)
            order = self.order(order_id, rng)
            return Request(
                id=order_id,
                planned=planned,
                method="POST",
                url_path=self.path,
                headers={"Content-Type": "application/json", "Idempotency-Key": order_id},
                body=spoiled.body(index, order) if spoiled else json.dumps(order).encode(),
                poison=spoiled.kind_of(index) if spoiled else None,
            )

        return rearranged(plan_requests(times, seed, build))


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A question put to several architectures: what becomes of the data when this happens?

    Attributes:
        name: As ``testbed run`` calls it.
        summary: One line for people.
        traffic: What is sent.
        architectures: What it is sent to, one after the other.
        database: The Postgres behind them.
        chaos: What goes wrong meanwhile.
        profile: AWS's numbers, such as ``profiles.legacy`` or ``profiles.aws.compress(60)``.
        drain_seconds: How long after the traffic the sources may take to become empty.

    Raises:
        UsageError: A field is something else, or two of them do not fit together.
    """

    name: str
    summary: str
    traffic: Traffic
    architectures: Sequence[Architecture]
    database: Database = field(default_factory=Database)
    chaos: Sequence[Fault] = ()
    profile: Profile = aws
    drain_seconds: float = 60.0

    def __post_init__(self) -> None:
        _check_list(f"scenario {self.name!r}", "architectures", self.architectures, Architecture)
        _check_list(f"scenario {self.name!r}", "chaos", self.chaos, Fault)
        if not all(_NAME.fullmatch(name) for name in (self.name, *(each.name for each in self.architectures))):
            raise UsageError(
                f"scenario {self.name!r}: a name has letters, digits, '-', '_' and '.' alone, and begins with no sign",
                "folders and databases are named after scenarios and architectures",
            )
        if not 0 < self.drain_seconds <= sys.float_info.max:
            raise UsageError(f"scenario {self.name!r}: drain_seconds={self.drain_seconds} is not more than 0")
        names = [architecture.name for architecture in self.architectures]
        if not names or len(set(names)) < len(names):
            raise UsageError(f"scenario {self.name!r} needs architectures with a name of their own each, has {names}")
        if any(isinstance(fault, Poison) for each in self.architectures for fault in each.chaos):
            raise UsageError(
                f"scenario {self.name!r} has Poison in an architecture",
                "all get the same orders: give it to the scenario",
            )
        if sum(isinstance(fault, Poison) for fault in self.chaos) > 1:
            raise UsageError(f"scenario {self.name!r} has more than one Poison", "give one Poison several kinds")
        for each in self.architectures:
            check_apart(named([*self.chaos, *each.chaos]))

    @property
    def poison(self) -> Poison | None:
        """The poison in its chaos, if there is any."""
        return next((fault for fault in self.chaos if isinstance(fault, Poison)), None)

    def planned(self, seed: int) -> tuple["Scenario", list[Request]]:
        """The traffic, and the scenario for it: with the faults behind poison that crashes or hangs whoever gets it.

        Args:
            seed: Seed of the run.

        Raises:
            UsageError: The traffic cannot be planned, with the lines of the scenario that failed.
        """
        try:
            requests = self.traffic.plan(seed, self.poison)
        except TestbedError:
            raise
        except Exception as error:
            raise UsageError(
                f"the traffic of scenario {self.name!r} cannot be planned:\n{shortened(error)}", "mend its order()"
            ) from error
        if not self.poison:
            return self, requests
        poisoned = ((request.poison, request.id) for request in requests if request.poison)
        return replace(self, chaos=[*self.chaos, *self.poison.of_invokes(poisoned)]), requests

    def scaled(self, factor: float) -> "Scenario":
        """The same overload for ``factor`` times as long: rates and limits stay, stages and windows change."""
        return replace(
            self,
            traffic=self.traffic.scaled(factor),
            chaos=_scaled_windows(self.chaos, factor),
            architectures=[replace(each, chaos=_scaled_windows(each.chaos, factor)) for each in self.architectures],
        )

    def without_chaos(self) -> "Scenario":
        """The same traffic on a good day; poison is a part of the traffic's data, and goes too."""
        return replace(self, chaos=(), architectures=[replace(each, chaos=()) for each in self.architectures])

    def under(self, faults: Sequence[Fault]) -> "Scenario":
        """The same traffic, poison included, with these faults in place of its own and its architectures'."""
        orders = [fault for fault in self.chaos if isinstance(fault, Poison)]
        architectures = [replace(each, chaos=()) for each in self.architectures]
        return replace(self, chaos=[*orders, *faults], architectures=architectures)

    def only(self, names: Sequence[str]) -> "Scenario":
        """The architectures of these names.

        Raises:
            UsageError: There is no such architecture.
        """
        known = {architecture.name: architecture for architecture in self.architectures}
        for name in names:
            if name not in known:
                raise UsageError(
                    f"scenario {self.name!r} has no architecture {name!r}", f"its architectures: {', '.join(known)}"
                )
        return replace(self, architectures=[known[name] for name in names]) if names else self


def _check_list(owner: str, name: str, values: object, kind: type) -> None:
    if not _is_list(values, lambda value: isinstance(value, kind)):
        raise UsageError(f"{owner}: {name}={short(values)} is no list of {kind.__name__}s", f"as {name}=[...]")


def _is_list(values: object, fits: Callable[[object], bool]) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and all(map(fits, values))


def _scaled_windows(faults: Sequence[Fault], factor: float) -> list[Fault]:
    return [_scaled_window(fault, factor) for fault in faults]


def _scaled_window(fault: Fault, factor: float) -> Fault:
    if isinstance(fault, CallFault) and fault.during is not None:
        return replace(fault, during=(fault.during[0] * factor, fault.during[1] * factor))
    if isinstance(fault, TimedFault):
        return replace(fault, at=fault.at * factor, seconds=fault.seconds * factor)
    return fault
