"""The wire between functions and Postgres: each round trip is held back before the server sees it.

From second 10 to 25 every round trip takes 60 to 100 ms longer.
"""

from testbed import SlowPostgres
from testbed.chaos.call import Call
from testbed.chaos.schedule import Schedule

fault = SlowPostgres(latency_ms=80, jitter_ms=20, during=(10, 25))

decision = Schedule([fault], seed=42).decide(Call("postgres", "Query", "shop", "client", "5e1f", attempt=1, at=12.0))
assert decision is not None
assert 0.060 <= decision.delay < 0.100  # seconds
