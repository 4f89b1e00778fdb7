from testbed import ConnectionsHogged, SlowPostgres, incidents

slow, busy = chaos = incidents.database_brown_out(during=(10, 25), latency_ms=200)

assert isinstance(slow, SlowPostgres)
assert slow.during == (10, 25)
assert isinstance(busy, ConnectionsHogged)
assert busy.left == 5
