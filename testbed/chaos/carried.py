"""Which orders an event brings: by their ids, in whatever shape a source wraps them."""

import base64
import re
from collections.abc import Callable, Sequence
from typing import Final

_DATA: Final = re.compile(
    rb'"data"\s*:\s*"((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==))"'
)
"""A record of Kinesis (AWS Lambda developer guide, Using Lambda with Kinesis Data Streams, example event).

Its data are base64 with its padding (RFC 4648, section 4): events of other sources have other texts under that name.
"""


def carrying(ids: Sequence[str]) -> Callable[[bytes], bool]:
    """Whether an event has one of ``ids`` in it, as a word of its own; the data of Kinesis records are decoded."""
    words = b"|".join(re.escape(each.encode()) for each in ids)
    word = re.compile(rb"(?<![\w-])(?:" + words + rb")(?![\w-])")

    def carries(event: bytes) -> bool:
        return bool(word.search(event)) or any(word.search(base64.b64decode(data)) for data in _DATA.findall(event))

    return carries
