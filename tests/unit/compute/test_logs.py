"""The lines that Lambda writes around an invoke."""

import os
from pathlib import Path

from testbed.compute.logs import LogFolder, LogPipe, end_lines, start_line


def test_a_report_has_awss_fields() -> None:
    """A cold start reports its initialisation, a failure how it ended."""
    assert start_line("r-1", "$LATEST") == b"START RequestId: r-1 Version: $LATEST\n"
    lines = end_lines("r-1", duration=0.0123, init=0.1, memory_mb=128, peak_bytes=40_000_000, failure="Status: timeout")
    assert lines == (
        b"END RequestId: r-1\nREPORT RequestId: r-1\tDuration: 12.30 ms\tBilled Duration: 113 ms\tMemory Size: 128 MB\t"
        b"Max Memory Used: 39 MB\tInit Duration: 100.00 ms\tStatus: timeout\t\n"
    )


async def test_what_was_printed_is_taken_at_once() -> None:
    """Output that the event loop had no turn to read yet is there all the same, and only once."""
    pipe = LogPipe()
    os.write(pipe.write_end(), b"x" * 60_000)
    assert len(pipe.take()) == 60_000
    assert pipe.take() == b""
    os.write(pipe.write_end(), b"last")
    os.close(pipe.write_end())
    assert pipe.take() == b"last"
    assert pipe.take() == b""
    pipe.close()


def test_each_function_has_a_log_of_its_own(tmp_path: Path) -> None:
    """Invokes are appended, to what an earlier plane has written too."""
    for number in (b"1", b"2"):
        logs = LogFolder(tmp_path / "logs")
        logs.write("orders", number)
        logs.write("invoices", b"-")
        logs.close()
    assert (tmp_path / "logs" / "orders.log").read_bytes() == b"12"
    assert (tmp_path / "logs" / "invoices.log").read_bytes() == b"--"
