"""Finding scenarios, by name or by path, and loading them."""

import difflib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

from testbed.chaos.catalogue import faults_from_json
from testbed.errors import TestbedError, UsageError
from testbed.own_lines import shortened
from testbed.run_folder import RunOptions
from testbed.scenario import Scenario

_HERE: Final = Path(__file__).parent
_BUNDLED: Final = (_HERE / "_bundled" / "scenarios", _HERE.parent / "scenarios")  # installed, or run from a checkout
_EXAMPLE: Final = "the bundled flash_sale.py shows how one is written; `testbed list` shows all"


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
    scenarios = {id(value): value for value in vars(_imported(path)).values() if isinstance(value, Scenario)}
    if len(scenarios) != 1:
        raise UsageError(f"{path} has {len(scenarios) or 'no'} Scenario objects, it needs one", _EXAMPLE)
    return next(iter(scenarios.values()))


def found_again(name_or_path: str) -> str:
    """The same scenario for whoever runs it later from another folder: a name stays, a path becomes absolute."""
    path = Path(name_or_path)
    return str(path.resolve()) if path.suffix == ".py" else name_or_path


def prepared(scenario: Scenario, options: RunOptions) -> Scenario:
    """The scenario as ``options`` want it.

    Raises:
        UsageError: It has no architecture of a name that they give.
    """
    chosen = scenario.only(options.architectures)
    if options.no_chaos:
        chosen = chosen.without_chaos()
    if options.scale != 1:
        chosen = chosen.scaled(options.scale)
    return chosen if options.chaos is None else chosen.under(faults_from_json(options.chaos))


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
    except (Exception, SystemExit) as error:
        hint = (error.hint if isinstance(error, TestbedError) else "") or _EXAMPLE
        raise UsageError(f"scenario file {path} does not work:\n{shortened(error)}", hint) from error
    return module
