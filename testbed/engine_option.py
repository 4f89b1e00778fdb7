"""Which engine is asked for, where the command line or the test does not say."""

import os
from typing import Final

from testbed.errors import UsageError

ENGINES: Final = ("auto", "process", "container")
VARIABLE: Final = "TESTBED_ENGINE"


def default_engine() -> str:
    """What the variable ``TESTBED_ENGINE`` says, else ``"auto"``.

    Raises:
        UsageError: It names no engine.
    """
    engine = os.environ.get(VARIABLE) or "auto"
    if engine not in ENGINES:
        raise UsageError(f"{VARIABLE}={engine} names no engine", f"there are {', '.join(ENGINES)}")
    return engine
