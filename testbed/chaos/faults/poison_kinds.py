"""The kinds of poison: what each makes of the body of an order."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

Order = Mapping[str, Any]
"""The body of an order: a JSON object with an ``"id"``, and as a rule more."""

_ID: Final = "id"  # is left readable wherever something else can be spoiled, so that the ledger can tell the order
_BEYOND_BIGINT: Final = 2**63
_LEVELS: Final = 100_000
_LARGE_BYTES: Final = 240_000
_OVERSIZE_BYTES: Final = 1_100_000


def broken_json(body: Order) -> bytes:
    """Cut off before its end: no JSON at all."""
    return encoded(body)[:-1]


def missing_field(body: Order) -> bytes:
    """Without its last field."""
    absent = _other_fields(body)[-1]
    return encoded({name: value for name, value in body.items() if name != absent})


def wrong_type(body: Order) -> bytes:
    """One value, a whole number where there is one, is wrapped in a list."""
    name = (_whole_numbers(body) or _other_fields(body))[0]
    return encoded({**body, name: [body[name]]})


def database_refuses(body: Order) -> bytes:
    """Well-formed and of the right types, but with a value that no integer or text column takes.

    A handler that checks fields and types lets it through, and Postgres (documentation, chapter Data Types) refuses
    it: a whole number beyond ``bigint`` (SQLSTATE 22003), or, in an order without whole numbers, a text with U+0000,
    which Postgres cannot store (psycopg refuses it before the server does).
    """
    numbers = _whole_numbers(body)
    return encoded({**body, numbers[0]: _BEYOND_BIGINT}) if numbers else nul(body)


def nul(body: Order) -> bytes:
    r"""A text ends with U+0000, as ``\u0000``: JSON has it, Postgres stores no such text."""
    return _with_text(body, "\0")


def lone_surrogate(body: Order) -> bytes:
    r"""A text ends with half a surrogate pair, as ``\ud800``: a parser takes it, UTF-8 cannot express it."""
    return _with_text(body, "\ud800")


def deeply_nested(body: Order) -> bytes:
    """A surplus field ``"deep"`` with 100,000 lists, one in the other: JSON, and more than parsers go down into.

    Python's raises RecursionError, which a handler that expects ValueError does not catch.
    """
    return encoded(body)[:-1] + b',"deep":' + b"[" * _LEVELS + b"]" * _LEVELS + b"}"


def crashes(body: Order) -> bytes:
    """As it is, but whatever function is invoked with it dies: its environment is killed before the handler runs."""
    return encoded(body)


def never_returns(body: Order) -> bytes:
    """As it is, but a function that is invoked with it does not come back: the invoke ends with its timeout."""
    return encoded(body)


def surplus_field(body: Order) -> bytes:
    """With a field ``"surplus"`` that nobody knows."""
    return encoded({**body, "surplus": "nobody asked for this"})


def large(body: Order) -> bytes:
    """240,000 bytes, by spaces between two tokens: big, and yet below the limit of every service (SNS: 256 KiB)."""
    return _padded(body, _LARGE_BYTES)


def oversize(body: Order) -> bytes:
    """1,100,000 bytes, by spaces between two tokens.

    REST APIs (10 MB) and synchronous invokes (6 MB) take it; SQS messages, Kinesis records and asynchronous invokes end
    at 1 MiB or below (quotas of the services), so there it is refused at the door. The client must be told.
    """
    return _padded(body, _OVERSIZE_BYTES)


def duplicate_id(body: Order) -> bytes:
    """The order before it in the plan comes a second time in its place, byte for byte, as when a client sends again."""
    return encoded(body)


def out_of_order(body: Order) -> bytes:
    """Changes places with the order before it in the plan."""
    return encoded(body)


KINDS: Final[Mapping[str, Callable[[Order], bytes]]] = {
    function.__name__: function
    for function in (
        broken_json,
        missing_field,
        wrong_type,
        database_refuses,
        nul,
        lone_surrogate,
        deeply_nested,
        crashes,
        never_returns,
        surplus_field,
        large,
        oversize,
        duplicate_id,
        out_of_order,
    )
}
"""Each kind of poison by name, as a function from the body of an order to the bytes that are sent instead."""

COMMON: Final = ("broken_json", "missing_field", "wrong_type", "database_refuses")
"""Those that every architecture has to bear."""

FIT: Final = frozenset({"surplus_field", "large", "oversize", "duplicate_id", "out_of_order"})
"""Those whose orders are odd and no worse: they should be stored, once, and the ledger counts them as good ones."""


def encoded(body: Order) -> bytes:
    """An order as it is sent."""
    return json.dumps(body, separators=(",", ":")).encode()


def _with_text(body: Order, more: str) -> bytes:
    fields = _other_fields(body)
    name = next((name for name in fields if isinstance(body[name], str)), fields[0])
    return encoded({**body, name: f"{body[name]}{more}"})


def _padded(body: Order, size: int) -> bytes:
    document = encoded(body)
    return b"{" + b" " * (size - len(document)) + document[1:]


def _other_fields(body: Order) -> list[str]:
    """Those that can be spoiled: all but the id, or that one where there is no other."""
    return [name for name in body if name != _ID] or [_ID]


def _whole_numbers(body: Order) -> list[str]:
    return [name for name in _other_fields(body) if isinstance(body[name], int) and not isinstance(body[name], bool)]
