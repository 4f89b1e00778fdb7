"""Which records an event source mapping hands to the function: ``FilterCriteria``.

Sources: AWS Lambda developer guide, "Control which events Lambda sends to your function" (operators, that filters are
ORed, that numbers are compared as they are written, that ``exists`` is for leaves), and "Using event filtering with"
an Amazon SQS, a Kinesis, a DynamoDB event source (what happens where data and pattern differ in format). How arrays of
the event are matched: Amazon EventBridge user guide, event patterns, whose syntax Lambda uses.

Not published by AWS: what counts as valid JSON for a message body. Here an object or an array does; a body such as
``7`` or ``"a"`` is a plain string, as those are what a filter of plain strings can be meant for.
"""

import json
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

MAXIMUM_FILTERS: Final = 5
"""Filters of one mapping; a quota that AWS raises to ten on request."""

_DATA_KEYS: Final = {"sqs": "body", "kinesis": "data", "dynamodb": "dynamodb"}
_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MISSING: Final = object()
_TWO_SIDED: Final = 4  # members of a numeric range


class InvalidFilterError(ValueError):
    """A pattern that Lambda refuses when the mapping is created: "Invalid filter pattern definition"."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number of JSON, equal to another one that is written alike: 300, 300.0 and 3.0e2 are three.

    Attributes:
        text: How it is written.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter of a mapping.

    Attributes:
        data_key: Member of the record that holds what the sender sent: ``"body"``, ``"data"`` or ``"dynamodb"``.
        pattern: The pattern, of `parse_json`.
    """

    data_key: str
    pattern: Mapping[str, Any]

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Whether ``record`` satisfies every member of the pattern."""
        rule = self.pattern.get(self.data_key)
        if rule is not None and isinstance(rule, Mapping) == isinstance(record.get(self.data_key), str):
            return False  # a plain string for a pattern of JSON, or JSON for a pattern of plain strings
        return _matches_object(self.pattern, record)


def parse_filters(patterns: Iterable[str], service: str) -> tuple[Filter, ...]:
    """The filters of a mapping of ``service``: ``"sqs"``, ``"kinesis"`` or ``"dynamodb"``.

    Raises:
        InvalidFilterError: A pattern is no JSON object, holds what Lambda does not know, or expects plain strings
            where the service's data has to be JSON.
    """
    return tuple(_parse_filter(pattern, service) for pattern in patterns)


def matches(filters: Sequence[Filter], record: Mapping[str, Any]) -> bool:
    """Whether a record is handed over: where there are filters, at least one of them has to match.

    Args:
        filters: Of `parse_filters`.
        record: The record as the function would see it, but for the member with the data, which is of `decoded`. A
            Kinesis record has its ``data`` at the top.
    """
    return not filters or any(each.matches(record) for each in filters)


def decoded(data: str | bytes) -> Any:
    """The data of a record as filters see it: an object or a list where it is JSON, else a plain string."""
    text = data.decode(errors="replace") if isinstance(data, bytes) else data
    try:
        value = parse_json(text)
    except (ValueError, RecursionError):  # no JSON, or nested deeper than anybody looks
        return text
    return value if isinstance(value, dict | list) else text


def parse_json(text: str) -> Any:
    """JSON whose numbers are `Number`; of a member that stands twice in an object, both count if they are objects.

    Raises:
        ValueError: It is no JSON.
    """
    return json.loads(
        text, parse_int=Number, parse_float=Number, parse_constant=_no_constant, object_pairs_hook=_merged
    )


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _merged(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The developer guide joins conditions by giving "dynamodb" twice."""
    members: dict[str, Any] = {}
    for key, value in pairs:
        earlier = members.get(key)
        both = isinstance(earlier, dict) and isinstance(value, dict)
        members[key] = _merged([*earlier.items(), *value.items()]) if both else value  # type: ignore[union-attr]
    return members


def _parse_filter(text: str, service: str) -> Filter:
    try:
        pattern = parse_json(text)
    except ValueError as error:
        raise InvalidFilterError(f"the pattern is not valid JSON: {error}") from None
    _check_object(pattern)
    parsed = Filter(_DATA_KEYS.get(service, ""), pattern)
    if service != "sqs" and not isinstance(pattern.get(parsed.data_key, {}), dict):
        raise InvalidFilterError(f"{parsed.data_key} has to be an object of rules")
    return parsed


