"""Calls of AWS services, and requests to REST APIs, at the gateway.

Every PutItem is executed, and its caller is told of an internal error: the item is there.
"""

from testbed import ServiceError
from testbed.chaos.call import AwsError, Call
from testbed.chaos.schedule import Schedule

fault = ServiceError(service="dynamodb", operations=("PutItem",), position="after")

decision = Schedule([fault], seed=42).decide(Call("dynamodb", "PutItem", "orders", "client", "order-1", 1, 3.0))
assert decision is not None
assert decision.answering is not None
assert decision.answering.executed  # the item is there, and the caller is told that it is not
assert decision.answering.answer == AwsError("InternalServerError", 500, "Internal server error")
