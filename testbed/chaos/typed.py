"""Whether the fields of a fault have the types that they are declared with: from JSON anything may come."""

import sys
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from reprlib import repr as short
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

_WORDS: Final = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}


def misfit(fault: Any) -> str:
    """What is wrong with the first field whose value is not of its type; empty where all are."""
    hints = _hints(type(fault))  # type: ignore[arg-type]  # a class is hashable, which mypy does not know
    for field in fields(fault):
        value = getattr(fault, field.name)
        if not _fits(value, hints[field.name]):
            return f"{field.name}={short(value)} is not {_wanted(hints[field.name], field.name)}"
    return ""


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: object, hint: Any) -> bool:
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in {Union, UnionType}:
        return any(_fits(value, part) for part in parts)
    if kind is tuple and isinstance(value, tuple):
        parts = (parts[0],) * len(value) if parts[-1] is Ellipsis else parts
        return len(value) == len(parts) and all(map(_fits, value, parts))
    if kind in {int, float}:
        numbers = int if kind is int else (int, float)
        is_finite = isinstance(value, numbers) and abs(value) <= sys.float_info.max  # which NaN is not
        return is_finite and not isinstance(value, bool)
    if kind is Literal:
        return value in parts
    return callable(value) if kind is Callable else isinstance(value, kind)


def _wanted(hint: Any, name: str) -> str:
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in {Union, UnionType}:
        return " or ".join(_wanted(part, name) for part in parts if part is not NoneType)
    if kind is tuple:
        return f"a tuple of names, for example {name}=('one',)" if parts[-1] is Ellipsis else "a pair of numbers"
    if kind is Callable:
        return "a function"
    if kind is Literal:
        return " or ".join(map(repr, parts))
    return _WORDS.get(kind) or f"a {kind.__name__.lower()}"
