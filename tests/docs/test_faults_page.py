"""The page on faults is of today, and every fault has its place and its example on it."""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from faults_page import (
    COMMON,
    EXAMPLES,
    PAGE,
    documented,
    example,
    incident_example,
    incident_functions,
    page,
    run,
    shown,
    statement,
    triggers,
)
from markdown_pages import read

import testbed
from testbed.chaos import trigger
from testbed.chaos.catalogue import FAULTS, faults_from_json, to_json
from testbed.chaos.fault import Fault
from testbed.chaos.faults import poison_kinds


def test_the_page_is_of_today() -> None:
    """``python tests/docs/faults_page.py`` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_fault_has_an_example() -> None:
    """A file of its name in tests/docs/faults; and no file is left over."""
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert sorted(set(FAULTS) - names) == []
    assert sorted(names - set(FAULTS)) == []


def test_every_fault_is_exported() -> None:
    """Scenarios import faults from ``testbed``."""
    assert [name for name, kind in FAULTS.items() if getattr(testbed, name, None) is not kind] == []


@pytest.mark.parametrize("kind", shown().values(), ids=shown())
def test_each_example_runs_and_is_of_its_fault(kind: type[Fault]) -> None:
    """It holds assertions, and its fault is the same after JSON."""
    path = example(kind)
    assert "assert " in path.read_text(encoding="utf-8")
    fault = run(path)["fault"]
    assert type(fault) is kind
    assert faults_from_json(to_json([fault])) == [fault]


@pytest.mark.parametrize("kind", shown().values(), ids=shown())
def test_what_is_printed_of_an_example_makes_its_fault(kind: type[Fault]) -> None:
    """By itself, with nothing that only a test needs; and a sentence says what it does."""
    names: dict[str, Any] = {}
    exec(statement(kind), names)  # noqa: S102 - our own example
    assert names["fault"] == run(example(kind))["fault"]
    assert "Call(" not in statement(kind)
    assert run(example(kind))["__doc__"].count("\n\n") == 1


@pytest.mark.parametrize("kind", [*COMMON.values(), *FAULTS.values()], ids=lambda kind: kind.__name__)
def test_each_field_of_a_fault_is_documented(kind: type[Fault]) -> None:
    """Under Attributes, of its own class or of one that it extends; and nothing is documented that is not there."""
    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        meanings |= documented(base)
    assert sorted(meanings) == sorted(field.name for field in fields(kind))


def test_a_field_without_meaning_is_noticed() -> None:
    """The parser of docstrings reads what is there, over several lines, and no more."""

    class Half:
        """Something.

        Attributes:
            one: Its meaning,
                on two lines.

        Raises:
            ValueError: Two.
        """

    assert documented(Half) == {"one": "Its meaning, on two lines."}


def test_every_trigger_has_its_row() -> None:
    """Each that JSON knows, but for the combinations."""
    rows = {name for name, _, _ in triggers(trigger)}
    assert rows == set(trigger._NUMBERS) | set(trigger._PAIRS) | set(trigger._SELECTED)
    assert all(f"| `{name}(" in read("docs/faults.md") for name in rows)


@pytest.mark.parametrize("kind", poison_kinds.KINDS)
def test_every_kind_of_poison_is_on_the_page(kind: str) -> None:
    """With what becomes of it."""
    assert f"| `{kind}` | " in read("docs/faults.md")


@pytest.mark.parametrize("name", incident_functions())
def test_every_incident_is_on_the_page_with_its_example(name: str) -> None:
    """Under its name, with its parameters; the example makes faults, by this incident."""
    parameters = ", ".join(inspect.signature(incident_functions()[name]).parameters)
    assert f"`{name}({parameters})`" in read("docs/faults.md")
    text = incident_example(name).read_text(encoding="utf-8")
    assert f"incidents.{name}(" in text
    assert "assert " in text
    assert all(isinstance(fault, Fault) for fault in run(incident_example(name))["chaos"])


def test_the_examples_stand_beside_this_test() -> None:
    """Where the page says that they are."""
    assert Path(__file__).parent / "faults" == EXAMPLES
    assert "tests/docs/faults/" in read("docs/faults.md")