def _check_object(pattern: Any) -> None:
    if not isinstance(pattern, dict):
        raise InvalidFilterError("a pattern is an object")
    for key, rules in pattern.items():
        if key == "$or" and isinstance(rules, list):
            if len(rules) < 2:  # noqa: PLR2004 - an alternative has two sides
                raise InvalidFilterError("$or takes at least two patterns")
            for alternative in rules:
                _check_object(alternative)
        elif isinstance(rules, list):
            if not rules:
                raise InvalidFilterError(f"{key} has no rules")
            for rule in rules:
                _check_rule(rule)
        else:
            _check_object(rules)


def _check_rule(rule: Any) -> None:
    if isinstance(rule, list):
        raise InvalidFilterError("a rule is no list")
    if isinstance(rule, dict):
        if len(rule) != 1 or next(iter(rule)) not in _OPERATORS:
            raise InvalidFilterError(f"a rule has one of the operators {', '.join(_OPERATORS)}")
        name, operand = next(iter(rule.items()))
        if not _OPERATORS[name](operand):
            raise InvalidFilterError(f"{name} does not take {operand!r}")


def _is_text(operand: Any) -> bool:
    return isinstance(operand, str)


def _is_excluded(operand: Any) -> bool:
    each = operand if isinstance(operand, list) else [operand]
    return bool(each) and all(isinstance(value, str | Number) for value in each)


def _is_range(operand: Any) -> bool:
    if not isinstance(operand, list) or len(operand) not in {2, _TWO_SIDED}:
        return False
    if not all(isinstance(limit, Number) for limit in operand[1::2]):
        return False
    comparisons = operand[::2]
    if len(comparisons) == 1:
        return isinstance(comparisons[0], str) and comparisons[0] in _COMPARISONS
    return comparisons[0] in (">", ">=") and comparisons[1] in ("<", "<=")


_OPERATORS: Final[dict[str, Callable[[Any], bool]]] = {
    "exists": lambda operand: isinstance(operand, bool),
    "anything-but": _is_excluded,
    "equals-ignore-case": _is_text,
    "prefix": _is_text,
    "suffix": _is_text,
    "numeric": _is_range,
}


def _matches_object(pattern: Mapping[str, Any], value: Any) -> bool:
    """Of an array, one member has to satisfy the whole of ``pattern``; what is no object has no members."""
    if isinstance(value, list):
        objects = [member for member in value if isinstance(member, Mapping | list)]
        return any(_matches_object(pattern, each) for each in objects or [{}])
    members = value if isinstance(value, Mapping) else {}
    return all(_matches_member(key, rules, members) for key, rules in pattern.items())


def _matches_member(key: str, rules: Any, members: Mapping[str, Any]) -> bool:
    if isinstance(rules, Mapping):
        return _matches_object(rules, members.get(key))
    if key == "$or":
        return any(_matches_object(alternative, members) for alternative in rules)
    leaves = list(_leaves(members.get(key, _MISSING)))
    return any(_matches_rule(rule, leaves) for rule in rules)


def _leaves(value: Any) -> Iterator[Any]:
    """The values that rules look at: objects are none, and of an array it is each of its members."""
    if isinstance(value, list):
        for member in value:
            yield from _leaves(member)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield Number(json.dumps(value))
    elif value is not _MISSING and not isinstance(value, Mapping):
        yield value


def _matches_rule(rule: Any, leaves: Sequence[Any]) -> bool:
    if not isinstance(rule, Mapping):
        return any(type(leaf) is type(rule) and leaf == rule for leaf in leaves)
    ((name, operand),) = rule.items()
    if name == "exists":
        return bool(leaves) is operand
    return any(_satisfies(name, operand, leaf) for leaf in leaves)


def _satisfies(name: str, operand: Any, leaf: Any) -> bool:
    if name == "anything-but":
        return leaf not in (operand if isinstance(operand, list) else [operand])
    if name == "numeric":
        return isinstance(leaf, Number) and _within(operand, float(leaf.text))
    if not isinstance(leaf, str):
        return False
    if name == "prefix":
        return leaf.startswith(operand)
    if name == "suffix":
        return leaf.endswith(operand)
    return leaf.lower() == str(operand).lower()  # equals-ignore-case


def _within(limits: Sequence[Any], value: float) -> bool:
    pairs = zip(limits[::2], limits[1::2], strict=True)
    return all(_COMPARISONS[comparison](value, float(limit.text)) for comparison, limit in pairs)
