"""What a user sees, and what is left, when something breaks under a run: each seen with the real command."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from command import WRONG, Command, assert_nothing_is_left, command, ran, run_of, run_tiny
from engines import ENGINE_VARIABLE, PROCESSES

from testbed.errors import UsageError
from testbed.records import Places, Queue, Source, Stream, Table
from testbed.running import RunningTestbed

PROCESS = {ENGINE_VARIABLE: "process"}
"""For what only the process engine does."""


def assert_broken_off_is_recorded(broken: Command) -> None:
    """What was seen until then is kept, and judged unknown."""
    verdict = broken.document("verdict.json")
    assert verdict["verdict"] == "unknown"
    for name in ("manifest.json", "history.jsonl", "journal.jsonl", "report.html", "junit.xml"):
        assert (broken.run_folder / name).stat().st_size, name
    assert f"Replay: testbed replay runs/{broken.run_folder.name}  (seed 1, from cli)" in broken.err


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("part", PROCESSES)
def test_a_part_that_is_killed_makes_the_verdict_unknown(tmp_path: Path, part: str) -> None:
    """The part is named with how it ended, what was recorded is kept, and the exit code is 2."""
    with command(tmp_path, *run_tiny("stuck")) as run:
        token = run.token()
        run.until_traffic()
        run.until_part(part).kill()
        assert run.wait() == 2
    assert f"testbed: {part} was killed by SIGKILL\n" in run.err
    assert "Traceback" not in run.err
    assert_broken_off_is_recorded(run)
    claims = run.document("verdict.json")["architectures"]["stuck"]["expectations"]
    assert claims[-1]["observed"] == f"{part} was killed by SIGKILL"
    assert_nothing_is_left(token)


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_recorded(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM stop everything; the verdict is unknown."""
    with command(tmp_path, *run_tiny("stuck", "--json")) as run:
        token = run.token()
        if number is signal.SIGINT:
            run.until_traffic()
        else:
            run.until(lambda: "draining" in run.err, "draining")
        run.process.send_signal(number)
        assert run.wait() == 2
    assert "testbed: interrupted" in run.err
    assert_broken_off_is_recorded(run)
    assert_nothing_is_left(token)


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_while_it_starts_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Nothing was recorded yet; Ctrl-C leaves not even a run folder."""
    with command(tmp_path, *run_tiny("direct")) as run:
        token = run.token()
        run.until_part("LocalStack")
        run.process.send_signal(number)
        assert run.wait() == (2 if number is signal.SIGINT else -signal.SIGKILL)
    assert_nothing_is_left(token)
    if number is signal.SIGINT:
        assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.usefixtures("mode")
def test_nothing_survives_a_killed_command(tmp_path: Path) -> None:
    """``kill -9`` of the command ends its processes and removes its folder."""
    with command(tmp_path, *run_tiny("stuck")) as run:
        token = run.token()
        run.until_traffic()
        run.process.kill()
        run.wait()
    assert_nothing_is_left(token)


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("part", ["LocalStack", "the data plane"])
def test_a_part_that_dies_while_it_starts_is_named(tmp_path: Path, part: str) -> None:
    """The start fails at once, with the part's name and how it ended."""
    with command(tmp_path, *run_tiny("direct")) as run:
        token = run.token()
        run.until_part(part).kill()
        assert run.wait() == 70
    assert part in run.err
    assert "was killed by SIGKILL while" in run.err
    assert "Traceback" not in run.err
    assert_nothing_is_left(token)


@pytest.mark.usefixtures("mode")
def test_two_runs_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    """One loses its LocalStack; the other one, in the same folder, comes to its verdict."""
    with ExitStack() as both:
        doomed = both.enter_context(command(tmp_path / "doomed", *run_tiny("stuck", "--out", "../shared")))
        other = both.enter_context(command(tmp_path / "other", *run_tiny("direct", "--out", "../shared")))
        tokens = doomed.token(), other.token()
        doomed.until(lambda: "stuck draining" in doomed.err, "draining")
        doomed.until_part("LocalStack").kill()
        assert (doomed.wait(), other.wait()) == (2, 0)
    assert "✓ valid" in other.out
    assert len([path for path in (tmp_path / "shared").iterdir() if not path.is_symlink()]) == 2
    for token in tokens:
        assert_nothing_is_left(token)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A run of an architecture whose function does not load, and then of one that cannot be deployed."""
    return ran(tmp_path_factory.mktemp("wrong"), *run_of(WRONG, "unimportable", "--architecture", "java"))


def test_a_handler_that_cannot_be_imported_is_no_pass(wrong: Command) -> None:
    """Every order fails for the cause "init error", and the function's log says what could not be imported."""
    found = wrong.document("verdict.json")["architectures"]["unimportable"]
    assert found["verdict"] == "unknown"
    assert found["ledger"]["acknowledged"] == 0
    assert "init error" in (wrong.run_folder / "report.html").read_text()
    log = (wrong.run_folder / "logs" / "unimportable.log").read_text()
    assert "Runtime.ImportModuleError" in log
    assert "a_module_that_nobody_has" in log


