"""AWS Lambda developer guide, "Control which events Lambda sends to your function" and its pages for each source."""

import json
from typing import Any

import pytest

from testbed.semantics.filter_criteria import InvalidFilterError, decoded, matches, parse_filters

PERSON = {"name": "John Doe", "age": 30, "address": {"street": "123 Main St", "city": "Anytown", "country": "USA"}}


def _passes(body: Any, *patterns: Any, service: str = "sqs") -> bool:
    """Whether a message whose body is ``body``, JSON unless it is text, passes the filters of ``{"body": pattern}``."""
    filters = parse_filters([json.dumps({"body": pattern}) for pattern in patterns], service)
    return matches(filters, {"body": decoded(body if isinstance(body, str) else json.dumps(body))})


@pytest.mark.rule("filter.operators")
@pytest.mark.parametrize(
    ("rules", "good", "bad"),
    [
        ([None], {"f": None}, {"f": ""}),
        ([""], {"f": ""}, {"f": None}),
        (["Alice"], {"f": "Alice"}, {"f": "alice"}),
        ([{"equals-ignore-case": "alice"}], {"f": "ALICE"}, {"f": "Bob"}),
        (["Credit", "Debit"], {"f": "Debit"}, {"f": "Cash"}),
        ([{"anything-but": ["Raining"]}], {"f": "Sunny"}, {"f": "Raining"}),
        ([{"anything-but": "Raining"}], {"f": 1}, {}),
        ([{"numeric": ["=", 100]}], {"f": 100.0}, {"f": 100.1}),
        ([{"numeric": [">", 10, "<=", 20]}], {"f": 20}, {"f": 10}),
        ([{"numeric": ["<", 3e2]}], {"f": -5}, {"f": "5"}),
        ([{"exists": True}], {"f": None}, {"g": 1}),
        ([{"exists": False}], {"g": 1}, {"f": 0}),
        ([{"prefix": "us-"}], {"f": "us-east-1"}, {"f": "eu-us-1"}),
        ([{"suffix": ".png"}], {"f": "a.png"}, {"f": "a.png.txt"}),
        ([True], {"f": True}, {"f": 1}),
        ([1], {"f": 1}, {"f": True}),
        ([1], {"f": [3, 1]}, {"f": "1"}),
    ],
)
def test_each_operator(rules: list[Any], good: dict[str, Any], bad: dict[str, Any]) -> None:
    """Developer guide, filter rule syntax: the table of comparison operators."""
    assert _passes(good, {"f": rules})
    assert not _passes(bad, {"f": rules})


@pytest.mark.rule("filter.operators")
def test_fields_are_anded_and_or_joins_several() -> None:
    """Developer guide, filter rule syntax: And, Or (multiple fields)."""
    both = {"Location": ["New York"], "Day": ["Monday"]}
    either = {"$or": [{"Location": ["New York"]}, {"Day": ["Monday"]}], "Year": [2026]}
    assert _passes({"Location": "New York", "Day": "Monday"}, both)
    assert not _passes({"Location": "New York", "Day": "Sunday"}, both)
    assert _passes({"Location": "Paris", "Day": "Monday", "Year": 2026}, either)
    assert not _passes({"Location": "Paris", "Day": "Sunday", "Year": 2026}, either)
    assert not _passes({"Location": "New York", "Day": "Monday", "Year": 2025}, either)


@pytest.mark.rule("filter.numbers")
def test_numbers_are_compared_as_they_are_written() -> None:
    """Developer guide: 300, 300.0 and 3.0e2 are not considered equal."""
    for text in ("300.0", "3.0e2"):
        assert not _passes(f'{{"f": {text}}}', {"f": [300]})
        assert _passes(f'{{"f": {text}}}', {"f": [{"numeric": ["=", 300]}]})
    assert _passes('{"f": 300}', {"f": [300]})


@pytest.mark.rule("filter.exists")
def test_exists_works_on_leaves_only() -> None:
    """Developer guide: a filter on person.address finds no match, as address is an intermediate node."""
    assert not _passes({"person": PERSON}, {"person": {"address": [{"exists": True}]}})
    assert _passes({"person": PERSON}, {"person": {"address": {"city": [{"exists": True}]}}})


@pytest.mark.rule("filter.exists")
def test_a_list_of_dynamodb_is_matched_by_its_members() -> None:
    """Developer guide, DynamoDB, using the Exists operator: Organizations is no leaf, the S of its L are."""
    image = {"Organizations": {"L": [{"S": "Sales"}, {"S": "Marketing"}]}}

    def passes(pattern: Any) -> bool:
        filters = parse_filters([json.dumps({"dynamodb": {"NewImage": pattern}})], "dynamodb")
        return matches(filters, {"eventID": "1", "dynamodb": {"NewImage": image}})

    assert not passes({"Organizations": [{"exists": True}]})
    assert passes({"Organizations": {"L": {"S": [{"exists": True}]}}})
    assert passes({"Organizations": {"L": {"S": ["Marketing"]}}})
    assert not passes({"Organizations": {"L": {"S": ["Support"]}}})


