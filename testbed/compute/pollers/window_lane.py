"""The lane of a shard whose batches share the state of a tumbling window."""

import hashlib
from collections import deque
from collections.abc import Iterable
from typing import Any

from testbed.compute.pollers.base import MappingPoller
from testbed.compute.pollers.batch import Record, batch_identity
from testbed.compute.pollers.lane import Lane
from testbed.compute.pollers.stream_source import StreamSource
from testbed.semantics.partial_batch import Outcome, WholeBatchFailed
from testbed.semantics.partition_lanes import ShardProgress
from testbed.semantics.tumbling_window import TumblingWindow


class WindowLane(Lane):
    """The only lane of its shard. No batch reaches over the end of a window; each window ends with a final invoke.

    The final invoke is retried as a batch is. It has no records that a destination could be told of.
    """

    def __init__(self, poller: MappingPoller, source: StreamSource, shard_id: str, progress: ShardProgress) -> None:
        """Start without an open window."""
        numbers = poller.env.profile.stream
        self._window = TumblingWindow(
            seconds=poller.mapping.tumbling_window,
            idle=numbers.window_idle,
            state_bytes=numbers.window_state_bytes,
        )
        self._final = False
        super().__init__(poller, source, shard_id, progress)
        self._later: deque[Record] = deque()  # what the open window does not take

    @property
    def settled(self) -> bool:
        """Whether nothing is in hand, and no final invoke is due."""
        return super().settled and not self._later and not self._window.is_open

    def add(self, records: Iterable[Record]) -> None:
        """Records were read."""
        self._later.extend(records)
        self._woken.set()

    def _begin(self, now: float) -> bool:
        self._sort(now)
        if super()._begin(now):
            return True
        if len(self._buffer) or not self._window.is_open:
            return False
        if not self._in_a_hurry and self._window.seconds_left(now) > 0:
            return False
        self._final = True
        self._start([now])
        return True

    def _sort(self, now: float) -> None:
        """Take what belongs to the open window; where it ended early, nothing any more."""
        if self._window.terminated_early:
            self._later.extendleft(reversed(self._buffer.drain()))
            return
        if self._later and not self._window.is_open:
            self._window.open(self._later[0].at)
        taken = []
        while self._later and self._window.takes(self._later[0].at):
            taken.append(self._later.popleft())
        self._buffer.add(taken, now)

    @property
    def _in_a_hurry(self) -> bool:
        return self._ending or bool(self._later)

    def _seconds_left(self, now: float) -> float | None:
        if len(self._buffer):
            return super()._seconds_left(now)
        return self._window.seconds_left(now) if self._window.is_open else None

    def _finish(self) -> None:
        super()._finish()
        if self._final:
            self._final = False
            self._window.close()

    def _members(self) -> dict[str, Any]:
        return self._window.members(
            shard_id=self._shard_id, source_arn=self._poller.mapping.source_arn, final=self._final
        )

    def _identity(self, records: list[Record]) -> str:
        if records:
            return batch_identity(records)
        return hashlib.blake2b(f"final {self._shard_id}".encode(), digest_size=16).hexdigest()

    def _outcome(self, records: list[Record], payload: bytes) -> Outcome:
        outcome = super()._outcome(records, payload)
        if not isinstance(outcome, WholeBatchFailed) and not self._window.answered(payload):
            return WholeBatchFailed("the answer has no state, which a tumbling window needs")
        return outcome
