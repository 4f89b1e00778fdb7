"""A session: what it asks of a testbed, what it leaves in its folder, and how it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from testbed import ConcurrencyTaken, LostReply, SlowPostgres, Throttle, strategies
from testbed.catalog import load_scenario, prepared
from testbed.chaos.catalogue import to_json
from testbed.chaos.fault import Fault
from testbed.errors import EngineDiedError
from testbed.ledger.verdict import Claim, Verdict
from testbed.report.console import Progress
from testbed.run_folder import RunFolder, RunOptions
from testbed.search import session as session_module
from testbed.search.hunt import Candidate, Outcome
from testbed.search.session import Session, carried_out
from testbed.search.written import as_test

SCENARIO = Path(__file__).parents[2] / "integration" / "scenarios" / "searched.py"
LOST = Outcome(Verdict.INVALID, (Claim(claim="no order is lost", holds=False, observed="1 of 20"),))
GOOD = Outcome(Verdict.VALID)
FAULTS: list[Fault] = [
    Throttle(name="a", service="lambda", operations=("Invoke",), resources=("it's",), during=(0.0, 1.5)),
    SlowPostgres(name="b", latency_ms=100.0),
    ConcurrencyTaken(name="c", function="store", at=0.5, seconds=1.0),
    LostReply(name='d"', service="sqs", probability=0.25),
]


class FakeTries:
    """Stands in for the tries on a testbed."""

    def __init__(self, once: Callable[[Candidate], Awaitable[Outcome]]) -> None:
        self.once = once
        self.removed = 0

    def surface(self) -> strategies.Surface:
        return strategies.Surface(calls=[("sqs", "SendMessage", "orders")])

    async def remove(self) -> None:
        self.removed += 1


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Session, list[RunOptions]]]:
    """Makes a session whose tries are ``once``, and whose last run ends with ``again``."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def made(once: Callable[[Candidate], Awaitable[Outcome]], again: Verdict = Verdict.INVALID) -> Any:
        async def run_on(_bed: Any, _scenario: Any, options: RunOptions, *_: Any, **__: Any) -> Any:
            runs.append(options)
            return SimpleNamespace(verdict=again)

        monkeypatch.setattr(session_module, "Tries", lambda *_: FakeTries(once))
        monkeypatch.setattr(session_module, "run_on", run_on)
        runs: list[RunOptions] = []
        session = Session(
            scenario=load_scenario(str(SCENARIO)).only(["forgetful"]),
            options=RunOptions(scenario=str(SCENARIO), seed=1),
            folder=RunFolder(tmp_path / "runs", "searched", 1),
            runs=10,
            kinds=(Throttle,),
            show=lambda _: None,
            tell=lambda _: None,
        )
        return session, runs

    return made


async def throttled(candidate: Candidate) -> Outcome:
    """Loses orders under any throttle."""
    return LOST if candidate.faults else GOOD


async def test_what_was_found_is_run_once_more_and_left_as_a_test(searched: Any) -> None:
    """The run folder's options are those of the test."""
    session, runs = searched(throttled)
    assert await session.search(None) == Verdict.INVALID
    [options] = runs
    found = session.hunt.best.candidate
    assert options == replace(session.options, architectures=("forgetful",), scale=0.25, chaos=to_json(found.faults))
    assert tuple(prepared(load_scenario(options.scenario), options).chaos) == found.faults
    assert "def test_forgetful_keeps_what_it_promises(run_scenario):" in session.test.read_text(encoding="utf-8")
    assert not (session.folder.path / "tries").exists()


