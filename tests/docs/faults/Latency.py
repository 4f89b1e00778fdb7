"""Calls of AWS services, requests to REST APIs and invokes of functions, at the gateway.

Every call of Kinesis takes 150 to 250 ms longer.
"""

from testbed import Latency
from testbed.chaos.call import Call
from testbed.chaos.schedule import Schedule

fault = Latency(service="kinesis", latency_ms=200, jitter_ms=50)

decision = Schedule([fault], seed=42).decide(Call("kinesis", "PutRecord", "orders", "client", "order-1", 1, 3.0))
assert decision is not None
assert 0.15 <= decision.delay < 0.25  # seconds
