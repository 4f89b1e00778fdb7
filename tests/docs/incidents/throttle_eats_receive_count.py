from testbed import incidents
from testbed.chaos.call import Call
from testbed.chaos.schedule import Schedule

chaos = incidents.throttle_eats_receive_count("store", during=(10, 25))

schedule = Schedule(chaos, seed=42)
batches = [Call("lambda", "Invoke", "store", "mapping:1", f"batch-{n}", attempt=1, at=12.0) for n in range(100)]
throttled = [batch for batch in batches if schedule.decide(batch)]
assert 65 < len(throttled) < 95
