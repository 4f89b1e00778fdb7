"""The page on faults says what is true."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from testbed.chaos.catalogue import FAULTS
from testbed.chaos.fault import Fault
from testbed.chaos.poison import KINDS

PAGE = (Path(__file__).parents[3] / "docs" / "faults.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_runs_by_itself(example: str) -> None:
    """As printed, in a fresh module; the examples hold assertions of their own."""
    assert "assert " in example
    exec(compile(example, "faults.md", "exec"), {"__name__": "example"})  # noqa: S102 (the page is our own)


@pytest.mark.parametrize("kind", FAULTS.values())
def test_the_table_of_each_fault_has_exactly_its_fields(kind: type[Fault]) -> None:
    """A field that is added, renamed or dropped is noticed."""
    table = section(kind.__name__).split("| field |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == {f.name for f in fields(kind) if f.init}


def test_every_kind_of_poison_is_described() -> None:
    """In a table of its own."""
    table = section("Poison").split("| kind |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(KINDS)
