"""What functions printed, on its way to CloudWatch Logs."""

import json
import logging
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

KEPT_BYTES: Final = 32 << 20
"""How much memory what waits takes, at most and more or less."""
_EVENT_MEMORY: Final = 256  # bytes, besides its text
_MOST_EVENTS: Final = 1000  # of the 10,000 that a call may have: its answer takes 15 ms
_MOST_BYTES: Final = 1_000_000  # 1,048,576 with 26 for each event (CloudWatch Logs API reference, PutLogEvents)
_EVENT_BYTES: Final = 26
_OK: Final = 200
_START: Final = b"START RequestId: "
_NOT_THERE: Final = "ResourceNotFoundException"
_Key = tuple[str, str]
Call = Callable[[str, dict[str, Any]], Awaitable[tuple[int, bytes]]]
"""Calls an operation of CloudWatch Logs: status and body of the answer."""
_log: Final = logging.getLogger(__name__)


class PublishError(Exception):
    """LocalStack did not take what was published; what it was is kept."""


class LogEvents:
    """Keeps what is printed until it is published; no more than `KEPT_BYTES`, and what is over that is counted.

    Attributes:
        dropped: How many invokes' lines are only in the function's log file, and not in CloudWatch.
    """

    def __init__(self) -> None:
        self._printed: defaultdict[_Key, deque[tuple[float, float, bytes]]] = defaultdict(deque)
        self._events: defaultdict[_Key, deque[dict[str, Any]]] = defaultdict(deque)
        self._there: set[_Key] = set()
        self._bytes = 0
        self.dropped = 0

    def add(self, group: str, stream: str, seconds: float, text: bytes) -> None:
        """An invoke that took ``seconds`` has ended, with these lines."""
        size = len(text) + _EVENT_MEMORY * text.count(b"\n")
        if self._bytes + size > KEPT_BYTES:
            self._drop()
            return
        now = time.time()
        self._bytes += size
        self._printed[group, stream].append((now - seconds, now, text))

    async def publish(self, call: Call, most: int | None = None) -> None:
        """Publish what was printed until now, stream by stream, at most ``most`` bytes or a little more.

        Raises:
            PublishError: A call was refused; what was not taken is kept.
        """
        published = 0
        for key in [*self._events, *(key for key in self._printed if key not in self._events)]:
            events = self._events[key]
            events += events_of(self._printed.pop(key, ()))
            while events:
                if most is not None and published > most:
                    return
                part = _first(events)
                await self._put(call, key, part)
                size = sum(len(events.popleft()["message"].encode()) for _ in part)
                published += size
                self._bytes -= size + _EVENT_MEMORY * len(part)
            del self._events[key]
        if not self._printed:
            self._bytes = 0  # what is no UTF-8 is longer once it is replaced

    def _drop(self) -> None:
        if not self.dropped:
            _log.warning("functions print more than CloudWatch Logs takes: some lines are in the log files only")
        self.dropped += 1

    async def _put(self, call: Call, key: _Key, events: list[dict[str, Any]]) -> None:
        """Put events into their stream, which is created, or created anew, where it is not there."""
        names = {"logGroupName": key[0], "logStreamName": key[1]}
        if key not in self._there:
            await self._create(call, names)
        status, body = await call("PutLogEvents", {**names, "logEvents": events})
        if status != _OK and refusal_of(body) == _NOT_THERE:
            await self._create(call, names)
            status, body = await call("PutLogEvents", {**names, "logEvents": events})
        if status != _OK:
            raise PublishError(f"PutLogEvents: {refusal_of(body)}")
        self._there.add(key)

    async def _create(self, call: Call, names: dict[str, str]) -> None:
        """Create the stream, and the group before it; one that exists already is as good."""
        _, body = await call("CreateLogStream", names)
        if refusal_of(body) == _NOT_THERE:
            await call("CreateLogGroup", {"logGroupName": names["logGroupName"]})
            await call("CreateLogStream", names)


def events_of(invokes: Iterable[tuple[float, float, bytes]]) -> Iterator[dict[str, Any]]:
    """A log event for each line: what is printed up to START has the time of the invoke's start, the rest of its end.

    Args:
        invokes: Start and end in seconds since 1970, and what was printed, in order.
    """
    latest = 0
    for started, ended, text in invokes:
        at = started
        for line in _lines(text):
            latest = max(latest, round(at * 1000))  # a batch out of order is refused
            for piece in range(0, len(line), _MOST_BYTES - _EVENT_BYTES):
                part = line[piece : piece + _MOST_BYTES - _EVENT_BYTES]
                yield {"timestamp": latest, "message": part.decode(errors="replace")}
            if line.startswith(_START):
                at = ended


def _lines(text: bytes) -> list[bytes]:
    """Lines that end with a line feed only: the runtime puts a whole traceback into one event by carriage returns."""
    return [line + b"\n" for line in text.removesuffix(b"\n").split(b"\n")]


def _first(events: deque[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many events as one call takes, at least one."""
    part: list[dict[str, Any]] = []
    size = 0
    for event in islice(events, _MOST_EVENTS):
        size += len(event["message"].encode()) + _EVENT_BYTES
        if part and size > _MOST_BYTES:
            break
        part.append(event)
    return part


def refusal_of(body: bytes) -> str:
    """The error code of an answer in AWS's JSON protocol; empty where it is none."""
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return body[:200].decode(errors="replace")
    return str(document.get("__type", "")).rpartition("#")[2]
