"""docs/planted-bugs.md is of today, and the table keeps what it promises."""

import importlib.util
import sys
from types import ModuleType

import pytest
from markdown_pages import ROOT, read

from testbed.ledger.reconcile import ANOMALIES

FUNCTIONS = ROOT / "functions"


@pytest.fixture(scope="module")
def planted() -> ModuleType:
    """The module with the table, which stands beside the test that runs it."""
    path = ROOT / "tests" / "integration" / "planted_bugs.py"
    spec = importlib.util.spec_from_file_location("planted_bugs_table", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_the_page_is_of_today(planted: ModuleType) -> None:
    """Run tests/integration/planted_bugs.py to write it anew."""
    assert read("docs/planted-bugs.md") == planted.page()


def test_every_naive_function_is_planted(planted: ModuleType) -> None:
    """A handler that no case deploys proves nothing."""
    source = (ROOT / "tests" / "integration" / "planted_bugs.py").read_text(encoding="utf-8")
    for folder in ("naive", "mended"):
        handlers = {path.stem for path in (FUNCTIONS / folder).glob("*.py")}
        assert {name for name in handlers if f'"{folder}/{name}"' not in source} == set()
    assert len({bug.name for bug in planted.BUGS}) == len(planted.BUGS) >= 18


def test_every_anomaly_is_caught_at_least_once(planted: ModuleType) -> None:
    """And what cannot be known is left, not lost."""
    assert {name for bug in planted.BUGS for name in bug.caught} == set(ANOMALIES)
    assert any(bug.left for bug in planted.BUGS)
