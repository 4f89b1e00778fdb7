"""The run folder: where a run writes down what decides it, what happened, and what came of it."""

import errno
import json
import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil

from testbed.errors import HarnessError, UsageError

SCHEMA_VERSION: Final = 1
BROKEN_OFF: Final = "broken-off.json"
"""Why a run broke off; one that came to its end has none."""
_HINT: Final = "runs/latest is the folder of the last run"
_DECIDING: Final = (
    "serverless-testbed",
    "boto3",
    "botocore",
    "awslambdaric",
    "aws-lambda-powertools",
    "psycopg",
    "aiohttp",
)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What was asked for; with the scenario, all that decides a run.

    Attributes:
        scenario: Name of the scenario, or the path of its file.
        seed: Seed of everything random.
        seed_from: ``"cli"`` or ``"generated"``.
        architectures: Names; empty for all.
        engine: ``"auto"``, ``"process"`` or ``"container"``.
        scale: Factor for the length of the traffic.
        no_chaos: Whether faults and poison are left out.
        endpoint: The standing testbed that it runs on; None for one of its own. Its DSN and token are nobody's to keep.
        chaos: Faults in place of the scenario's, as JSON; None leaves the scenario's. Poison stays as it is.
        replay_of: The run folder whose hits of faults are repeated, whatever their triggers say; None decides anew.
    """

    scenario: str
    seed: int
    seed_from: str = "cli"
    architectures: tuple[str, ...] = ()
    engine: str = "auto"
    scale: float = 1.0
    no_chaos: bool = False
    endpoint: str | None = None
    chaos: Sequence[Mapping[str, Any]] | None = None
    replay_of: str | None = None


class RunFolder:
    """A new folder for one run.

    Attributes:
        path: The folder.
    """

    def __init__(self, runs: Path, scenario: str, seed: int) -> None:
        name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{scenario}-{seed}"
        self.path = _created(runs, name)
        self.logs = self.path / "logs"
        try:
            self.logs.mkdir()
        except OSError as error:
            raise unwritable(error, self.path) from error

    @property
    def history(self) -> Path:
        """What each client attempt saw."""
        return self.path / "history.jsonl"

    @property
    def journal(self) -> Path:
        """Every hop and every fault that fired."""
        return self.path / "journal.jsonl"

    def write_manifest(
        self,
        options: RunOptions,
        engine: Mapping[str, Any],
        profile: Mapping[str, Any],
        deciding: Mapping[str, Any] | None = None,
    ) -> None:
        """Write down everything that decides how the run behaves; from here on it is the latest run."""
        self.write_json(
            "manifest.json",
            {
                "schema_version": SCHEMA_VERSION,
                "options": asdict(options),
                "seed": options.seed,
                "engine": dict(engine),
                "profile": dict(profile),
                "deciding": deciding,
                "versions": {"python": platform.python_version()} | {name: version(name) for name in _DECIDING},
                "retry_mode": _retry_mode(),
                "machine": {
                    "system": platform.platform(),
                    "cpus": os.cpu_count(),
                    "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
                },
            },
        )
        try:
            _point(self.path.with_name("latest"), self.path.name)
        except OSError as error:
            raise unwritable(error, self.path) from error

    def discard_unless_begun(self) -> None:
        """Remove the folder of a run that ended before its manifest was written: it holds nothing to look at."""
        if not (self.path / "manifest.json").exists():
            shutil.rmtree(self.path, ignore_errors=True)

    def write_json(self, name: str, document: Mapping[str, Any]) -> None:
        """Write one document, whole or not at all."""
        whole = self.path / name
        part = whole.with_suffix(".part")
        try:
            part.write_text(json.dumps(document, indent=2) + "\n")
            part.replace(whole)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise unwritable(error, whole) from error


def read_options(run_dir: Path) -> RunOptions:
    """The options of an earlier run.

    Raises:
        UsageError: It is no run folder, or one of another schema version.
    """
    try:
        manifest = json.loads((run_dir / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{run_dir} is no run folder: {error}", _HINT) from error
    if not isinstance(manifest, dict):
        raise UsageError(f"{run_dir} is no run folder: its manifest.json is no JSON object", _HINT)
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(
            f"{run_dir} has schema_version {manifest.get('schema_version')!r}, this testbed reads {SCHEMA_VERSION}",
            f"it was written by version {manifest.get('versions', {}).get('serverless-testbed', 'unknown')}",
        )
    try:
        options = manifest["options"]
        return RunOptions(**{**options, "architectures": tuple(options["architectures"])})
    except (KeyError, TypeError) as error:
        raise UsageError(f"the options in {run_dir / 'manifest.json'} are damaged: {error}", _HINT) from error


def unwritable(error: OSError, path: Path) -> HarnessError:
    """What to tell when ``path`` cannot be written."""
    if error.errno == errno.ENOSPC:
        return HarnessError(f"no space left on device for {path}", "free some, or choose another folder with --out")
    return HarnessError(f"{path} cannot be written: {error.strerror}", "choose another folder with --out")


def _created(runs: Path, name: str) -> Path:
    """A folder of this name, or with a number behind it where two runs start in the same second."""
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        try:
            (runs / (name + suffix)).mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise unwritable(error, runs) from error
        return runs / (name + suffix)
    raise HarnessError(f"{runs / name} exists already", "choose another folder with --out")


def _point(link: Path, target: str) -> None:
    """Let the link point to ``target`` at once, whatever another run does at the same time."""
    temporary = link.with_name(f".latest-{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def _retry_mode() -> str:
    """The mode in which botocore's clients retry unless they are told otherwise."""
    import botocore.session  # noqa: PLC0415 - half of the command's start-up time, and only a run needs it

    return str(botocore.session.Session().get_config_variable("retry_mode"))