def test_one_member_of_an_array_has_to_satisfy_the_whole_pattern() -> None:
    """EventBridge user guide, arrays in event patterns: fields of different members are not mixed."""
    orders = {"orders": [{"type": "buy", "stock": "A"}, {"type": "sell", "stock": "B"}]}
    assert _passes(orders, {"orders": {"type": ["sell"], "stock": ["B"]}})
    assert not _passes(orders, {"orders": {"type": ["sell"], "stock": ["A"]}})
    assert _passes({"orders": []}, {"orders": {"type": [{"exists": False}]}})


@pytest.mark.rule("filter.or")
def test_a_record_that_satisfies_one_filter_is_handed_over() -> None:
    """Developer guide: filters are logically ORed; without any, everything is handed over."""
    assert _passes({"a": 2}, {"a": [1]}, {"a": [2]})
    assert not _passes({"a": 3}, {"a": [1]}, {"a": [2]})
    assert _passes({"a": 3})


@pytest.mark.rule("filter.sqs-body")
def test_message_body_and_pattern_have_to_agree_in_format() -> None:
    """Developer guide, SQS: the table of plain string and valid JSON, row by row."""
    metadata = parse_filters(['{"awsRegion": ["us-east-1"]}'], "sqs")
    assert _passes("Result: 7", [{"prefix": "Result: "}])
    assert not _passes("Other", [{"prefix": "Result: "}])
    assert matches(metadata, {"body": decoded("plain"), "awsRegion": "us-east-1"})
    assert not _passes("plain", {"a": [{"exists": False}]})
    assert not _passes({"a": 1}, [{"anything-but": "x"}])
    assert matches(metadata, {"body": decoded('{"a": 1}'), "awsRegion": "us-east-1"})
    assert not matches(metadata, {"body": decoded('{"a": 1}'), "awsRegion": "eu-west-1"})
    assert _passes({"a": 1}, {"a": [1]})


def test_a_number_or_a_quoted_text_is_a_plain_string() -> None:
    """Unpublished: only objects and arrays count as JSON."""
    assert _passes("7", ["7"])
    assert _passes('"a"', [{"prefix": '"'}])
    assert not _passes("[1]", [{"exists": True}])
    assert not _passes('{"a": NaN}', {"a": [{"exists": True}]})


@pytest.mark.rule("filter.stream-data")
def test_data_of_a_stream_has_to_be_json() -> None:
    """Developer guide, Kinesis: a record that is not JSON is dropped, a pattern that is not is refused at creation."""
    filters = parse_filters(['{"data": {"order": {"type": ["buy"]}}}'], "kinesis")
    assert matches(filters, {"data": decoded(b'{"order": {"type": "buy"}}')})
    assert not matches(filters, {"data": decoded(b'{"order": {"type": "sell"}}')})
    assert not matches(filters, {"data": decoded(b"\xff\x00")})
    keyed = parse_filters(['{"partitionKey": ["k"]}'], "kinesis")
    assert matches(keyed, {"data": decoded(b"plain"), "partitionKey": "k"})
    for service, key in (("kinesis", "data"), ("dynamodb", "dynamodb")):
        with pytest.raises(InvalidFilterError):
            parse_filters([json.dumps({key: ["plain"]})], service)


def test_a_member_that_stands_twice_counts_twice() -> None:
    """Developer guide, DynamoDB, filtering with Boolean expressions: NewImage and OldImage, each with "dynamodb"."""
    pattern = '{"dynamodb": {"NewImage": {"a": {"S": ["x"]}}}, "dynamodb": {"OldImage": {"a": {"S": ["y"]}}}}'
    filters = parse_filters([pattern], "dynamodb")
    assert matches(filters, {"dynamodb": {"NewImage": {"a": {"S": "x"}}, "OldImage": {"a": {"S": "y"}}}})
    assert not matches(filters, {"dynamodb": {"NewImage": {"a": {"S": "z"}}, "OldImage": {"a": {"S": "y"}}}})
    assert not matches(filters, {"dynamodb": {"NewImage": {"a": {"S": "x"}}, "OldImage": {"a": {"S": "z"}}}})


@pytest.mark.rule("filter.invalid")
@pytest.mark.parametrize(
    "pattern",
    [
        "{",
        "[]",
        '{"body": "a"}',
        '{"body": []}',
        '{"body": [[1]]}',
        '{"body": [{"wildcard": "*"}]}',
        '{"body": [{"prefix": "a", "suffix": "b"}]}',
        '{"body": [{"prefix": 1}]}',
        '{"body": [{"exists": "yes"}]}',
        '{"body": [{"anything-but": []}]}',
        '{"body": [{"anything-but": {"prefix": "a"}}]}',
        '{"body": [{"numeric": [">"]}]}',
        '{"body": [{"numeric": ["!=", 1]}]}',
        '{"body": [{"numeric": [">", "1"]}]}',
        '{"body": [{"numeric": ["<", 1, ">", 2]}]}',
        '{"$or": [{"body": ["a"]}]}',
        '{"$or": ["a", "b"]}',
    ],
)
def test_what_lambda_does_not_know_is_no_filter(pattern: str) -> None:
    """Developer guide: the operators of the table are all; Lambda refuses others when the mapping is created."""
    with pytest.raises(InvalidFilterError):
        parse_filters([pattern], "sqs")


def test_a_body_that_is_nested_too_deeply_is_a_plain_string() -> None:
    """As what is no JSON: a poller goes on."""
    deep = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
    assert decoded(deep) == deep
