from testbed import incidents
from testbed.chaos.call import Call
from testbed.chaos.schedule import Schedule

chaos = incidents.retry_storm("dynamodb", during=(10, 25), share=1.0)

decision = Schedule(chaos, seed=42).decide(Call("dynamodb", "PutItem", "orders", "function:take", "order-1", 1, 12.0))
assert decision is not None
assert decision.delay_after > 3  # seconds, once the item is written
