"""What functions print, and the lines that Lambda puts around it."""

import asyncio
import contextlib
import math
import os
from pathlib import Path
from typing import BinaryIO, Final

from testbed.semantics.lifecycle import billed_milliseconds

TAIL_BYTES: Final = 4096
"""How much of the log ``LogType: Tail`` returns (AWS Lambda API reference, Invoke)."""
_CHUNK_BYTES: Final = 65536


class LogPipe:
    """The standard output and error of one environment."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._text = bytearray()
        self._open = True
        self._loop.add_reader(self._reader, self.drain)

    def write_end(self) -> int:
        """The descriptor for the process; whoever takes it closes it."""
        return self._writer

    def drain(self) -> None:
        """Read all that was printed until now."""
        while self._open:
            try:
                chunk = os.read(self._reader, _CHUNK_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                self.close()
            self._text += chunk

    def take(self) -> bytes:
        """What was printed since the last time."""
        self.drain()
        text = bytes(self._text)
        self._text.clear()
        return text

    def close(self) -> None:
        """Stop reading."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._reader)
            os.close(self._reader)


class LogFolder:
    """One log file for each function; each invoke's lines stand together, whatever runs beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}

    def write(self, function: str, text: bytes) -> None:
        """Append ``text`` to the log of ``function``."""
        file = self._files.get(function)
        if file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = self._files[function] = (self._folder / f"{function}.log").open("ab", buffering=0)
        with contextlib.suppress(OSError):  # a full disk is the run's to report; the invoke has its answer
            file.write(text)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()


def start_line(request_id: str, version: str) -> bytes:
    """The line before an invoke's own lines."""
    return f"START RequestId: {request_id} Version: {version}\n".encode()


def end_lines(
    request_id: str, *, duration: float, init: float | None, memory_mb: int, peak_bytes: int, failure: str
) -> bytes:
    """The lines after an invoke's own lines.

    Args:
        request_id: Of the invoke.
        duration: Seconds from the start of the invoke to its answer.
        init: Seconds of the initialisation; None where none preceded, or where it counts as duration.
        memory_mb: The function's memory setting.
        peak_bytes: The most memory that the environment had; Lambda never reports more than the setting.
        failure: What follows at the end of the report, such as ``"Status: timeout"``; empty for none.
    """
    fields = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {duration * 1000:.2f} ms",
        f"Billed Duration: {billed_milliseconds(duration, init)} ms",
        f"Memory Size: {memory_mb} MB",
        f"Max Memory Used: {min(math.ceil(peak_bytes / 2**20), memory_mb)} MB",
    ]
    if init is not None:
        fields.append(f"Init Duration: {init * 1000:.2f} ms")
    if failure:
        fields.append(failure)
    report = "\t".join(fields)
    return f"END RequestId: {request_id}\n{report}\t\n".encode()
