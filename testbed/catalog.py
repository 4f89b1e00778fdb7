"""Finding scenarios, by name or by path, and loading them."""

import difflib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Final

from testbed.errors import UsageError
from testbed.scenario import Scenario

_HERE: Final = Path(__file__).parent
_BUNDLED: Final = (_HERE / "_bundled" / "scenarios", _HERE.parent / "scenarios")  # installed, or run from a checkout


def scenario_paths() -> dict[str, Path]:
    """Every scenario that can be run by name: those in ``./scenarios`` first, then those that come along."""
    found: dict[str, Path] = {}
    for folder in (Path.cwd() / "scenarios", *_BUNDLED):
        for path in sorted(folder.glob("*.py")):
            if not path.name.startswith("_"):
                found.setdefault(path.stem.replace("_", "-"), path)
    return found


def load_scenario(name_or_path: str) -> Scenario:
    """The scenario of this name, or in this file.

    Raises:
        UsageError: There is none, or its file does not work.
    """
    path = Path(name_or_path)
    if path.suffix != ".py":
        paths = scenario_paths()
        name = name_or_path.replace("_", "-")
        if name not in paths:
            raise UsageError(f"there is no scenario {name_or_path!r}", _near(name, paths))
        path = paths[name]
    elif not path.is_file():
        raise UsageError(f"there is no file {name_or_path!r}", "give the path of a scenario's file, or its name")
    scenarios = [value for value in vars(_imported(path)).values() if isinstance(value, Scenario)]
    if len(scenarios) != 1:
        raise UsageError(f"{path} has {len(scenarios)} Scenario objects, not one", "see scenarios/flash_sale.py")
    return scenarios[0]


def _near(name: str, paths: dict[str, Path]) -> str:
    near = difflib.get_close_matches(name, paths, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    return "there are: " + (", ".join(sorted(paths)) or "none; run from a folder with scenarios/")


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"testbed_scenario_{path.stem}", path.resolve())
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"scenario file {path} does not work:\n{_own_lines(error, path)}") from error
    return module


def _own_lines(error: BaseException, path: Path) -> str:
    """The traceback, shortened to the lines of the file itself."""
    own = traceback.StackSummary.from_list(list(_frames(error.__traceback__, str(path.resolve()))))
    lines = own.format() + traceback.format_exception_only(error)
    return "".join(lines).rstrip()


def _frames(trace: TracebackType | None, filename: str) -> Iterator[traceback.FrameSummary]:
    for frame in traceback.extract_tb(trace):
        if frame.filename == filename:
            yield frame
