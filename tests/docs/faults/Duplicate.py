"""Calls of AWS services and invokes of functions, at the gateway.

Every invoke of `store` happens twice. Is the handler idempotent?
"""

from testbed import Duplicate
from testbed.chaos.call import Call
from testbed.chaos.faults.duplicate import Twice
from testbed.chaos.schedule import Schedule

fault = Duplicate(service="lambda", operations=("Invoke",), resources=("store",))

decision = Schedule([fault], seed=42).decide(Call("lambda", "Invoke", "store", "mapping:1", "order-1", 1, 3.0))
assert decision is not None
assert decision.effects == (Twice(),)  # is the handler idempotent?
