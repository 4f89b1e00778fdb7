"""The public API: complete, sorted, and quick to import; and the wheel has all that it needs."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import testbed

ROOT = Path(__file__).parents[2]
HEAVY = {"aiohttp", "boto3", "botocore", "jinja2", "psycopg", "rich"}


def test_all_is_complete() -> None:
    """Whatever ``testbed/__init__.py`` imports is exported, and nothing else."""
    tree = ast.parse(Path(testbed.__file__).read_text())
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(testbed.__all__) == imported


def test_all_is_sorted_and_there() -> None:
    """Readers find a name where they look for it, and each one can be imported."""
    assert list(testbed.__all__) == sorted(testbed.__all__)
    for name in testbed.__all__:
        assert getattr(testbed, name) is not None


@pytest.mark.parametrize("module", ["testbed", "testbed.cli", "testbed.catalog", "testbed.pytest_plugin"])
def test_nothing_heavy_is_imported_before_it_is_needed(module: str) -> None:
    """Clients of AWS and Postgres, HTTP and templates wait for their first use: `testbed list` needs none of them."""
    program = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert module in loaded
    assert HEAVY.isdisjoint(loaded)


def test_the_wheel_holds_scenarios_functions_and_data(tmp_path: Path) -> None:
    """What a run from an installed wheel needs beside Python modules."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for source in ("scenarios/flash_sale.py", "functions/orders/sync.py", "functions/orders/store.py"):
        assert f"testbed/_bundled/{source}" in names
    for folder, pattern in (("engine/locks", "*.txt"), ("localstack_plugin", "**/*"), ("report", "**/*.html*")):
        for path in (ROOT / "testbed" / folder).glob(pattern):
            if path.is_file() and "__pycache__" not in path.parts:
                assert str(path.relative_to(ROOT)) in names
