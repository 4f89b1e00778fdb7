"""What round trips ask of Postgres: their names, their operations, and how one of them is made to fail.

Pure, as `testbed.gateway.postgres.wire` is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from testbed.gateway.postgres.wire import (
    BIND,
    CLOSE,
    CLOSE_COMPLETE,
    ERROR_RESPONSE,
    EXECUTE,
    FLUSH,
    FUNCTION_CALL,
    PARSE,
    PARSE_COMPLETE,
    QUERY,
    READY_FOR_QUERY,
    digest,
    message,
    messages_of,
)

Operation = Literal["Begin", "Query", "Commit", "Rollback"]

FAILURE: Final = b"serverless-testbed fails this statement on purpose"
"""In the error that Postgres answers a statement with which is made to fail."""
_HEADER_SIZE: Final = 5
_PREPARED: Final = b"serverless-testbed"  # a name of its own: the client may still need the statement without one
_FAILING: Final = b'SELECT "' + FAILURE + b'"'  # no such column: fails when it is parsed, unless the block has failed
_CLOSE_NOTHING: Final = message(CLOSE, b"S" + _PREPARED + b"\0")
_ROLLBACK: Final = (
    message(PARSE, _PREPARED + b"\0ROLLBACK\0\0\0")
    + message(BIND, b"\0" + _PREPARED + b"\0" + bytes(6))
    + message(EXECUTE, b"\0" + bytes(4))
    + _CLOSE_NOTHING
)
_TRANSACTION_ENDS: Final = (b"COMMIT", b"ROLLBACK", b"END")
_WORDS: Final[dict[bytes, Operation]] = {
    b"BEGIN": "Begin", b"START": "Begin", b"COMMIT": "Commit", b"END": "Commit", b"ROLLBACK": "Rollback",
    b"ABORT": "Rollback",
}  # fmt: skip
_FIRST_WORD: Final = re.compile(rb"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w+)", re.DOTALL)
_QUOTED: Final = re.compile(rb"'[^']*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Messages of a client up to one that makes Postgres answer.

    Attributes:
        data: Their bytes.
        identity: See `Statements`.
        operation: ``"Commit"`` where one of its statements is a COMMIT; ``"Begin"`` and ``"Rollback"`` where they have
            nothing else in them.
        struck: Start and end of the message at which an error would occur: the first Execute, that of the COMMIT where
            there is one; all but the last where none is.
        end: The type of the last message.
    """

    data: bytes
    identity: str
    operation: Operation
    struck: tuple[int, int]
    end: int

    @property
    def is_simple(self) -> bool:
        """Whether it is a query of the simple protocol, or a function call."""
        return self.end in {QUERY, FUNCTION_CALL}

    @property
    def is_flushed(self) -> bool:
        """Whether it leaves the pipeline open."""
        return self.end == FLUSH

    def failing(self) -> bytes:
        """What makes Postgres fail in its place: with an error that has `FAILURE` in it, once it comes to that.

        Postgres has the say in what follows from an error: a block that has failed, messages that are skipped. Only a
        COMMIT that fails leaves no block behind: it is rolled back first, see `without_rollback`.
        """
        is_commit = self.operation == "Commit"
        if self.is_simple:
            return message(QUERY, (b"ROLLBACK; " if is_commit else b"") + _FAILING + b"\0")
        start, end = self.struck
        failing = (_ROLLBACK if is_commit else b"") + message(PARSE, _PREPARED + b"\0" + _FAILING + b"\0\0\0")
        return self.data[:start] + failing + self.data[end:]

    def without_rollback(self, answer: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """What the client may see of the answer to a `failing` commit before its error: not that of the ROLLBACK."""
        if self.is_simple:
            return []
        parsed = [index for index, (kind, _) in enumerate(answer) if kind == PARSE_COMPLETE]
        return list(answer[: parsed[-1]])

    def with_end(self) -> bytes:
        """The same, with an answer that `Ending` can tell the end of: also one up to a Flush has an end then."""
        if not self.is_flushed:
            return self.data
        return self.data[:-_HEADER_SIZE] + _CLOSE_NOTHING + self.data[-_HEADER_SIZE:]


class Ending:
    """Tells where an answer ends.

    Args:
        trip: What is answered, sent as `RoundTrip.with_end`; None for the start-up of a session.

    Attributes:
        is_over: Whether it has ended.
    """

    def __init__(self, trip: RoundTrip | None) -> None:
        self.is_over = False
        self._ends = {READY_FOR_QUERY} if trip and not trip.is_flushed else {READY_FOR_QUERY, ERROR_RESPONSE}
        self._closes = -1  # so many more are closed before the end of what is flushed
        if trip and trip.is_flushed:
            self._closes = sum(kind == CLOSE for kind, _, _ in messages_of(trip.data))

    def take(self, kind: int) -> bool:
        """Whether the client is to get the next message, which has this type."""
        if kind in self._ends:
            self.is_over = True
        elif kind == CLOSE_COMPLETE and not self.is_over:
            self.is_over = self._closes == 0
            self._closes -= 1
            return not self.is_over
        return True


class Statements:
    """Reads the round trips of one session, and names them: the same question has the same name in every run.

    The name is a hash of the texts of the statements and of the values that are bound to them; so an order's id
    makes its insert unique. How the client gets there does not count: whether a statement is prepared already, and
    under which name, depends on what the connection did before. The end of a transaction says nothing by itself and
    is named after the round trip before it. All of it comes from what the client sends, not from when it is answered.
    """

    def __init__(self) -> None:
        self._texts: dict[bytes, bytes] = {}
        self._last = ""

    def read(self, data: bytes) -> RoundTrip:
        """A round trip; to be asked once for each, in order."""
        asked: list[bytes] = []
        prepared: list[bytes] = []
        operations: list[Operation] = []
        executes: list[tuple[bool, int, int]] = []
        bound = b""
        kind = 0
        for kind, start, end in messages_of(data):
            body = data[start + _HEADER_SIZE : end]
            if kind == QUERY:
                text = body.rstrip(b"\0")
                asked.append(text)
                operations += _operations(text)
            elif kind == PARSE:
                name, _, rest = body.partition(b"\0")
                text = self._texts[name] = rest.partition(b"\0")[0]
                prepared.append(text)
            elif kind == BIND:
                name, _, values = body.partition(b"\0")[2].partition(b"\0")
                bound = self._texts.get(name, b"")
                asked += [bound, values]
            elif kind == EXECUTE:
                operations += (executed := _operations(bound))
                executes.append(("Commit" in executed, start, end))
        if asked and asked[0].strip().upper().startswith(_TRANSACTION_ENDS):
            asked.append(self._last.encode())
        self._last = digest(b"\0".join(asked or prepared))
        operation = _together(operations)
        struck = next(
            ((start, end) for commits, start, end in executes if commits or operation != "Commit"),
            (0, len(data) - _HEADER_SIZE),
        )
        return RoundTrip(data, self._last, operation, struck, kind)


def _operations(text: bytes) -> list[Operation]:
    """The operations of the statements in a text."""
    parts = _QUOTED.sub(b" ", text).split(b";") if b";" in text else [text]
    return [_WORDS.get(word[1].upper(), "Query") for part in parts if (word := _FIRST_WORD.match(part))]


def _together(operations: Sequence[Operation]) -> Operation:
    if "Commit" in operations:
        return "Commit"
    return operations[0] if len(set(operations)) == 1 else "Query"
