"""``testbed doctor``: what this machine has for a run, and what it lacks."""

import os
import platform
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

from testbed.engine import EngineFacts, inspect_engine
from testbed.engine.facts import ContainerFacts
from testbed.engine.images import TOKEN_VARIABLE
from testbed.engine_option import VARIABLE, default_engine

_RUN_BYTES: Final = 500 * 1024 * 1024
"""What a run of a minute takes at its peak, with room to spare: cluster, logs, code."""


def diagnosis() -> tuple[list[str], bool]:
    """What was found, what will be used, what is missing and how to get it; and whether a run can be made."""
    facts = inspect_engine()
    engine, problems = _engine(facts)
    problems += _no_space()
    lines = [f"{name:12} {value}" for name, value in _used(facts, engine)]
    if not problems:
        return [*lines, "", "Nothing is missing: testbed run flash-sale"], True
    return [*lines, "", "Missing:", *(f"  - {problem}" for problem in problems)], False


def _engine(facts: EngineFacts) -> tuple[str, list[str]]:
    """What a run would use, and what it lacks for that."""
    asked, containers = default_engine(), facts.containers
    why = f", as {VARIABLE} says" if asked != "auto" else ""
    if asked == "process":
        return f"child processes{why}", [*facts.problems]
    if asked == "container":
        return f"containers{why}", [containers.problem] if containers.problem else []
    if containers.problem:
        return f"child processes: {containers.problem}", [*facts.problems]
    if containers.absent:
        return f"containers, if {' and '.join(containers.absent)} can be pulled; else child processes", []
    return "containers: Docker answers and has the images", []


def _used(facts: EngineFacts, engine: str) -> list[tuple[str, str]]:
    temporary = Path(tempfile.gettempdir())
    return [
        ("testbed", f"{version('serverless-testbed')} on Python {platform.python_version()}, {sys.executable}"),
        ("engine", engine),
        ("Docker", _docker(facts.containers)),
        ("LocalStack", _localstack(facts)),
        ("Postgres", f"{facts.postgres_version}, {facts.postgres_origin}" if facts.postgres_folder else "not found"),
        ("machine", f"{os.cpu_count()} CPUs, {psutil.virtual_memory().total / 2**30:.0f} GiB of memory"),
        ("temporary", f"{temporary}, {shutil.disk_usage(temporary).free / 2**30:.1f} GiB free"),
    ]


def _docker(facts: ContainerFacts) -> str:
    if not facts.docker:
        return "no engine to be used"
    images = (facts.images.localstack, facts.images.postgres)
    told = [f"{image} ({'not here' if image in facts.absent else 'here'})" for image in images]
    token = f"; with {TOKEN_VARIABLE}" if facts.images.token else ""
    return f"{facts.docker}, {', '.join(told)}{token}"


def _localstack(facts: EngineFacts) -> str:
    if facts.localstack_folder is None:
        return "no Python found that it runs on"
    what = f"{facts.localstack_version} on Python {facts.python_version}"
    if facts.localstack_installed:
        return f"{what}, {facts.localstack_folder}"
    return f"{what}; not installed yet: the first run does it, into {facts.cache} (needs the network once)"


def _no_space() -> list[str]:
    temporary = Path(tempfile.gettempdir())
    if shutil.disk_usage(temporary).free >= _RUN_BYTES:
        return []
    return [f"space in {temporary}: free {_RUN_BYTES // 2**20} MB there, or point TMPDIR at another disk"]
