"""Invokes of functions behind a REST API or a function URL, in the data plane.

The function `take` is not run, and its callers get the status 503.
"""

import json

from testbed import InvocationHttpResponse
from testbed.chaos.call import Call, FunctionAnswer
from testbed.chaos.schedule import Schedule

fault = InvocationHttpResponse(status=503, resources=("take",))

decision = Schedule([fault], seed=42).decide(Call("lambda", "Invoke", "take", "execute-api", "order-1", 1, 3.0))
assert decision is not None
assert decision.answering is not None
assert isinstance(decision.answering.answer, FunctionAnswer)
assert json.loads(decision.answering.answer.payload)["statusCode"] == 503
