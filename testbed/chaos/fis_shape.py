"""The shape of an AWS FIS experiment template, as far as `testbed.chaos.fis` reads it: from JSON anything may come."""

from collections.abc import Callable, Mapping
from typing import Any, Final

_Kind = tuple[str, Callable[[Any], bool]]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_map(value: object) -> bool:
    return isinstance(value, Mapping) and not any(isinstance(each, Mapping | list) for each in value.values())


_TEXT: Final[_Kind] = ("a text", _is_text)
_TEXTS: Final[_Kind] = ("a list of texts", _are_texts)
_MAP: Final[_Kind] = ("an object with a text for each name", _is_map)
_PARTS: Final[Mapping[str, Mapping[str, _Kind]]] = {
    "targets": {"resourceArns": _TEXTS, "selectionMode": _TEXT},
    "actions": {"actionId": _TEXT, "parameters": _MAP, "targets": _MAP, "startAfter": _TEXTS},
}


def misshapen(document: Mapping[str, Any]) -> str:
    """What of a template is not as it must be, in words; empty where all is. Members may be missing, or null."""
    for part, members in _PARTS.items():
        entries = document.get(part) or {}
        if not isinstance(entries, Mapping):
            return f"{part} is no object"
        for name, entry in entries.items():
            if not isinstance(entry, Mapping):
                return f"{name!r} in {part} is no object"
            for member, (words, fits) in members.items():
                if entry.get(member) is not None and not fits(entry[member]):
                    return f"{member} of {name!r} in {part} is not {words}"
    stops = document.get("stopConditions") or []
    if not isinstance(stops, list) or not all(isinstance(stop, Mapping) for stop in stops):
        return "stopConditions is not a list of objects"
    return ""
