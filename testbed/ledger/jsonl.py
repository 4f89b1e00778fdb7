"""Reading files of JSON lines that a killed process may have left behind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from testbed.errors import HarnessError, UsageError

_DECODE: Final = json.JSONDecoder().decode  # json.loads guesses the encoding first: a third of the time of a short line


def read_objects(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of the file ``path``, one a line, in order.

    A process that is killed can leave a torn last line, one without its newline: that one is left out. A broken line
    anywhere else means that the file is not what was written, and nothing should be concluded from it.

    Raises:
        UsageError: There is no such file.
        HarnessError: A line other than a torn last one is not a JSON object.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist", "is this really the folder of a run?") from None
    with file:
        for number, line in enumerate(file, start=1):
            record = _parse(line)
            if record is not None:
                yield record
            elif line.endswith(b"\n"):
                raise HarnessError(
                    f"{path}, line {number} is not a JSON object",
                    "the file was changed or damaged after it was written: run the scenario again",
                )


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The hops of ``journal.jsonl``, in the order in which they were recorded; see `read_objects`."""
    return read_objects(path)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = _DECODE(line.decode())
    except ValueError:  # not JSON, or torn in the middle of a UTF-8 sequence
        return None
    return record if isinstance(record, dict) else None
