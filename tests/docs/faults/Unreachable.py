"""Calls of AWS services, requests to REST APIs and invokes of functions, at the gateway.

Every call of SNS hangs for five seconds. Then the connection breaks, and nothing has happened.
"""

from testbed import Unreachable
from testbed.chaos.call import RESET, Call
from testbed.chaos.schedule import Schedule

fault = Unreachable(service="sns", kind="hang", hang_seconds=5)

decision = Schedule([fault], seed=42).decide(Call("sns", "Publish", "news", "function:take", "order-1", 1, 3.0))
assert decision is not None
assert decision.answering is not None
assert (decision.delay, decision.answering.answer, decision.answering.executed) == (5, RESET, False)
