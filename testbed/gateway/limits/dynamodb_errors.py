"""How DynamoDB says that a table or index is overloaded.

Sources: DynamoDB developer guide, Error handling with DynamoDB (codes, messages); API reference, ThrottlingReason and
TransactionCanceledException. Which code an on-demand table answers with is not written there in one place: its own
limits are no provisioned throughput, so ``ThrottlingException`` it is.
"""

from collections.abc import Sequence
from typing import Final

from testbed.chaos.call import AwsError
from testbed.gateway.limits.tables import Charge
from testbed.semantics.dynamodb_capacity import Limit

_PROVISIONED: Final = (
    "You exceeded your maximum allowed provisioned throughput for a table or for one or more global secondary indexes. "
    "To view performance metrics for provisioned throughput vs. consumed throughput, open the Amazon CloudWatch "
    "console."
)
_ON_DEMAND: Final = "Rate of requests exceeds the allowed throughput."
_ACCOUNT: Final = (
    "Throughput exceeds the current throughput limit for your account. To request a limit increase, contact AWS "
    "Support at https://aws.amazon.com/support."
)
_CANCELLED: Final = {
    ("Table", False): "The level of configured provisioned throughput for the table was exceeded. Consider increasing "
    "your provisioning level with the UpdateTable API.",
    ("Index", False): "The level of configured provisioned throughput for one or more global secondary indexes of the "
    "table was exceeded. Consider increasing your provisioning level for the under-provisioned global secondary "
    "indexes with the UpdateTable API.",
    ("Table", True): "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically "
    "scaling your table or index so please try again shortly. If exceptions persist, check if you have a hot key: "
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html.",
    ("Index", True): "Throughput exceeds the current capacity for one or more global secondary indexes. DynamoDB is "
    "automatically scaling your index so please try again shortly.",
}


def throttled(charge: Charge, limit: Limit) -> AwsError:
    """The error of a call that would have exceeded ``limit`` with ``charge``."""
    reason = f"{charge.capacity.kind}{charge.direction}{limit.value}"
    reasons = [{"reason": reason, "resource": charge.capacity.arn}]
    if limit is Limit.ACCOUNT:
        return AwsError("RequestLimitExceeded", 400, _ACCOUNT, {"ThrottlingReasons": reasons})
    if charge.capacity.settings.write is None:
        return AwsError("ThrottlingException", 400, _ON_DEMAND, {"throttlingReasons": reasons})
    return AwsError("ProvisionedThroughputExceededException", 400, _PROVISIONED, {"ThrottlingReasons": reasons})


def cancelled(refusals: Sequence[tuple[Charge, Limit] | None]) -> AwsError:
    """The error of a transaction of which some actions would have exceeded a limit; None is one that would not."""
    reasons = [_cancellation(refusal) for refusal in refusals]
    codes = ", ".join(reason["Code"] for reason in reasons)
    message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    return AwsError("TransactionCanceledException", 400, message, {"CancellationReasons": reasons})


def _cancellation(refusal: tuple[Charge, Limit] | None) -> dict[str, str]:
    if refusal is None:
        return {"Code": "None"}
    capacity = refusal[0].capacity
    is_on_demand = capacity.settings.write is None
    code = "ThrottlingError" if is_on_demand else "ProvisionedThroughputExceeded"
    return {"Code": code, "Message": _CANCELLED[capacity.kind, is_on_demand]}
