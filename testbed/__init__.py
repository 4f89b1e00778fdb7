"""A local testbed that finds out what happens to data when a serverless architecture is overloaded or breaks.

What a scenario needs is exported from here; see ``scenarios/flash_sale.py`` for all of it at work.
"""

from testbed import claims, deploy
from testbed.chaos import incidents, trigger
from testbed.chaos.faults.database_busy import ConnectionsHogged, LockHeld
from testbed.chaos.faults.delivery import EarlyVisibility, LateDelivery
from testbed.chaos.faults.duplicate import Duplicate
from testbed.chaos.faults.environment_lost import EnvironmentKilled, OutOfMemory, SlowColdStart
from testbed.chaos.faults.invocation import InvocationDelay, InvocationError, InvocationHttpResponse
from testbed.chaos.faults.latency import Latency
from testbed.chaos.faults.lost_reply import LostReply, Unreachable
from testbed.chaos.faults.part_down import PartDown
from testbed.chaos.faults.partial_failure import PartialFailure
from testbed.chaos.faults.poison import Poison
from testbed.chaos.faults.postgres_connection import PostgresBlackHole, PostgresRefused, PostgresReset
from testbed.chaos.faults.service_error import ServiceError
from testbed.chaos.faults.slow_postgres import PostgresBandwidth, SlowPostgres
from testbed.chaos.faults.sql_error import SqlError
from testbed.chaos.faults.taken_away import ConcurrencyTaken, MappingOff
from testbed.chaos.faults.throttle import Throttle
from testbed.ledger.verdict import Expectation, Facts
from testbed.load.arrivals import Constant, Poisson, Ramp, Spike
from testbed.records import AsyncFailures, DynamoDbTable, Queue, Stream, StreamFailures, Table
from testbed.scenario import Architecture, Aws, Database, Db, Deployment, Scenario, Traffic
from testbed.semantics import profiles

__all__ = [
    "Architecture",
    "AsyncFailures",
    "Aws",
    "ConcurrencyTaken",
    "ConnectionsHogged",
    "Constant",
    "Database",
    "Db",
    "Deployment",
    "Duplicate",
    "DynamoDbTable",
    "EarlyVisibility",
    "EnvironmentKilled",
    "Expectation",
    "Facts",
    "InvocationDelay",
    "InvocationError",
    "InvocationHttpResponse",
    "LateDelivery",
    "Latency",
    "LockHeld",
    "LostReply",
    "MappingOff",
    "OutOfMemory",
    "PartDown",
    "PartialFailure",
    "Poison",
    "Poisson",
    "PostgresBandwidth",
    "PostgresBlackHole",
    "PostgresRefused",
    "PostgresReset",
    "Queue",
    "Ramp",
    "Scenario",
    "ServiceError",
    "SlowColdStart",
    "SlowPostgres",
    "Spike",
    "SqlError",
    "Stream",
    "StreamFailures",
    "Table",
    "Throttle",
    "Traffic",
    "Unreachable",
    "claims",
    "deploy",
    "incidents",
    "profiles",
    "trigger",
]
