"""Handlers of functions, in their execution environments.

What event source mappings invoke `store` with takes two seconds longer. Where that is longer than the timeout of the
function, it times out.
"""

from testbed import InvocationDelay
from testbed.chaos.call import Call
from testbed.chaos.faults.invocation import HandlerDelayed
from testbed.chaos.schedule import Schedule

fault = InvocationDelay(seconds=2, resources=("store",), callers=("mapping",))

decision = Schedule([fault], seed=42).decide(Call("lambda", "Invoke", "store", "mapping:1", "batch-1", 1, 3.0))
assert decision is not None
assert decision.effects == (HandlerDelayed(2),)  # longer than the function's timeout, it is a timeout