def test_a_deploy_that_raises_is_shown_with_its_own_lines(wrong: Command) -> None:
    """A runtime that the testbed does not run is refused when it is deployed, by the function's name."""
    assert wrong.process.returncode == 64
    assert "testbed: deploying architecture 'java' failed:\n" in wrong.err
    assert f'File "{WRONG}", line ' in wrong.err
    assert "Function written-in-java has the runtime java21" in wrong.err
    assert "botocore/client.py" not in wrong.err
    assert wrong.document("verdict.json")["architectures"]["java"]["verdict"] == "unknown"


def test_a_ledger_without_its_table_is_explained(bed: RunningTestbed, run_on_loop: Callable[..., Any]) -> None:
    """The table that the scenario names is not there: its author is told, nothing counts as lost."""
    db = run_on_loop(bed.create_database("without_tables"))
    places = Places(emulator_url="", admin_dsn=db.admin_dsn, checkpoints={})
    with pytest.raises(UsageError, match="cannot be read from table 'orders': relation \"orders\" does not exist"):
        Table("orders").ids(places)


@pytest.mark.parametrize("place", [Queue("nowhere"), Stream("nowhere")])
def test_a_ledger_without_its_queue_is_explained(bed: RunningTestbed, place: Source) -> None:
    """The same, for queues and streams."""
    places = Places(emulator_url=bed.engine.localstack_url, admin_dsn="", checkpoints={})
    with pytest.raises(UsageError, match="'nowhere'") as caught:
        place.ids(places)
    assert caught.value.hint == "does deploy() create it?"


def test_a_first_set_up_without_network_is_explained(tmp_path: Path) -> None:
    """The package index cannot be reached: one message, what to do, and nothing half installed."""
    cache = tmp_path / "cache"
    nobody = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0", "UV_NO_CACHE": "1"}
    run = ran(tmp_path, *run_tiny("direct"), **PROCESS, XDG_CACHE_HOME=str(cache), **nobody)
    assert run.process.returncode == 70
    assert "is not installed yet, and the package index cannot be reached\n" in run.err
    assert "hint: connect this machine to the network once" in run.err
    assert [path.suffix for path in (cache / "serverless-testbed").iterdir()] == [".lock"]


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """``up --port`` with a port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        up = ran(tmp_path, "up", "--port", port)
    assert up.process.returncode == 64
    assert f"testbed: port {port} cannot be used: Address already in use\n" in up.err
    assert "hint: choose another one with --port" in up.err


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of ``size``, where the test may mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"this user may not mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", "--lazy", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_run_folder_on_a_full_disk_is_explained(tmp_path: Path) -> None:
    """History, journal and documents have no space: exit code 70, and the option for another folder is named."""
    with small_disk(tmp_path / "disk", "64k") as disk:
        run = ran(tmp_path, *run_tiny("direct", "--out", str(disk)))
    assert run.process.returncode == 70
    assert "no space left on device" in run.err.lower()
    assert "--out" in run.err
    assert "Traceback" not in run.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_temporary_files_on_a_full_disk_are_explained(tmp_path: Path) -> None:
    """The cluster has no space: exit code 70, and TMPDIR is the way out."""
    with small_disk(tmp_path / "disk", "5m") as disk:
        run = ran(tmp_path, *run_tiny("direct"), **PROCESS, TMPDIR=str(disk))
        assert list(disk.glob("serverless-testbed-*")) == []
    assert run.process.returncode == 70
    assert "TMPDIR" in run.err
    assert "Traceback" not in run.err
