"""How much waits at the sources of the mappings: messages in queues, records that a stream's consumer has not read."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

from testbed.compute.aws import AwsCaller, AwsCallError
from testbed.compute.pollers.status import MappingStatus

_ANSWER_SECONDS: Final = 5.0  # then the emulator is asked again: it may have come back without the question
_ATTRIBUTES: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class QueueGauge:
    """Measures depths; what cannot be measured keeps its last known one.

    Args:
        streamed_in: How many records each Kinesis stream has taken.
        aws: Asks the emulator, past faults and journal.
        host: The gateway's own host and port, the one in the URLs of queues.
        caller: Who asks.

    Attributes:
        depths: ARN of each source to what waits there.
        measured_at: When the latest look began at which every source could be asked, in seconds since the epoch.
    """

    def __init__(self, streamed_in: Counter[str], aws: AwsCaller, *, host: str, caller: str) -> None:
        self._streamed_in = streamed_in
        self._aws = aws
        self._host = host
        self._caller = caller
        self.depths: Counter[str] = Counter()
        self.measured_at = 0.0

    async def measure(self, mappings: Iterable[MappingStatus]) -> None:
        """Look at the source of each mapping once, all at the same time."""
        began = time.time()
        found = await asyncio.gather(*(self._depth(status) for status in mappings))
        if began < self.measured_at:
            return  # a look that began later was faster
        self.depths = Counter({source: self.depths[source] if depth is None else depth for source, depth in found})
        if all(depth is not None for _, depth in found):
            self.measured_at = began

    async def _depth(self, status: MappingStatus) -> tuple[str, int | None]:
        """A source, and what waits there; None where it cannot be asked."""
        if ":sqs:" in status.source:
            return status.source, await self._messages(status.source)
        return status.source, max(0, self._streamed_in[status.source.rpartition("/")[2]] - status.processed)

    async def _messages(self, arn: str) -> int | None:
        """Messages in a queue: visible, in flight and delayed."""
        account, name = arn.split(":")[4:6]
        params = {"QueueUrl": f"http://{self._host}/{account}/{name}", "AttributeNames": list(_ATTRIBUTES)}
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await self._aws.call("sqs", "GetQueueAttributes", params, caller=self._caller)
        except (AwsCallError, TimeoutError):
            return None
        return sum(int(answer["Attributes"][name]) for name in _ATTRIBUTES)
