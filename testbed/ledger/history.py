"""The history: what the client of each attempt saw, kept so that a killed run loses nothing that it saw."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from testbed.errors import HarnessError
from testbed.ledger.jsonl import read_objects


class Outcome(StrEnum):
    """What the client knows of an attempt.

    Attributes:
        ACKNOWLEDGED: Answered with 2xx: the service has taken responsibility for the request.
        REFUSED: Answered with a clear error: the client may rely on it that nothing was done.
        UNKNOWN: The client can't know: no answer, or one that allows for both.
        UNSENT: Nothing left the client.
    """

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    UNSENT = "unsent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One line of ``history.jsonl``: one request as its client saw it.

    Attributes:
        architecture: Name of the architecture that was asked.
        id: Id of the request; several attempts may share one.
        planned: When it was due, in seconds after the start of the traffic.
        sent: When it was sent, on the same clock; None where nothing was sent.
        finished: When its outcome was known, on the same clock; None where nothing was sent.
        outcome: What the client knows.
        status: HTTP status; None where no answer came.
        error: With a status, the ``error`` that the body named; without one, the name of the transport's exception.
        trace: Trace id that the request carried, ``1-<8 hex>-<24 hex>``.
        poison: Kind of poison that the request carried; None for a well-formed one.
    """

    architecture: str
    id: str
    planned: float
    sent: float | None
    finished: float | None
    outcome: Outcome
    status: int | None = None
    error: str | None = None
    trace: str
    poison: str | None = None


_FIELDS: Final = tuple(field.name for field in fields(Attempt))
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class HistoryWriter:
    """Appends attempts to ``history.jsonl``; to be closed, or used in a ``with`` statement.

    Each line is handed to the operating system before `write` returns, so that ``kill -9`` takes at most the line
    that is being written. At 500 attempts per second that costs less than 1 % of a core.

    Raises:
        HarnessError: The file can't be opened, written or closed; above all when no space is left.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _explained(path):
            self._file = path.open("ab")

    def write(self, attempt: Attempt) -> None:
        """Append one attempt."""
        line = json.dumps({name: getattr(attempt, name) for name in _FIELDS}, separators=(",", ":"))
        with _explained(self._path):
            self._file.write(line.encode() + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        with _explained(self._path):
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_history(path: Path) -> Iterator[Attempt]:
    """The attempts of ``history.jsonl`` in the order in which their outcomes became known.

    Raises:
        UsageError: There is no such file.
        HarnessError: A line is broken (a torn last one is left out, see `read_objects`) or is not an attempt.
    """
    for number, record in enumerate(read_objects(path), start=1):
        try:
            attempt = Attempt(**record | {"outcome": Outcome(record["outcome"])})
        except (TypeError, KeyError, ValueError) as error:
            raise HarnessError(
                f"{path}, line {number} is not an attempt: {error}",
                "it was written by another version of the testbed, or changed since",
            ) from error
        yield attempt


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what the operating system says of ``path`` into what the user can do about it."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise HarnessError(
                f"no space left on device for {path.name} in the run folder {path.parent}",
                "free some space, or choose another folder with --out",
            ) from error
        raise HarnessError(f"can't write {path}: {error.strerror}", "choose another run folder with --out") from error
