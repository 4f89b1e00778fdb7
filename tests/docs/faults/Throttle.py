"""Calls of AWS services, and requests to REST APIs, at the gateway; the call is not executed.

From second 10 to 25 about half of the attempts to send a message are throttled.
"""

from testbed import Throttle
from testbed.chaos.call import AwsError, Call
from testbed.chaos.schedule import Schedule

fault = Throttle(service="sqs", operations=("SendMessage",), during=(10, 25), probability=0.5)

schedule = Schedule([fault], seed=42)
sends = [Call("sqs", "SendMessage", "orders", "client", f"order-{n}", attempt=1, at=12.0) for n in range(1000)]
decisions = [decision for send in sends if (decision := schedule.decide(send))]
assert 450 < len(decisions) < 550
assert decisions[0].injections[0].answer == AwsError("RequestThrottled", 403, "Request is throttled.")
