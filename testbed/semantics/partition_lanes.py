"""How the records of one shard are worked on by several batches at a time.

Source: AWS Lambda developer guide, "How Lambda processes records from stream and queue-based event sources" and
"Polling and batching streams": with a ``ParallelizationFactor`` of up to 10, as many batches of a shard are processed
at once, and the order of a partition key is kept (for DynamoDB streams that of an item). Concurrency is shards times
factor. How keys are divided is not published: here by a hash of the key.

A mapping resumes behind its checkpoint, so that is the record before the *lowest* one that is not done yet.
"""

import hashlib
from collections import deque
from collections.abc import Iterable


def lane_of(key: str, lanes: int) -> int:
    """The lane, from 0 to ``lanes`` - 1, that records of the partition key ``key`` go to: always the same one."""
    if lanes == 1:
        return 0
    digest = hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % lanes


class ShardProgress:
    """How far one shard is, when its records are done in another order than they were read.

    Attributes:
        checkpoint: Sequence number of the last record before the lowest one that is not done; None if there is none.
        done: Records that are processed or discarded.
    """

    def __init__(self) -> None:
        """Start before the first record."""
        self.checkpoint: str | None = None
        self.done = 0
        self._order: deque[str] = deque()
        self._ahead: set[str] = set()  # done, but behind one that is not

    @property
    def behind(self) -> int:
        """Records that were read and are not done."""
        return len(self._order) - len(self._ahead)

    def read(self, sequence_numbers: Iterable[str]) -> None:
        """These were read, in the order of the shard."""
        self._order.extend(sequence_numbers)

    def finish(self, sequence_numbers: Iterable[str]) -> None:
        """These are processed or discarded."""
        before = len(self._ahead)
        self._ahead.update(sequence_numbers)
        self.done += len(self._ahead) - before
        while self._order and self._order[0] in self._ahead:
            self.checkpoint = self._order.popleft()
            self._ahead.discard(self.checkpoint)