async def test_each_try_says_which_it_is_and_what_is_tried(searched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its stage, so that a log has one line for each."""
    shown: list[Progress] = []
    told: list[Any] = []

    async def once(candidate: Candidate) -> Outcome:
        for stage in ("deploying", "draining"):
            told[0](Progress(architecture="forgetful", stage=stage, sent=3))
        return await throttled(candidate)

    def made(*given: Any) -> FakeTries:
        told.append(given[-1])
        return FakeTries(once)

    session, _ = searched(once)
    monkeypatch.setattr(session_module, "Tries", made)
    session.show = shown.append
    await session.search(None)
    assert {(progress.stage, progress.sent) for progress in shown} == {("", 3)}
    said = list(dict.fromkeys(progress.architecture for progress in shown))
    assert said[:3] == [
        "forgetful, without faults",
        "forgetful, try 1, Throttle-sqs-SendMessage-orders",
        "forgetful, try 2, Throttle-sqs-SendMessage-orders",
    ]


async def test_what_the_last_run_does_not_show_is_unknown(searched: Any) -> None:
    """It broke twice, and then not: at times it breaks."""
    session, _runs = searched(throttled, again=Verdict.VALID)
    assert await session.search(None) == Verdict.UNKNOWN


async def test_an_architecture_that_breaks_by_itself_needs_no_faults(searched: Any) -> None:
    """The empty schedule is the smallest."""

    async def once(_: Candidate) -> Outcome:
        return LOST

    session, runs = searched(once)
    assert await session.search(None) == Verdict.INVALID
    assert runs[0].chaos == []
    assert "chaos=[]," in session.test.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("calm", "under_faults", "verdict"),
    [("valid", "valid", "valid"), ("unknown", "valid", "unknown"), ("valid", "unknown", "unknown")],
)
async def test_nothing_found_is_valid_only_if_something_was_seen(
    searched: Any, calm: str, under_faults: str, verdict: str
) -> None:
    """Of the traffic alone, and of one schedule at least."""

    async def once(candidate: Candidate) -> Outcome:
        return Outcome(Verdict(under_faults if candidate.faults else calm))

    session, runs = searched(once)
    assert await session.search(None) == verdict
    assert not runs
    assert not session.test.exists()


async def test_an_interrupted_search_leaves_its_best_find(searched: Any) -> None:
    """Cancelled in the middle of a try: that one ends first, and no other begins."""
    begun, ended, goes_on = [0], [0], asyncio.Event()

    async def once(candidate: Candidate) -> Outcome:
        begun[0] += 1
        try:
            if session.hunt.best is not None:
                goes_on.set()
                await asyncio.Event().wait()
        finally:
            ended[0] += 1
        return LOST if any(getattr(fault, "probability", 0) >= 0.5 for fault in candidate.faults) else GOOD

    session, runs = searched(once)
    searching = asyncio.create_task(session.search(None))
    await goes_on.wait()
    searching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching
    before = begun[0]
    await asyncio.sleep(0.05)
    assert begun == ended == [before]
    assert not runs
    assert session.hunt.best is not None
    assert session.hunt.best.candidate.faults[0].name in session.test.read_text(encoding="utf-8")


async def test_a_death_ends_the_search(searched: Any) -> None:
    """It is no find."""

    async def once(_: Candidate) -> Outcome:
        raise EngineDiedError("LocalStack", "was killed by SIGKILL")

    session, _ = searched(once)
    with pytest.raises(EngineDiedError, match="LocalStack was killed"):
        await session.search(None)
    assert session.hunt.best is None


async def test_work_that_fails_by_itself_is_told() -> None:
    """Its error is what comes out."""

    def work(_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await carried_out(work, throttled)


def test_the_test_has_the_faults_as_they_are() -> None:
    """Whatever they are named: its file, run by Python, gives the same ones."""
    text = as_test(
        scenario="mine.py", architecture="buffered-sqs", seed=7, scale=0.25, faults=FAULTS,
        claims=[Claim(claim='no """order""" \\ is lost', holds=False, observed="1 of 20")],
    )  # fmt: skip
    asked: list[Any] = []

    def run_scenario(*args: Any, **options: Any) -> Any:
        asked.append((args, options))
        return SimpleNamespace(verdict="valid")

    names: dict[str, Any] = {}
    exec(compile(text, "test_found.py", "exec"), names)  # noqa: S102 - our own text
    names["test_buffered_sqs_keeps_what_it_promises"](run_scenario)
    expected = {"architectures": ["buffered-sqs"], "scale": 0.25, "seed": 7, "chaos": FAULTS}
    assert asked == [(("mine.py",), expected)]
