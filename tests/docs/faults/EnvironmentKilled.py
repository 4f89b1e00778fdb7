"""Execution environments of functions, in the data plane.

The environment that runs `store` is killed at the first attempt of each batch, after the handler has done its work: the
batch comes again. The second attempt gets through.
"""

from testbed import EnvironmentKilled
from testbed.chaos.call import Call
from testbed.chaos.faults.environment_lost import Killed
from testbed.chaos.schedule import Schedule
from testbed.chaos.trigger import attempts

fault = EnvironmentKilled(resources=("store",), moment="after", when=attempts(1))

schedule = Schedule([fault], seed=42)
first, second = (Call("lambda", "Invoke", "store", "mapping:1", "batch-1", attempt, 3.0) for attempt in (1, 2))
decision = schedule.decide(first)
assert decision is not None
assert isinstance(decision.effects[0], Killed)  # once its work is done: the batch comes again
assert schedule.decide(second) is None
