from testbed import ConnectionsHogged, incidents

[fault] = chaos = incidents.connection_exhaustion(during=(10, 25), left=2)

assert fault == ConnectionsHogged(name="connections-gone", left=2, at=10, seconds=15)
