"""Finding scenarios and loading them."""

from pathlib import Path

import pytest

from testbed import Throttle
from testbed.catalog import found_again, load_scenario, prepared, scenario_paths
from testbed.chaos.catalogue import to_json
from testbed.errors import UsageError
from testbed.run_folder import RunOptions

SCENARIO = """
from testbed import Architecture, Constant, Scenario, Traffic

SCENARIO = Scenario(
    name="mine",
    summary="my own",
    traffic=Traffic(arrivals=Constant(rate=10, seconds=2), order=lambda order_id, _: {"id": order_id}),
    architectures=[Architecture(name="a", summary="", deploy=lambda aws, db: None, expectations=[])],
)
ALIAS = SCENARIO
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without scenarios."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text: str, name: str = "mine.py") -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return name


def test_bundled_scenarios_are_found_from_anywhere() -> None:
    """``flash-sale`` comes along."""
    assert load_scenario("flash-sale").name == "flash-sale"


def test_own_scenarios_come_first() -> None:
    """A file in ./scenarios runs by its name, and stands for a bundled one of that name; helpers are left out."""
    written(SCENARIO, "scenarios/flash_sale.py")
    written(SCENARIO, "scenarios/my_own.py")
    written("", "scenarios/_helpers.py")
    assert list(scenario_paths())[:2] == ["flash-sale", "my-own"]
    assert load_scenario("flash_sale").name == "mine"


def test_a_file_runs_by_its_path() -> None:
    """Two names for the same object are one scenario."""
    assert load_scenario(written(SCENARIO)).summary == "my own"


def test_an_unknown_name_names_the_near_ones() -> None:
    """A typing error is answered with what was meant."""
    with pytest.raises(UsageError, match="no scenario 'flsh-sale'") as caught:
        load_scenario("flsh-sale")
    assert caught.value.hint == "did you mean flash-sale?"


def test_a_name_like_no_other_lists_all() -> None:
    """Nothing is near: these there are."""
    with pytest.raises(UsageError) as caught:
        load_scenario("xyz")
    assert caught.value.hint == "there are: " + ", ".join(scenario_paths())
    assert "flash-sale" in caught.value.hint


def test_a_missing_file_is_named() -> None:
    """A path is a path, not a name."""
    with pytest.raises(UsageError, match=r"no file 'nowhere/mine\.py'"):
        load_scenario("nowhere/mine.py")


def test_an_import_error_shows_the_file_s_own_lines() -> None:
    """Line and cause, none of the machinery that imported it."""
    file = written("def helper():\n    import no_such_module_at_all\n\nhelper()\n")
    with pytest.raises(UsageError) as caught:
        load_scenario(file)
    lines = caught.value.message.splitlines()
    assert lines[0] == "scenario file mine.py does not work:"
    assert f'  File "{Path(file).resolve()}", line 2, in helper' in lines
    assert lines[-1] == "ModuleNotFoundError: No module named 'no_such_module_at_all'"
    assert "importlib" not in caught.value.message


def test_a_syntax_error_shows_where() -> None:
    """With the line and the place in it."""
    with pytest.raises(UsageError) as caught:
        load_scenario(written("x = 1\nSCENARIO = = 2\n"))
    assert "line 2" in caught.value.message
    assert "SCENARIO = = 2" in caught.value.message
    assert caught.value.message.endswith("SyntaxError: invalid syntax")


def test_a_refusal_of_the_testbed_keeps_its_hint() -> None:
    """What the public API says to a wrong value is shown with the line that gave it."""
    text = 'from testbed import Scenario\nSCENARIO = Scenario(name="s", summary="", traffic=None, architectures=[])\n'
    with pytest.raises(UsageError, match="architectures with a name of their own each") as caught:
        load_scenario(written(text))
    assert "line 2" in caught.value.message


def test_a_file_that_exits_is_no_exit_of_the_command() -> None:
    """``sys.exit`` in a scenario file is an error of the file."""
    with pytest.raises(UsageError, match="SystemExit: 3"):
        load_scenario(written("raise SystemExit(3)\n"))


@pytest.mark.parametrize(
    ("text", "count"), [("x = 1\n", "no"), (SCENARIO + SCENARIO.replace("SCENARIO =", "B ="), "2")]
)
def test_a_file_needs_one_scenario(text: str, count: str) -> None:
    """None, or several, and nobody knows what to run."""
    with pytest.raises(UsageError, match=f"has {count} Scenario objects, it needs one"):
        load_scenario(written(text))


def test_a_path_is_remembered_for_other_folders() -> None:
    """A replay may start elsewhere; a name is left as it is."""
    assert found_again("mine.py") == str(Path.cwd() / "mine.py")
    assert found_again("flash-sale") == "flash-sale"


def test_options_shape_the_scenario() -> None:
    """Architectures, chaos and length, as asked for."""
    sale = load_scenario("flash-sale")
    options = RunOptions(scenario="flash-sale", seed=1, architectures=("sync",), no_chaos=True, scale=0.1)
    chosen = prepared(sale, options)
    assert [each.name for each in chosen.architectures] == ["sync"]
    assert chosen.poison is None
    assert chosen.traffic == sale.traffic.scaled(0.1)
    assert prepared(sale, RunOptions(scenario="flash-sale", seed=1)) == sale


def test_other_faults_take_the_place_of_the_scenario_s() -> None:
    """Poison belongs to the orders and stays; windows are those of the faults, whatever the scale."""
    sale = load_scenario("flash-sale")
    throttle = Throttle(name="one", service="sqs", probability=0.5, during=(0, 2))
    options = RunOptions(scenario="flash-sale", seed=1, scale=0.5, chaos=to_json([throttle]))
    chosen = prepared(sale, options)
    assert list(chosen.chaos) == [sale.poison, throttle]
    assert all(not architecture.chaos for architecture in chosen.architectures)
    assert chosen.traffic == sale.scaled(0.5).traffic
