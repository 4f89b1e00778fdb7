from testbed import incidents
from testbed.chaos.call import Call
from testbed.chaos.schedule import Schedule

chaos = incidents.cold_start_stampede(during=(10, 25), seconds=4)

schedule = Schedule(chaos, seed=42)
first, later = (Call("lambda", "Invoke", "take", "execute-api", f"order-{at}", 1, at) for at in (10.5, 20.0))
assert schedule.decide(first)
assert schedule.decide(later)
assert schedule.fired == {"environments-gone": 1, "slow-starts": 2}
