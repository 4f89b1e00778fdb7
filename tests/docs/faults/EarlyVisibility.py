"""ReceiveMessage of SQS, by pollers and by everybody else, at the gateway.

What one receive in five gets from the queue `orders` is visible again after one second.
"""

from testbed import EarlyVisibility
from testbed.chaos.call import Call
from testbed.chaos.faults.delivery import VisibleAgain
from testbed.chaos.schedule import Schedule

fault = EarlyVisibility(resources=("orders",), after=1, probability=0.2)

schedule = Schedule([fault], seed=42)
receives = [Call("sqs", "ReceiveMessage", "orders", "mapping:1", f"receive-{n}", 1, 3.0) for n in range(100)]
effects = {decision.effects for receive in receives if (decision := schedule.decide(receive))}
assert effects == {(VisibleAgain(1),)}
