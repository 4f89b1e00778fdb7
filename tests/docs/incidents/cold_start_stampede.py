from testbed import incidents
from testbed.chaos.call import Call
from testbed.chaos.schedule import Schedule

chaos = incidents.cold_start_stampede(during=(10, 25), seconds=4)

schedule = Schedule(chaos, seed=42)
first, later = (Call("lambda", "Invoke", "take", "execute-api", f"order-{at}", 1, at) for at in (10.5, 20.0))
hits = [[each.fault for each in decision.injections] for decision in map(schedule.decide, (first, later)) if decision]
assert hits == [["environments-gone", "slow-starts"], ["slow-starts"]]
