"""Commands, options and exit codes in the pages are those of the program."""

import argparse
import re
import shlex

import pytest
from markdown_pages import PAGES, blocks, prose, read, read_page, section

from testbed import errors
from testbed.catalog import scenario_paths
from testbed.cli import _parser

TARGETS = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
PROMPTED = [line.removeprefix("$ ") for block in blocks("console") for line in block.text.splitlines()]
INLINE = [code for page in PAGES for code in re.findall(r"`((?:make|testbed) [^`]+)`", prose(read_page(page)))]
COMMANDS = sorted(set(PROMPTED + INLINE))


def subcommands() -> dict[str, argparse.ArgumentParser]:
    found = next(action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


def test_console_blocks_hold_commands_only() -> None:
    """Each line is one that can be typed, so that all of them are checked below."""
    for block in blocks("console"):
        assert all(line.startswith("$ ") for line in block.text.splitlines()), block


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_that_the_program_takes(command: str) -> None:
    """`testbed` commands are parsed, `make` targets and scenario names are looked up."""
    program, *arguments = shlex.split(command.replace(" ... ", " some.py ").replace("<", "").replace(">", ""))
    if program == "make":
        settings = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
        assert {argument for argument in arguments if "=" not in argument} <= TARGETS
        assert settings.keys() <= {"NAME", "ARGS", "PYTHON"}
        assert settings.get("NAME", "flash-sale") in scenario_paths()
    else:
        assert program.removeprefix(".venv/bin/") == "testbed"
        assert arguments[0] in subcommands()
        assert len(arguments) == 1 or _parser().parse_args(arguments).command


def test_every_option_in_the_pages_exists(pytestconfig: pytest.Config) -> None:
    """Of one of the commands, or of pytest with the testbed's plugin."""
    known = {option for parser in subcommands().values() for option in parser._option_string_actions}
    known |= {
        option
        for option in ("--testbed-seed", "--testbed-out", "--testbed-engine")
        if pytestconfig.getoption(option, "-") != "-"
    }
    named = {option for page in PAGES for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", read_page(page))}
    assert named <= known


def test_every_command_is_described() -> None:
    """Except what this version does not do."""
    text = " ".join(COMMANDS) + " ".join(prose(read_page(page)) for page in PAGES)
    assert [name for name in subcommands() if name != "search" and f"testbed {name}" not in text] == []


def test_the_exit_codes_are_those_of_the_program() -> None:
    """All of them, and no other."""
    table = section("README.md", "How a run is judged")
    named = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert named == {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
