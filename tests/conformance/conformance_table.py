"""The conformance table: every rule of AWS that the data plane is about, who tests it, and who else honours it.

``python tests/conformance/conformance_table.py`` writes it to docs/conformance.md.
"""

import ast
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]
RULES: Final = Path(__file__).parent / "rules"
PAGE: Final = TESTS.parent / "docs" / "conformance.md"
_HEAD: Final = """# Conformance

What the data plane does as AWS does, rule by rule. This page is made from the tests:
`.venv/bin/python tests/conformance/conformance_table.py` writes it.

- **kept**: documented by AWS, and tested here.
- **parameter**: AWS publishes no number, or no rule; it is a named parameter of a profile.
- **left out**: not done, with the reason.

LocalStack is 4.14.0 with its own data plane, [MiniStack](https://ministack.org), another emulator, is 1.5.33; what they
do was read in their sources, and in part measured. A rule that is left out here still counts for the others.
"""
_COUNTED: Final = (
    ("here", ("kept", "parameter", "left out")),
    ("localstack", ("yes", "partly", "no")),
    ("ministack", ("yes", "partly", "no")),
)
"""Columns of a rule that are counted, and the words that they begin with."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One row.

    Attributes:
        id: What the tests name it by.
        says: The rule, in a sentence.
        source: Where AWS says so.
        here: ``"kept"``, ``"parameter"`` or ``"left out"``.
        why: More about that; mandatory but for kept rules.
        localstack: What LocalStack does: ``"yes"``, ``"no"``, or more words.
        ministack: The same of MiniStack.
    """

    id: str
    says: str
    source: str
    here: str
    localstack: str
    ministack: str
    why: str = ""


def sections() -> dict[str, list[Rule]]:
    """The rules by section, in the order of the page."""
    found: dict[str, list[Rule]] = {}
    for path in sorted(RULES.glob("*.toml")):
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        found[document["section"]] = [Rule(**row) for row in document["rule"]]
    return found


def found_tests() -> dict[str, list[str]]:
    """For each rule that a test names: ``path::name`` of those tests."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for rule in _rules_of(node):
                    found[rule].append(f"{path.relative_to(TESTS.parent).as_posix()}::{node.name}")
    return dict(found)


def _rules_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for mark in node.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.rule":
            yield from (argument.value for argument in mark.args if isinstance(argument, ast.Constant))  # type: ignore[misc]


def page(rules: Mapping[str, Sequence[Rule]], tests: Mapping[str, Sequence[str]]) -> str:
    """The page as Markdown."""
    lines = [_HEAD, *_summary(rules)]
    for section, rows in rules.items():
        lines += [f"## {section}", "", "| rule | here | LocalStack | MiniStack | tested by | source |"]
        lines += ["| --- | --- | --- | --- | --- | --- |", *(_row(rule, tests.get(rule.id, ())) for rule in rows), ""]
    return "\n".join(lines)


def _summary(rules: Mapping[str, Sequence[Rule]]) -> Iterator[str]:
    """How many rules of each section are what, and of all together."""
    others = " | ".join(f"{who}: yes / partly / no" for who in ("LocalStack", "MiniStack"))
    yield f"| area | rules | kept | parameter | left out | {others} |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for section, rows in rules.items():
        yield _counts(f"[{section}](#{_anchor(section)})", rows)
    yield _counts("all", [rule for rows in rules.values() for rule in rows])
    yield ""


def _counts(area: str, rules: Sequence[Rule]) -> str:
    here, localstack, ministack = (_count(column, words, rules) for column, words in _COUNTED)
    return f"| {' | '.join([area, str(len(rules)), *here, ' / '.join(localstack), ' / '.join(ministack)])} |"


def _count(column: str, words: Iterable[str], rules: Iterable[Rule]) -> list[str]:
    found = Counter(getattr(rule, column).partition(":")[0] for rule in rules)
    return [str(found[word]) for word in words]


def _anchor(heading: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _row(rule: Rule, tests: Sequence[str]) -> str:
    here = f"{rule.here}: {rule.why}" if rule.why else rule.here
    cells = [rule.says, here, rule.localstack, rule.ministack, _links(tests), rule.source]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ").strip() for cell in cells) + " |"


def _links(tests: Sequence[str]) -> str:
    parts = [test.partition("::") for test in tests]
    return ", ".join(f"[{name.removeprefix('test_')}](../{path})" for path, _, name in parts)


if __name__ == "__main__":
    PAGE.write_text(page(sections(), found_tests()), encoding="utf-8")
