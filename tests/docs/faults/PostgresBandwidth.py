"""The wire between functions and Postgres, each connection by itself.

Statements and their results pass at 10,000 bytes per second.
"""

from testbed import PostgresBandwidth
from testbed.chaos.call import Call
from testbed.chaos.schedule import Schedule

fault = PostgresBandwidth(bytes_per_second=10_000, operations=("Query",))

decision = Schedule([fault], seed=42).decide(Call("postgres", "Query", "shop", "client", "5e1f", attempt=1, at=3.0))
assert decision is not None
assert [str(effect) for effect in decision.effects] == ["at 10000 bytes/s"]
