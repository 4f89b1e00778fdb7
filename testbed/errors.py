"""The errors that the command line turns into one message, one hint and an exit code."""

import signal
from typing import Final

EXIT_VALID: Final = 0
EXIT_INVALID: Final = 1
EXIT_UNKNOWN: Final = 2
EXIT_USAGE: Final = 64
EXIT_HARNESS: Final = 70


class TestbedError(Exception):
    """Something that the user can understand and mend.

    Attributes:
        message: What happened, to what.
        hint: What to do next; may be empty.
        log_tail: The last lines that a part wrote, where they may tell more; else empty.
        exit_code: What the command ends with.
    """

    __test__ = False  # not a test class, whatever pytest makes of the name
    exit_code: int = EXIT_HARNESS

    def __init__(self, message: str, hint: str = "", *, log_tail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.log_tail = log_tail


class UsageError(TestbedError):
    """The command, the scenario or an option is wrong: exit code 64."""

    exit_code = EXIT_USAGE


class HarnessError(TestbedError):
    """The testbed could not do its work: exit code 70."""

    exit_code = EXIT_HARNESS


class EngineDiedError(TestbedError):
    """A part of the engine ended while it was needed: the verdict is unknown, exit code 2.

    Attributes:
        part: The part by name, for example ``"LocalStack"``.
        how: How it ended, for example ``"was killed by SIGKILL"``.
    """

    exit_code = EXIT_UNKNOWN

    def __init__(
        self, part: str, how: str, log_tail: str = "", *, hint: str = "what was recorded until then is kept"
    ) -> None:
        super().__init__(f"{part} {how}", hint, log_tail=log_tail)
        self.part = part
        self.how = how


def how_ended(status: int) -> str:
    """How a process ended, for people.

    Args:
        status: As `subprocess.Popen.returncode`: negative when a signal ended it.
    """
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with exit code {status}"
