"""Tumbling windows: what the batches of a stretch of time tell each other, and when that stretch ends.

Source: AWS Lambda developer guide, "Implementing stateful Kinesis Data Streams processing in Lambda" and the same for
DynamoDB streams:

- A record belongs to the window in which it arrived in the stream. Windows follow each other without a gap.
- Each invoke is given the state that the one before it returned, ``{}`` in a new window. An answer without ``state`` is
  a failed invocation.
- At the end of a window the function is invoked once more, with ``isFinalInvokeForWindow``. A window is over when
  records of a later one are there, when the shard has ended, or when nothing came for up to two minutes.
- A state above 1 MB ends the window early, with ``isWindowTerminatedEarly``.
- State is kept per shard. Child shards start with a fresh one.

Not published by AWS: that windows start at multiples of their length since the epoch (in the guide's example five
minutes start at 17:00), that the final invoke has no records, that the state that was too large is handed to the final
invoke, and that the rest of the window starts with a fresh state after that.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(slots=True, kw_only=True)
class TumblingWindow:
    """The windows of one shard, of which at most one is open.

    Attributes:
        seconds: ``TumblingWindowInSeconds``.
        idle: Seconds without records after which a window that has ended is taken to be over.
        state_bytes: Largest state, in bytes of JSON.
        start: When the open window started, in seconds since the epoch; None while none is open.
        state: What the function returned last in this window.
        terminated_early: Whether its state has grown too large.
    """

    seconds: float
    idle: float
    state_bytes: int
    start: float | None = None
    state: Any = field(default_factory=dict)
    terminated_early: bool = False

    @property
    def is_open(self) -> bool:
        """Whether a final invoke is still due."""
        return self.start is not None

    def open(self, arrival: float) -> None:
        """Open the window of a record that arrived at ``arrival``, with a fresh state."""
        self.start = arrival // self.seconds * self.seconds
        self.state = {}
        self.terminated_early = False

    def takes(self, arrival: float) -> bool:
        """Whether a record that arrived at ``arrival`` belongs to the open window."""
        return self.start is not None and not self.terminated_early and arrival < self.start + self.seconds

    def seconds_left(self, now: float) -> float:
        """Seconds until the open window is over where no record comes any more; 0 as soon as it was ended early."""
        if self.start is None or self.terminated_early:
            return 0.0
        return max(0.0, self.start + self.seconds + self.idle - now)

    def answered(self, payload: bytes) -> bool:
        """Take the state over from an answer; False where there is none, which is a failed invocation."""
        try:
            answer = json.loads(payload)
        except ValueError:  # json's and Unicode's decoding errors alike
            return False
        if not isinstance(answer, dict) or answer.get("state") is None:
            return False
        self.state = answer["state"]
        self.terminated_early = len(json.dumps(self.state, separators=(",", ":")).encode()) > self.state_bytes
        return True

    def close(self) -> None:
        """The final invoke is done, or given up."""
        self.start = None
        self.state = {}
        self.terminated_early = False

    def members(self, *, shard_id: str, source_arn: str, final: bool) -> dict[str, Any]:
        """What an event of the open window has besides its records."""
        start = self.start or 0.0
        return {
            "window": {"start": _instant(start), "end": _instant(start + self.seconds)},
            "state": self.state,
            "shardId": shard_id,
            "eventSourceARN": source_arn,
            "isFinalInvokeForWindow": final,
            "isWindowTerminatedEarly": self.terminated_early,
        }


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
