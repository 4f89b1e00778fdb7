"""Invokes of functions, whoever invokes, in the data plane.

`store` does its work, and its invokes fail all the same: each batch comes again.
"""

from testbed import InvocationError
from testbed.chaos.call import Call, FunctionAnswer
from testbed.chaos.schedule import Schedule

fault = InvocationError(resources=("store",), prevent_execution=False)

decision = Schedule([fault], seed=42).decide(Call("lambda", "Invoke", "store", "mapping:1", "order-1", 1, 3.0))
assert decision is not None
assert decision.answering is not None
assert decision.answering.executed  # the work is done, and the batch comes again
assert isinstance(decision.answering.answer, FunctionAnswer)
assert decision.answering.answer.failed
