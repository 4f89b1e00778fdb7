"""Tracebacks for the author of a scenario: only the lines that are his, not the machinery around them."""

import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_TESTBED: Final = Path(__file__).parent
_BUNDLED: Final = _TESTBED / "_bundled"  # scenarios and functions that come along are like anybody's own
_PACKAGES: Final = frozenset({"site-packages", "dist-packages"})
_STANDARD_LIBRARY: Final = Path(sysconfig.get_path("stdlib"))


def shortened(error: BaseException) -> str:
    """The traceback of ``error``, without what runs in the testbed, in installed packages and in Python itself."""
    own = traceback.StackSummary.from_list(list(_own_frames(error)))
    return "".join([*own.format(), *traceback.format_exception_only(error)]).rstrip()


def _own_frames(error: BaseException) -> Iterator[traceback.FrameSummary]:
    for frame in traceback.extract_tb(error.__traceback__):
        if _is_own(frame.filename):
            yield frame


def _is_own(filename: str) -> bool:
    path = Path(filename)
    if not path.is_absolute():  # "<frozen importlib._bootstrap>", "<string>"
        return False
    if path.is_relative_to(_BUNDLED):
        return True
    return not (
        path.is_relative_to(_TESTBED) or path.is_relative_to(_STANDARD_LIBRARY) or _PACKAGES.intersection(path.parts)
    )
