from testbed import Constant, Poison, Traffic, incidents

[fault] = chaos = incidents.poison_shard(every=50)

traffic = Traffic(arrivals=Constant(rate=50, seconds=4), order=lambda order_id, rng: {"id": order_id, "quantity": 2})
assert isinstance(fault, Poison)
poisoned = [request for request in traffic.plan(seed=42, poison=fault) if request.poison]
assert [request.poison for request in poisoned] == ["wrong_type"] * 4
