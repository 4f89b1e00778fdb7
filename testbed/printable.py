"""Text from anywhere, so that every output can hold it: a terminal, JSON, HTML and XML in UTF-8, Python's source."""

import re
from typing import Final

_ODD: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""What XML 1.0 (2.2, Characters) leaves out, with halves of surrogate pairs, which UTF-8 cannot express."""


def printable(value: object) -> str:
    """``value`` as text, with odd characters written as in Python's source, for example NUL as four characters."""
    return _ODD.sub(lambda odd: odd[0].encode("unicode_escape").decode("ascii"), str(value))
