"""Initialisations of execution environments, in the data plane.

In the first ten seconds every environment takes three seconds longer to start.
"""

from testbed import SlowColdStart
from testbed.chaos.call import Call
from testbed.chaos.faults.environment_lost import StartsSlowly
from testbed.chaos.schedule import Schedule

fault = SlowColdStart(seconds=3, during=(0, 10))

decision = Schedule([fault], seed=42).decide(Call("lambda", "Invoke", "take", "execute-api", "order-1", 1, 3.0))
assert decision is not None
assert decision.effects == (StartsSlowly(3),)
