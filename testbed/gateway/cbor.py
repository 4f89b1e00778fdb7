"""CBOR (RFC 8949), as far as AWS's protocols use it."""

import io
import struct
from datetime import datetime
from functools import cache
from typing import Any, Final

from botocore.parsers import ResponseParserError, ResponseParserFactory

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP, _TAG = range(7)
_SIMPLE: Final = {False: b"\xf4", True: b"\xf5", None: b"\xf6"}
_INSTANT: Final = 1
"""The tag of a time since 1970."""
_ONE_BYTE: Final = 24


def decoded(body: bytes, *, milliseconds: bool = False) -> Any:
    """The value in ``body``; a time is its number of seconds.

    Args:
        body: One data item.
        milliseconds: Whether times count milliseconds on the wire, as Kinesis has it, and not seconds.

    Raises:
        ValueError: It is malformed.
    """
    parser = _parser(1000 if milliseconds else 1)
    try:
        return parser.parse_data_item(io.BufferedReader(io.BytesIO(body)))
    except (ResponseParserError, RecursionError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"this is no CBOR: {error}") from error


def encoded(value: Any, *, milliseconds: bool = False) -> bytes:
    """A data item with ``value``: maps, lists, texts, bytes, numbers, times, true, false, null.

    Raises:
        TypeError: The value is none of these.
    """
    match value:
        case None | bool():
            item = _SIMPLE[value]
        case int():
            item = _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
        case float():
            item = b"\xfb" + struct.pack(">d", value)
        case bytes():
            item = _head(_BYTES, len(value)) + value
        case str():
            item = _head(_TEXT, len(text := value.encode())) + text
        case list():
            item = _head(_LIST, len(value)) + b"".join(encoded(each, milliseconds=milliseconds) for each in value)
        case dict():
            parts = (encoded(each, milliseconds=milliseconds) for pair in value.items() for each in pair)
            item = _head(_MAP, len(value)) + b"".join(parts)
        case datetime():
            since = value.timestamp()
            item = _head(_TAG, _INSTANT) + encoded(round(since * 1000) if milliseconds else since)
        case _:
            raise TypeError(f"CBOR of AWS has no {type(value).__name__}")
    return item


def _head(kind: int, number: int) -> bytes:
    if number < _ONE_BYTE:
        return bytes([kind << 5 | number])
    for more, form in enumerate(("B", "H", "I", "Q")):
        if number < 1 << 8 * struct.calcsize(form):
            return struct.pack(f">B{form}", kind << 5 | (_ONE_BYTE + more), number)
    raise TypeError(f"{number} is more than 64 bits")


@cache
def _parser(unit: int) -> Any:
    factory = ResponseParserFactory()
    factory.set_parser_defaults(timestamp_parser=lambda value: value / unit)
    return factory.create_parser("smithy-rpc-v2-cbor")
