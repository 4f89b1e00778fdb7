"""Batches of which some entries fail: the others really happen, and the answer has status 200."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from testbed.chaos.call import AwsError, Call, Effect, Injection
from testbed.chaos.decision import draw
from testbed.chaos.fault import CallFault
from testbed.chaos.faults.throttle import throttling_error

BATCHES: Final[Mapping[str, tuple[str, ...]]] = {
    "sqs": ("SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"),
    "kinesis": ("PutRecords",),
    "sns": ("PublishBatch",),
    "events": ("PutEvents",),
    "dynamodb": ("BatchWriteItem",),
}
"""Operations with entries that fail one by one, by service."""


@dataclass(frozen=True, slots=True)
class EntriesFail(Effect):
    """Some entries of a batch, one at least, are not executed, and the answer says so as the service does.

    Attributes:
        fault: Name of the fault.
        seed: Seed of the run.
        identity: Of the call.
        attempt: Of the call.
        share: Chance of each entry, more than 0 and at most 1.
        error: What is said of an entry that failed.
    """

    fault: str
    seed: int
    identity: str
    attempt: int
    share: float
    error: AwsError

    def failing(self, entries: int) -> list[bool]:
        """Of each of so many entries, whether it fails; at least one does."""
        draws = [
            draw(self.seed, self.fault, f"{self.identity}#{entry}", self.attempt, "entry") for entry in range(entries)
        ]
        least = min(draws, default=0.0)
        return [each < self.share or each == least for each in draws]

    def __str__(self) -> str:
        return f"a share of {self.share} of its entries fails"


@dataclass(frozen=True, kw_only=True)
class PartialFailure(CallFault):
    """Lets some entries of a batch fail, which a caller that looks at the status alone does not notice.

    The other entries really happen, and the answer has status 200: SQS and SNS name the entries under ``Failed``,
    Kinesis and EventBridge count them (``FailedRecordCount``, ``FailedEntryCount``), DynamoDB returns them as
    ``UnprocessedItems``. Where all entries fail nothing happens; DynamoDB answers with an error then, as it does where
    it takes nothing of a batch (API reference, BatchWriteItem). A batch that is empty, or that the service refuses as a
    whole, is answered as ever, and the fault has not fired. Entries that fail are not shown to the service: where all
    of them do it cannot say that there is no such queue, stream, topic or table, and of two for the same item of
    DynamoDB, which it refuses, one may be left.

    Attributes:
        share: Chance of each entry of a batch that is hit, more than 0 and at most 1. One entry of it fails at least.
        code: What is said of an entry that failed; empty is the service's throttle. DynamoDB says nothing of an item.

    Raises:
        UsageError: The service has no such operation, or the share makes no sense.
    """

    share: float = 0.5
    code: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.service not in BATCHES:
            raise self.refused(f"{self.service} has no operation with entries: {', '.join(BATCHES)} have")
        if unknown := set(self.operations) - set(BATCHES[self.service]):
            names = ", ".join(BATCHES[self.service])
            raise self.refused(f"{', '.join(sorted(unknown))} has no entries that fail one by one: {names} have")
        if not 0 < self.share <= 1:
            raise self.refused(f"share={self.share} is not more than 0 and at most 1")
        if not self.operations:
            object.__setattr__(self, "operations", BATCHES[self.service])

    def inject(self, call: Call, seed: int) -> Injection:
        """An effect on the entries."""
        usual = throttling_error(call.service, call.operation, call.resource)
        error = AwsError(self.code, usual.status, usual.message) if self.code else usual
        effect = EntriesFail(self.name, seed, call.identity, call.attempt, self.share, error)
        return Injection(self.name, effect=effect)
