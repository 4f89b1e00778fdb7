"""The wire between functions and Postgres.

A connection that is used from second 10 to 12 is silent for 30 s. Has the client a timeout?
"""

from testbed import PostgresBlackHole
from testbed.chaos.call import Call
from testbed.chaos.schedule import Schedule

fault = PostgresBlackHole(seconds=30, during=(10, 12))

schedule = Schedule([fault], seed=42)
decision = schedule.decide(Call("postgres", "Query", "shop", "client", "5e1f", attempt=1, at=11.0))
assert decision is not None
assert [str(effect) for effect in decision.effects] == ["silent for 30 s"]  # has the client a timeout?
