"""Execution environments of functions, in the data plane.

Every environment of `store` runs out of memory 0.2 s into an invoke, or when the handler is done, if that is sooner.
"""

from testbed import OutOfMemory
from testbed.chaos.call import Call
from testbed.chaos.faults.environment_lost import MemoryUsedUp
from testbed.chaos.schedule import Schedule

fault = OutOfMemory(resources=("store",), seconds=0.2)

decision = Schedule([fault], seed=42).decide(Call("lambda", "Invoke", "store", "mapping:1", "batch-1", 1, 3.0))
assert decision is not None
assert decision.effects == (MemoryUsedUp(0.2),)
