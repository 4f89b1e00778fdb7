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

_RUN_BYTES: Final = 500 * 1024 * 1024
"""What a run of a minute takes at its peak, with room to spare: cluster, logs, code."""


def diagnosis() -> tuple[list[str], bool]:
    """What was found, what will be used, what is missing and how to get it; and whether a run can be made."""
    facts = inspect_engine()
    problems = [*facts.problems, *_no_space()]
    lines = [f"{name:12} {value}" for name, value in _used(facts)]
    if not problems:
        return [*lines, "", "Nothing is missing: testbed run flash-sale"], True
    return [*lines, "", "Missing:", *(f"  - {problem}" for problem in problems)], False


def _used(facts: EngineFacts) -> list[tuple[str, str]]:
    temporary = Path(tempfile.gettempdir())
    return [
        ("testbed", f"{version('serverless-testbed')} on Python {platform.python_version()}, {sys.executable}"),
        ("engine", "child processes (containers are not part of this version)"),
        ("LocalStack", _localstack(facts)),
        ("Postgres", f"{facts.postgres_version}, {facts.postgres_origin}" if facts.postgres_folder else "not found"),
        ("machine", f"{os.cpu_count()} CPUs, {psutil.virtual_memory().total / 2**30:.0f} GiB of memory"),
        ("temporary", f"{temporary}, {shutil.disk_usage(temporary).free / 2**30:.1f} GiB free"),
    ]


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
