"""The journal: one line for every hop of every request, and for every fault that fired, in order.

Lines are written as they happen and pushed to the file at least four times a second, so that a run that is killed
keeps what it has recorded.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TextIO

_BUFFER_BYTES: Final = 1 << 20


class Journal:
    """Appends to ``journal.jsonl`` of the run while an architecture is under test; drops what happens outside.

    Args:
        clock: Seconds since the start of the traffic.
        observe: Told every hop and its fields, whether anything is recorded or not.

    Attributes:
        error: Why nothing is recorded any more, though an architecture is under test: a full disk must not take the
            data plane down. None while all is well.
    """

    def __init__(
        self, clock: Callable[[], float], observe: Callable[[str, Mapping[str, Any]], None] = lambda _hop, _fields: None
    ) -> None:
        self._clock = clock
        self._observe = observe
        self._file: TextIO | None = None
        self._architecture = ""
        self.error: OSError | None = None

    def open(self, path: Path, architecture: str) -> None:
        """Start to record for ``architecture``, behind what the file already holds.

        Raises:
            OSError: The file cannot be written.
        """
        self.close()
        self.error = None
        self._architecture = architecture
        self._file = path.open("a", buffering=_BUFFER_BYTES, encoding="utf-8")

    def record(self, hop: str, **fields: object) -> None:
        """Append one line: the time, the architecture, ``hop`` and ``fields``."""
        self._observe(hop, fields)
        if self._file is None:
            return
        line = {"t": round(self._clock(), 4), "architecture": self._architecture, "hop": hop, **fields}
        try:
            self._file.write(json.dumps(line, default=str) + "\n")
        except OSError as error:
            self._give_up(error)

    def flush(self) -> None:
        """Hand everything recorded so far to the operating system."""
        if self._file is None:
            return
        try:
            self._file.flush()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Stop recording; later lines are dropped until the next ``open``."""
        if self._file is None:
            return
        try:
            self._file.close()
            self._file = None
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        file, self._file, self.error = self._file, None, error
        if file is not None:
            with suppress(OSError):  # the same one: closing writes what is left
                file.close()
