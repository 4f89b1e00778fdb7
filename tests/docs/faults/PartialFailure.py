"""Operations with entries of SQS, Kinesis, SNS, EventBridge and DynamoDB, at the gateway.

In every PutRecords about a quarter of the records fail. The status is 200 all the same; only `FailedRecordCount` tells.
"""

from testbed import PartialFailure
from testbed.chaos.call import Call
from testbed.chaos.schedule import Schedule

fault = PartialFailure(service="kinesis", share=0.25)

schedule = Schedule([fault], seed=42)
decision = schedule.decide(Call("kinesis", "PutRecords", "orders", "client", "batch-1", 1, 3.0))
assert decision is not None
assert decision.answering is None  # status 200; FailedRecordCount tells
assert "0.25" in str(decision.effects[0])
assert schedule.decide(Call("kinesis", "PutRecord", "orders", "client", "order-1", 1, 3.0)) is None
