"""Names and signatures in the pages are those of the code, and none is missing."""

import ast
import inspect
import re
from dataclasses import fields
from functools import cache
from itertools import chain
from types import ModuleType
from typing import Any

import pytest
from markdown_pages import ROOT, first_cells, read, section

import testbed
from testbed import Constant, Poisson, Ramp, Spike, Traffic, claims, deploy
from testbed.ledger.reconcile import ANOMALIES, Ledger
from testbed.ledger.verdict import ArchitectureVerdict, EngineFacts, Facts, Resources, RunVerdict

LEDGER_PAGE = "docs/ledger.md"
GUIDE = "docs/writing-a-scenario.md"
ENGINE = EngineFacts(mode="", emulator="", emulator_version="", postgres_version="", max_connections=20)


def field_names(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


def public_functions(module: ModuleType) -> set[str]:
    members = inspect.getmembers(module, inspect.isfunction)
    return {name for name, member in members if member.__module__ == module.__name__ and not name.startswith("_")}


def keys(document: Any) -> set[str]:
    """Every key of a JSON document, however deep."""
    if not isinstance(document, dict):
        return set()
    return set(document) | {key for value in document.values() for key in keys(value)}


def test_each_count_of_the_ledger_is_defined_once() -> None:
    """In one of the three tables, where its set stands too."""
    titles = ("What the clients were told", "What is really there", "What is wrong")
    defined = [first_cells(section(LEDGER_PAGE, title)) for title in titles]
    assert sorted(chain.from_iterable(defined)) == sorted(name for name in field_names(Ledger) if name != "examples")
    assert set(defined[2]) == set(ANOMALIES)


def test_each_key_of_the_verdict_is_explained() -> None:
    """As it is really written, down to the last level."""
    run = RunVerdict(scenario="s", seed=1, engine=ENGINE, architectures={"a": ArchitectureVerdict(Facts(), ())})
    words = set(re.findall(r"`(\w+)`", read(LEDGER_PAGE)))
    assert keys(run.to_json()) - {"a"} <= words
    assert set(first_cells(section(LEDGER_PAGE, "The rest of verdict.json"))) >= set(field_names(Resources))


def test_the_readme_names_every_anomaly() -> None:
    """And nothing else."""
    assert set(first_cells(section("README.md", "How a run is judged"))) == set(ANOMALIES)


@pytest.mark.parametrize("name", testbed.__all__)
def test_each_public_name_is_in_the_guide(name: str) -> None:
    """Whoever writes a scenario finds it there."""
    assert re.search(rf"\b{name}\b", read(GUIDE))


@pytest.mark.parametrize(("module", "title"), [(claims, "Expectations"), (deploy, "Deploying")])
def test_each_function_of_a_module_has_its_row(module: ModuleType, title: str) -> None:
    """With the parameters that it takes."""
    name = module.__name__.rpartition(".")[2]
    rows = re.findall(rf"^\| `{name}\.(\w+)\((.*?)\)` \|", section(GUIDE, title), re.MULTILINE)
    assert {function for function, _ in rows} == public_functions(module)
    for function, parameters in rows:
        taken = inspect.signature(getattr(module, function)).parameters
        assert set(re.findall(r"\w+", parameters)) <= set(taken), function
        assert {each for each, how in taken.items() if how.default is how.empty} <= set(re.findall(r"\w+", parameters))


@pytest.mark.parametrize("arrivals", [Constant, Poisson, Ramp, Spike])
def test_each_arrival_process_has_its_row(arrivals: type) -> None:
    """With its fields in their order."""
    own = ", ".join(name for name in field_names(arrivals) if name != "name")
    assert f"| `{arrivals.__name__}({own})` |" in section(GUIDE, "Traffic")


def test_the_defaults_of_the_traffic_are_as_printed() -> None:
    """Path, timeout and limit."""
    signature = ", ".join(
        f"{name}" if each.default is each.empty else f"{name}={each.default!r}"
        for name, each in inspect.signature(Traffic).parameters.items()
    ).replace("'", '"')
    assert f"`Traffic({signature})`" in read(GUIDE)


def test_each_package_is_in_the_architecture() -> None:
    """And each that is there exists."""
    named = set(re.findall(r"`testbed/(\w+)/`", section("docs/architecture.md", "Modules")))
    assert named == {path.parent.name for path in (ROOT / "testbed").glob("*/__init__.py")}


def test_each_hop_is_one_that_is_recorded() -> None:
    """By the data plane, under this name."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "testbed").rglob("*.py"))
    for hop in first_cells(section("docs/architecture.md", "The way of a request")):
        assert re.search(rf'record\(\s*"{hop}"', sources), hop


@cache
def texts_of_the_program() -> list[str]:
    """Every text in the source, with NUL where a value is put in."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "testbed").rglob("*.py")]
    return [text for tree in trees for node in ast.walk(tree) if (text := text_of(node))]


def text_of(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "\0" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@pytest.mark.parametrize("message", first_cells(read("docs/troubleshooting.md")))
def test_each_message_is_one_that_the_program_says(message: str) -> None:
    """Word for word, but for what differs from time to time."""
    pieces = [re.escape(piece.strip(" ")) for piece in message.split("…")]
    assert len("".join(pieces)) > len(pieces)
    pattern = re.compile(".*".join(pieces), re.DOTALL)
    assert any(pattern.search(text) for text in texts_of_the_program())
