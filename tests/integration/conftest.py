"""The engines that are tested here, and one running testbed of each for all tests that need no other one."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sale
from beds import RunOnLoop, kept_up, loop_in_background
from engines import ENGINE_VARIABLE, ENGINES, MODES, docker_ledger
from observing import JournalReader, RecordingFunction, deploy_recording_function

from testbed.running import RunningTestbed

_ran: Counter[str] = Counter()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """End the session where an engine that must be tested cannot be; leave out what says the same on every engine."""
    ENGINES.check()
    twice = [item for item in items if item.get_closest_marker("one_engine") and _mode(item) != ENGINES.tested[0]]
    config.hook.pytest_deselected(items=twice)
    items[:] = [item for item in items if item not in twice]


def _mode(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("mode", ENGINES.tested[0])) if callspec else ENGINES.tested[0]


def pytest_runtest_call(item: pytest.Item) -> None:
    """Count the tests that got as far as to run on an engine."""
    callspec = getattr(item, "callspec", None)
    if callspec and "mode" in callspec.params:
        _ran[callspec.params["mode"]] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which engines were tested, which were not and why, and how they compare."""
    said = [
        f"{mode} NOT tested: {ENGINES.missing[mode]}" if mode in ENGINES.missing else f"{mode}: {_ran[mode]} tests"
        for mode in MODES
    ]
    for line in (f"engines: {'; '.join(said)}", *sale.table()):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def one_engine() -> Iterator[None]:
    """What starts without saying on which engine runs on the first that is tested."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, image in ENGINES.images.items():
            patch.setenv(variable, image)
        patch.setenv(ENGINE_VARIABLE, ENGINES.tested[0])
        if "container" in ENGINES.tested:
            docker_ledger()
        yield


@pytest.fixture(scope="session", params=ENGINES.tested)
def mode(request: pytest.FixtureRequest) -> Iterator[str]:
    """The engine under test; everything that starts runs on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENGINE_VARIABLE, request.param)
        yield request.param


@pytest.fixture(scope="session")
def run_on_loop() -> Iterator[RunOnLoop[Any]]:
    """Runs a coroutine on the event loop, in a background thread, that drives the session's testbed."""
    with loop_in_background() as run:
        yield run


@pytest.fixture(scope="session")
def bed(mode: str, run_on_loop: RunOnLoop[Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTestbed]:
    """Engine and data plane, shared by the session; deploy under names of your own."""
    with kept_up(run_on_loop, mode, tmp_path_factory.mktemp(f"logs-{mode}")) as running:
        yield running


@pytest.fixture(scope="session")
def record_journal(bed: RunningTestbed, run_on_loop: RunOnLoop[Any]) -> Callable[[Path], JournalReader]:
    """Starts to record into a file, without faults, until the next one is started."""

    def start(path: Path) -> JournalReader:
        order = {"architecture": "test", "seed": 0, "faults": [], "journal": str(path), "zero": time.monotonic()}
        run_on_loop(bed.plane.call("begin", **order))
        return JournalReader(path)

    return start


@pytest.fixture
def journal(record_journal: Callable[[Path], JournalReader], tmp_path: Path) -> JournalReader:
    """What the plane records from here to the end of the test."""
    return record_journal(tmp_path / "journal.jsonl")


@pytest.fixture
def recording_function(bed: RunningTestbed, tmp_path: Path) -> Iterator[Callable[..., RecordingFunction]]:
    """Deploys a function that records its events and then does what the given body says.

    Its mappings end with the test: one that retries for ever would keep the testbed from ever being idle.
    """
    deployed: list[RecordingFunction] = []

    def deploy_it(body: str = "return 'done'", **options: Any) -> RecordingFunction:
        deployed.append(deploy_recording_function(bed.aws, tmp_path, body, **options))
        return deployed[-1]

    yield deploy_it
    client = bed.aws.client("lambda")
    for function in deployed:
        for mapping in client.list_event_source_mappings(FunctionName=function.name)["EventSourceMappings"]:
            client.delete_event_source_mapping(UUID=mapping["UUID"])
