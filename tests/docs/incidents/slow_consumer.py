from testbed import incidents
from testbed.chaos.call import Call
from testbed.chaos.schedule import Schedule

chaos = incidents.slow_consumer("store", during=(10, 25), seconds=3)

schedule = Schedule(chaos, seed=42)
assert schedule.decide(Call("lambda", "Invoke", "store", "mapping:1", "batch-1", attempt=1, at=12.0))
assert schedule.decide(Call("lambda", "Invoke", "store", "client", "order-1", attempt=1, at=12.0)) is None
