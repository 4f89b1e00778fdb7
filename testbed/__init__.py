"""A local testbed that finds out what happens to data when a serverless architecture is overloaded or breaks.

What a scenario needs is exported from here; see ``scenarios/flash_sale.py`` for all of it at work.
"""

from testbed import claims, deploy
from testbed.chaos.poison import Poison
from testbed.chaos.slow_postgres import SlowPostgres
from testbed.chaos.throttle import Throttle
from testbed.ledger.verdict import Expectation, Facts
from testbed.load.arrivals import Constant, Poisson, Ramp, Spike
from testbed.records import AsyncFailures, Queue, Stream, StreamFailures, Table
from testbed.scenario import Architecture, Aws, Database, Db, Deployment, Scenario, Traffic
from testbed.semantics import profiles

__all__ = [
    "Architecture",
    "AsyncFailures",
    "Aws",
    "Constant",
    "Database",
    "Db",
    "Deployment",
    "Expectation",
    "Facts",
    "Poison",
    "Poisson",
    "Queue",
    "Ramp",
    "Scenario",
    "SlowPostgres",
    "Spike",
    "Stream",
    "StreamFailures",
    "Table",
    "Throttle",
    "Traffic",
    "claims",
    "deploy",
    "profiles",
]
