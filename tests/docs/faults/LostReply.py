"""Calls of AWS services, requests to REST APIs and invokes of functions, at the gateway.

One SendMessage in ten happens, and its answer is lost. An SDK sends the message again.
"""

from testbed import LostReply
from testbed.chaos.call import RESET, Call
from testbed.chaos.schedule import Schedule

fault = LostReply(service="sqs", operations=("SendMessage",), probability=0.1)

schedule = Schedule([fault], seed=42)
sends = [Call("sqs", "SendMessage", "orders", "function:take", f"order-{n}", attempt=1, at=0.0) for n in range(100)]
lost = [decision.answering for send in sends if (decision := schedule.decide(send))]
assert 0 < len(lost) < 30
assert all(each and each.executed and each.answer == RESET for each in lost)  # an SDK sends it again
