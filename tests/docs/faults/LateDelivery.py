"""SendMessage and SendMessageBatch of SQS, at the gateway.

Every message becomes visible five seconds late.
"""

from testbed import LateDelivery
from testbed.chaos.call import Call
from testbed.chaos.faults.delivery import SentLate
from testbed.chaos.schedule import Schedule

fault = LateDelivery(seconds=5)

decision = Schedule([fault], seed=42).decide(Call("sqs", "SendMessage", "orders", "client", "order-1", 1, 3.0))
assert decision is not None
assert decision.effects == (SentLate(5),)
