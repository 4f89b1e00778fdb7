from testbed import incidents
from testbed.chaos.call import Call
from testbed.chaos.schedule import Schedule

chaos = incidents.lost_acknowledgement("orders", during=(10, 25), share=1.0)

decision = Schedule(chaos, seed=42).decide(Call("sqs", "SendMessage", "orders", "function:take", "order-1", 1, 12.0))
assert decision is not None
assert decision.answering is not None
assert decision.answering.executed  # the queue has it, and it is sent again
